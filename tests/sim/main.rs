//! Runs the simulation of a fleet, seed by seed.
//!
//! - `SEEDS=100000 cargo test --release --test sim seeds` runs that many seeds.
//! - `SEED=7 cargo test --test sim -- --ignored --nocapture replay` runs one seed and prints its
//!   trace.

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

/// Enough steps for a fault to meet the effects of another; fewer in slow debug builds.
const STEPS: u64 = if cfg!(debug_assertions) { 12 } else { 40 };
const SEEDS: u64 = 2_000;
const NOTES: usize = 60;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is not a number: {text}")),
    )
}

fn steps() -> u64 {
    number("STEPS").unwrap_or(STEPS)
}

fn report(seed: u64, outcome: &Outcome) -> String {
    let broken = outcome.broken.as_ref().expect("it failed");
    format!(
        "{}\n\nseed {seed} breaks promise {}: {}\n\
         SEED={seed} STEPS={} cargo test --test sim -- --ignored --nocapture replay\n",
        outcome.trace.join("\n"),
        broken.promise,
        broken.what,
        steps(),
    )
}

/// Runs `check` on the seeds below `seeds` in parallel. Returns the lowest failed seed, and why.
fn first_failure<T: Send>(seeds: u64, check: impl Fn(u64) -> Option<T> + Sync) -> Option<(u64, T)> {
    let next = AtomicU64::new(0);
    let failed: Mutex<Option<(u64, T)>> = Mutex::new(None);
    let threads = thread::available_parallelism().map_or(2, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds || failed.lock().unwrap().is_some() {
                        return;
                    }
                    if let Some(failure) = check(seed) {
                        let mut failed = failed.lock().unwrap();
                        if failed.as_ref().is_none_or(|(other, _)| seed < *other) {
                            *failed = Some((seed, failure));
                        }
                    }
                }
            });
        }
    });
    failed.into_inner().unwrap()
}

#[test]
fn seeds() {
    let seeds = number("SEEDS").unwrap_or(SEEDS);
    let turns = AtomicU64::new(0);
    let faults: Mutex<BTreeMap<String, u64>> = Mutex::default();
    let began = Instant::now();
    let failed = first_failure(seeds, |seed| {
        let outcome = simulate(seed, steps(), NOTES);
        turns.fetch_add(outcome.turns, Ordering::Relaxed);
        for (fault, count) in &outcome.faults {
            *faults.lock().unwrap().entry(fault.clone()).or_default() += count;
        }
        outcome.broken.is_some().then_some(outcome)
    });
    if let Some((seed, outcome)) = failed {
        panic!("{}", report(seed, &outcome));
    }
    let faults = faults.into_inner().unwrap();
    let never: Vec<_> = faults.iter().filter(|(_, count)| **count == 0).collect();
    // A fault that never happens is not tested.
    assert!(
        seeds < 500 || never.is_empty() && faults.len() > 50,
        "{never:?}"
    );
    let took = began.elapsed().as_secs_f64();
    let turns = turns.into_inner();
    eprintln!(
        "{seeds} seeds, {turns} turns, {:.0} seeds per second",
        seeds as f64 / took
    );
    let folds = faults.iter().filter(|(name, _)| name.starts_with("Fold"));
    eprintln!("{folds:?}", folds = folds.collect::<Vec<_>>());
}

/// Runs one seed and prints its trace.
#[test]
#[ignore = "needs a seed: SEED=7 ... --ignored replay"]
fn replay() {
    let seed = number("SEED").expect("SEED is not set: set it to the seed to replay");
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
fn same_seed_gives_same_trace() {
    let trace = |seed| simulate(seed, steps(), NOTES).trace_hash;
    let differs = |seed| (trace(seed) != trace(seed)).then_some(());
    let seeds = number("SEEDS").unwrap_or(50);
    if let Some((seed, ())) = first_failure(seeds, differs) {
        panic!("seed {seed} breaks promise 9: its trace differs when it is run again");
    }
}
