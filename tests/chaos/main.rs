//! Real processes, and what happens to them in real life: they are killed, stand still, run out of
//! files and disk, are cut off, and have peers that neither read nor write as they should.
//!
//! `cargo test` runs it small, within a minute. In full, for some minutes:
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

/// Whether all is as large and as long as it is meant to be.
fn is_full() -> bool {
    std::env::var_os("CHAOS").is_some_and(|chaos| chaos == "full")
}

fn scale<T>(small: T, full: T) -> T {
    if is_full() { full } else { small }
}

/// Prints to standard error, which the test harness captures otherwise.
fn note(what: impl Display) {
    let _ = writeln!(std::io::stderr(), "chaos: {what}");
}
