//! The Distributor of a simulated fleet keeps its promises.

use pilcrow::testing::sim::Random;
use pilcrow_simulation::simulate_from;

/// About how many bytes one trouble and the time until the next are drawn from.
const BYTES_PER_STEP: usize = 8;
const MAX_STEPS: usize = 40;

/// The input decides the network, the troubles, and their times.
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
