//! Compares ours with the bare system calls in one run: in alternate rounds, so that other load
//! affects both alike, and by processor time of one thread, so that waiting does not count.

#![allow(dead_code, clippy::unwrap_used)]

pub(crate) mod client;

use std::hint::black_box;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Returns the processor time of this thread so far, including the kernel's part.
pub(crate) fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap(),
        u32::try_from(time.tv_nsec).unwrap(),
    )
}

/// Returns the processor time that `work` takes in this thread.
pub(crate) fn cpu_of(work: impl FnOnce()) -> Duration {
    let before = thread_cpu();
    work();
    thread_cpu() - before
}

/// Returns whether the command line selects this row: it has no words, or one of the row.
pub(crate) fn is_selected(row: &str) -> bool {
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    words.is_empty() || words.iter().any(|word| row.contains(word))
}

pub(crate) fn print_head() {
    println!(
        "{:<52} {:>11} {:>11} {:>7} {:>9}",
        "processor time, the least of all rounds", "ours", "bare", "ratio", "(median)"
    );
}

/// Returns the processor time that `work` takes as often as this.
pub(crate) fn cpu_of_all<R>(times: u32, mut work: impl FnMut() -> R) -> Duration {
    cpu_of(|| {
        for _ in 0..times {
            black_box(work());
        }
    })
}

/// Runs both in alternation, and prints the cost of one of `units`.
pub(crate) fn compare(
    row: &str,
    rounds: usize,
    units: u32,
    mut ours: impl FnMut() -> Duration,
    mut bare: impl FnMut() -> Duration,
) {
    let (mut our_times, mut bare_times) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        our_times.push(ours());
        bare_times.push(bare());
    }
    our_times.sort();
    bare_times.sort();
    let median = |times: &[Duration]| times[times.len() / 2];
    println!(
        "{row:<52} {:>11} {:>11} {:>6.2}x {:>8.2}x",
        one_of(units, our_times[0]),
        one_of(units, bare_times[0]),
        our_times[0].as_secs_f64() / bare_times[0].as_secs_f64(),
        median(&our_times).as_secs_f64() / median(&bare_times).as_secs_f64(),
    );
}

/// Prints the cost of one of `units`, where nothing bare does the same.
pub(crate) fn measure(row: &str, rounds: usize, units: u32, mut ours: impl FnMut() -> Duration) {
    let least = (0..rounds).map(|_| ours()).min().unwrap();
    println!("{row:<52} {:>11}", one_of(units, least));
}

/// One part of a time, to fractions of a nanosecond.
fn one_of(units: u32, time: Duration) -> String {
    let nanos = time.as_secs_f64() * 1e9 / f64::from(units);
    if nanos < 1e3 {
        format!("{nanos:.1}ns")
    } else if nanos < 1e6 {
        format!("{:.3}µs", nanos / 1e3)
    } else {
        format!("{:.3}ms", nanos / 1e6)
    }
}
