//! Whatever happens to a fleet, its Distributor keeps its promises.

use pilcrow::testing::sim::Random;
use pilcrow_simulation::simulate_from;

/// Bytes that one trouble, and the time until the next one, are drawn from, more or less.
const BYTES_PER_STEP: usize = 8;
const MAX_STEPS: usize = 40;

/// The input says what the network is like, what happens to whom, and when.
pub fn simulation(input: &[u8]) {
    let steps = (input.len() / BYTES_PER_STEP).min(MAX_STEPS);
    let outcome = simulate_from(Random::choosing(input), steps as u64, 60);
    if let Some(broken) = outcome.broken {
        let trace = outcome.trace.join("\n");
        panic!(
            "{trace}\n\nbreaks promise {}: {}",
            broken.promise, broken.what
        );
    }
}
