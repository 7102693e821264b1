//! Addresses that a builder is given as text.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use super::address::{DistributorAddress, Resolve};
use super::error::Error;
use crate::protocol::ErrorCode;

/// Returns the address to listen on.
pub(super) fn to_listen_on(text: &str) -> Result<SocketAddr, Error> {
    text.parse().map_err(|_| invalid(text))
}

/// Returns the addresses of the Distributors.
pub(super) fn of_distributors(texts: &[String]) -> Result<DistributorAddress, Error> {
    let fixed: Result<Vec<SocketAddr>, _> = texts.iter().map(|text| text.parse()).collect();
    if let Ok(addrs) = fixed {
        return Ok(addrs.into());
    }
    for text in texts {
        let (host, port) = text.rsplit_once(':').ok_or_else(|| invalid(text))?;
        if host.is_empty() || port.parse::<u16>().is_err() {
            return Err(invalid(text));
        }
    }
    Ok(DistributorAddress::Named(Arc::new(Names(texts.join(", ")))))
}

fn invalid(text: &str) -> Error {
    let message = format!("invalid address {text}: expected HOST:PORT, as in 127.0.0.1:9000");
    Error::new(ErrorCode::InvalidParameters, message)
}

/// Names that are not resolved.
struct Names(String);

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Resolve for Names {
    fn start(&self) {}

    fn take(&self) -> Option<io::Result<Vec<SocketAddr>>> {
        Some(Err(io::ErrorKind::Unsupported.into()))
    }
}
