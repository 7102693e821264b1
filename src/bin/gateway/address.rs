//! Addresses as they are written, and what they mean.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use crate::{CANNOT_LISTEN, Failure, USAGE};

/// The addresses that a flag names.
pub(crate) fn resolve(flag: &str, text: &str, port: u16) -> Result<Vec<SocketAddr>, Failure> {
    let wrong = |code: u8, what: &str| {
        Err(Failure {
            code,
            message: format!("{flag} {text}: {what}"),
        })
    };
    if let Some(Ok(port)) = text.strip_prefix("localhost:").map(str::parse) {
        // By its definition (RFC 6761) both loopback addresses, whatever a hosts file says.
        return Ok(vec![
            SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            SocketAddr::from((Ipv6Addr::LOCALHOST, port)),
        ]);
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        let example = SocketAddr::new(address, port);
        return wrong(USAGE, &format!("it takes a port as well, as in {example}"));
    }
    let form = format!("it takes ADDRESS:PORT, as in 127.0.0.1:{port}");
    let host = text.rsplit_once(':').map_or("", |(host, _)| host);
    if host.is_empty() || host.contains(['/', '*']) {
        return wrong(USAGE, &form);
    }
    match text.to_socket_addrs() {
        Ok(found) => {
            let mut addresses = Vec::new();
            for address in found {
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
            match addresses.is_empty() {
                true => wrong(CANNOT_LISTEN, "the name has no address"),
                false => Ok(addresses),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            wrong(USAGE, &format!("{error}; {form}"))
        }
        Err(error) => wrong(CANNOT_LISTEN, &format!("the name has no address: {error}")),
    }
}
