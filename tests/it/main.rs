//! Tests of the programs from outside: real processes, real sockets.

#![allow(unreachable_pub)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::indexing_slicing
)]

mod access;
mod activation;
mod admin;
mod architecture;
mod commands;
mod config;
mod contributing;
mod docs;
mod embedding;
mod examples;
mod flood;
mod gateway;
mod health;
mod help;
mod http;
mod interests;
mod limits;
mod log_lines;
mod messages;
mod names;
mod nodes;
mod packaging;
mod page;
mod peers;
mod program;
mod protocol;
mod pushes;
mod restart;
mod routes;
mod sessions;
mod start;
mod terminal;
mod tidy;
mod version;

use pilcrow_test_support as support;
