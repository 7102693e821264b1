//! What several commands need.

use std::net::SocketAddr;

use serde_json::Value;

use crate::cli::address::HostPort;
use crate::cli::failure::Failure;
use crate::cli::print::print;

/// Prints JSON, indented.
pub(super) fn print_json(value: &Value) -> Result<(), Failure> {
    print(&format!("{value:#}\n"))
}

/// Returns all addresses of a Distributor.
pub(super) fn resolve(distributor: &HostPort) -> Result<Vec<SocketAddr>, Failure> {
    let resolved = distributor.resolve();
    resolved.map_err(|error| Failure::failed(format!("--distributor {distributor}: {error}")))
}
