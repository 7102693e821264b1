//! Compares ours with the bare system calls in one run: in alternate rounds, so that other load
//! affects both alike, and by processor time of one thread, so that waiting does not count.

#![allow(dead_code)]

pub(crate) mod client;

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
        format!("{:.3?}", our_times[0] / units),
        format!("{:.3?}", bare_times[0] / units),
        our_times[0].as_secs_f64() / bare_times[0].as_secs_f64(),
        median(&our_times).as_secs_f64() / median(&bare_times).as_secs_f64(),
    );
}
