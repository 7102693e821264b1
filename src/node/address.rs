//! Addresses of the Distributor, which may have names.

use std::net::SocketAddr;
use std::str::FromStr;

use super::error::Error;
use crate::host_port::HostPort;
use crate::protocol::ErrorCode;

/// The hosts and ports of Distributors, which are tried in turn. Parses from `HOST:PORT`.
///
/// A name is looked up before each round of attempts, without blocking the loop, and all its
/// addresses are tried. If the lookup fails, those of the last one are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DistributorAddress(pub(super) Vec<HostPort>);

impl DistributorAddress {
    /// Adds Distributors that are tried after these.
    #[must_use]
    pub fn or(mut self, others: impl Into<DistributorAddress>) -> DistributorAddress {
        self.0.extend(others.into().0);
        self
    }
}

impl FromStr for DistributorAddress {
    type Err = Error;

    fn from_str(text: &str) -> Result<DistributorAddress, Error> {
        host_port("Distributor", text).map(DistributorAddress::from)
    }
}

impl From<HostPort> for DistributorAddress {
    fn from(host_port: HostPort) -> DistributorAddress {
        DistributorAddress(vec![host_port])
    }
}

impl From<SocketAddr> for DistributorAddress {
    fn from(addr: SocketAddr) -> DistributorAddress {
        DistributorAddress(vec![addr.into()])
    }
}

impl From<Vec<SocketAddr>> for DistributorAddress {
    fn from(addrs: Vec<SocketAddr>) -> DistributorAddress {
        DistributorAddress(addrs.into_iter().map(HostPort::from).collect())
    }
}

/// Parses the address of something that a node listens on or connects to.
pub(super) fn host_port(what: &str, text: &str) -> Result<HostPort, Error> {
    text.parse().map_err(|why| {
        let message = format!("invalid address of the {what}, {text:?}: {why}");
        Error::new(ErrorCode::InvalidParameters, message)
    })
}
