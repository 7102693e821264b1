//! Values of flags that are addresses.

use std::io;
use std::net::SocketAddr;

use crate::cli::failure::{Failure, reason};
use crate::host_port::HostPort;

/// Resolves the value of a flag. Without an address, the exit code is 1.
pub(crate) fn resolve(flag: &str, host_port: &HostPort) -> Result<Vec<SocketAddr>, Failure> {
    crate::sys::resolve(host_port)
        .map_err(|error| Failure::failed(format!("{flag} {host_port}: {}", unresolved(&error))))
}

/// Returns the addresses of localhost or of an address, none for another name.
pub(crate) fn without_lookup(host_port: &HostPort) -> Vec<SocketAddr> {
    if host_port.address().is_none() && host_port.host() != "localhost" {
        return Vec::new();
    }
    crate::sys::resolve(host_port).unwrap_or_default()
}

/// Formats the failure of a lookup.
pub(crate) fn unresolved(error: &io::Error) -> String {
    let why = reason(error);
    let why = why.trim_start_matches("failed to lookup address information: ");
    format!("cannot resolve the name: {why}; check its spelling and DNS, or use an address")
}

/// Parses an address to listen on. `none` means that nothing listens.
pub(crate) fn address_or_none(text: &str) -> Result<Option<HostPort>, String> {
    if text == "none" {
        return Ok(None);
    }
    match text.parse() {
        Ok(address) => Ok(Some(address)),
        Err(why) => Err(format!("{why}, or none")),
    }
}
