//! Faults of real processes: kills, stops, lack of files and disk, partitions, stalled peers.
//!
//! `cargo test` runs a small form within a minute. The full form takes some minutes:
//! `CHAOS=full cargo test --release --test chaos -- --nocapture --test-threads=1`

#![allow(unreachable_pub)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing
)]

mod crowds;
mod disk;
mod network;
mod node_process;
mod plain_peers;
mod processes;
mod stuck;

use std::fmt::Display;
use std::io::Write;

use pilcrow_test_support as support;

/// Returns whether this is the full form.
fn is_full() -> bool {
    std::env::var_os("CHAOS").is_some_and(|chaos| chaos == "full")
}

fn scale<T>(small: T, full: T) -> T {
    if is_full() { full } else { small }
}

/// Prints to standard error past the capture of the test harness.
fn note(what: impl Display) {
    let _ = writeln!(std::io::stderr(), "chaos: {what}");
}
