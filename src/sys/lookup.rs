//! Lookups of the addresses of a name.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::time::Duration;

use crate::host_port::HostPort;

/// The result of a lookup: at least one address.
pub(crate) type Found = io::Result<Vec<SocketAddr>>;

/// A lookup that may be in progress.
#[derive(Debug)]
pub(crate) struct Lookup(Receiver<Found>);

impl Lookup {
    /// Returns a lookup, and the sender of its result.
    pub(crate) fn begin() -> (Sender<Found>, Lookup) {
        let (sender, receiver) = mpsc::channel();
        (sender, Lookup(receiver))
    }

    /// Returns the result, once. `None` while the lookup is in progress.
    pub(crate) fn take(&self) -> Option<Found> {
        match self.0.try_recv() {
            Ok(found) => Some(found),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(not_started())),
        }
    }

    /// Blocks until the lookup has ended, for at most `timeout`.
    pub(crate) fn wait(&self, timeout: Duration) -> Found {
        match self.0.recv_timeout(timeout) {
            Ok(found) => found,
            Err(RecvTimeoutError::Timeout) => Err(io::ErrorKind::TimedOut.into()),
            Err(RecvTimeoutError::Disconnected) => Err(not_started()),
        }
    }
}

fn not_started() -> io::Error {
    io::Error::other("cannot start a thread")
}

/// Returns all addresses of a host that need no lookup.
pub(super) fn known(host_port: &HostPort) -> Option<Vec<SocketAddr>> {
    if let Some(address) = host_port.address() {
        return Some(vec![address]);
    }
    let text = host_port.to_string();
    let port = text.strip_prefix("localhost:")?.parse().ok()?;
    // RFC 6761 requires both loopback addresses, regardless of a hosts file.
    Some(vec![
        SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        SocketAddr::from((Ipv6Addr::LOCALHOST, port)),
    ])
}

/// Returns all addresses of a host, at least one. A lookup may block for many seconds.
pub(crate) fn resolve(host_port: &HostPort) -> Found {
    if let Some(known) = known(host_port) {
        return Ok(known);
    }
    let mut addresses = Vec::new();
    for address in host_port.to_string().to_socket_addrs()? {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        let why = "the name has no address";
        return Err(io::Error::new(io::ErrorKind::NotFound, why));
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localhost_resolves_to_both_loopback_addresses() {
        let localhost: HostPort = "localhost:7".parse().unwrap();
        let addresses = ["127.0.0.1:7", "[::1]:7"].map(|text| text.parse().unwrap());
        assert_eq!(resolve(&localhost).unwrap(), addresses);
    }
}
