//! The fleet in simulation: production code on a network that follows from a seed, and a model beside
//! it that knows what was promised.
//!
//! `SEEDS=100000 cargo test --release --test sim seeds` runs so many; `SEED=7 cargo test --test sim --
//! --nocapture replay` runs one and prints all that happened.

#![allow(unreachable_pub)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::indexing_slicing
)]

// The library with the feature `testing`: see library/Cargo.toml.
extern crate pilcrow_testing as pilcrow;

mod large;
mod regressions;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use pilcrow_simulation::{Outcome, simulate};

/// Enough steps for a fault to meet what another left behind.
/// Without optimisation fewer must do, so that all tests together take a minute.
const STEPS: u64 = if cfg!(debug_assertions) { 12 } else { 40 };
const SEEDS: u64 = 2_000;
const NOTES: usize = 60;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {text}")),
    )
}

fn steps() -> u64 {
    number("STEPS").unwrap_or(STEPS)
}

fn report(seed: u64, outcome: &Outcome) -> String {
    let broken = outcome.broken.as_ref().expect("it failed");
    format!(
        "{}\n\nseed {seed} breaks promise {}: {}\n\
         SEED={seed} STEPS={} cargo test --test sim -- --nocapture replay\n",
        outcome.trace.join("\n"),
        broken.promise,
        broken.what,
        steps(),
    )
}

#[test]
fn seeds() {
    let seeds = number("SEEDS").unwrap_or(SEEDS);
    let (next, turns) = (AtomicU64::new(0), AtomicU64::new(0));
    let failed: Mutex<Option<(u64, Outcome)>> = Mutex::new(None);
    let faults: Mutex<BTreeMap<String, u64>> = Mutex::default();
    let began = Instant::now();
    let threads = thread::available_parallelism().map_or(2, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds || failed.lock().unwrap().is_some() {
                        return;
                    }
                    let outcome = simulate(seed, steps(), NOTES);
                    turns.fetch_add(outcome.turns, Ordering::Relaxed);
                    for (fault, count) in &outcome.faults {
                        *faults.lock().unwrap().entry(fault.clone()).or_default() += count;
                    }
                    if outcome.broken.is_some() {
                        let mut failed = failed.lock().unwrap();
                        // The lowest, whichever thread is first.
                        if failed.as_ref().is_none_or(|(other, _)| seed < *other) {
                            *failed = Some((seed, outcome));
                        }
                    }
                }
            });
        }
    });
    if let Some((seed, outcome)) = failed.into_inner().unwrap() {
        panic!("{}", report(seed, &outcome));
    }
    let faults = faults.into_inner().unwrap();
    let never: Vec<_> = faults.iter().filter(|(_, count)| **count == 0).collect();
    // What never happens is not tested.
    assert!(
        seeds < 500 || never.is_empty() && faults.len() > 50,
        "{never:?}"
    );
    let took = began.elapsed().as_secs_f64();
    let turns = turns.into_inner();
    eprintln!(
        "{seeds} seeds, {turns} turns, {:.0} seeds a second",
        seeds as f64 / took
    );
}

/// Runs one seed and prints all of it: `SEED=7`.
#[test]
fn replay() {
    let Some(seed) = number("SEED") else {
        return;
    };
    let outcome = simulate(seed, steps(), usize::MAX);
    if outcome.broken.is_some() {
        panic!("{}", report(seed, &outcome));
    }
    eprintln!("{}", outcome.trace.join("\n"));
    eprintln!(
        "seed {seed} keeps all promises: {} turns, {:?}, {} replies, trace {:016x}",
        outcome.turns, outcome.virtual_time, outcome.replies, outcome.trace_hash
    );
    eprintln!("{:?}", outcome.faults);
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..number("SEEDS").unwrap_or(50) {
        let (first, second) = (
            simulate(seed, steps(), NOTES),
            simulate(seed, steps(), NOTES),
        );
        assert_eq!(
            first.trace_hash, second.trace_hash,
            "seed {seed} breaks promise 9"
        );
    }
}
