//! ADDRESS:PORT and NAME:PORT as values of flags.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use crate::cli::failure::{Failure, reason};

/// A host and a port. A name is looked up only by [`HostPort::resolve`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct HostPort(String);

impl FromStr for HostPort {
    type Err = String;

    fn from_str(text: &str) -> Result<HostPort, String> {
        let is_name = |host: &str| {
            let is_other = |c: char| c.is_whitespace() || c.is_control() || "/*[]@:".contains(c);
            !host.is_empty() && !host.contains(is_other)
        };
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        let no_port = |example: &dyn fmt::Display| {
            format!("missing port; use ADDRESS:PORT or NAME:PORT, as in {example}")
        };
        if text.parse::<SocketAddr>().is_ok() {
            return Ok(HostPort(text.to_owned()));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Err(no_port(&SocketAddr::new(address, 9000)));
        }
        match text.rsplit_once(':') {
            Some((host, port)) if is_name(host) => match port.parse::<u16>() {
                Ok(_) => Ok(HostPort(text.to_owned())),
                Err(_) => Err("invalid port; use 0 to 65535".to_owned()),
            },
            None if is_name(text) && !is_number => Err(no_port(&format_args!("{text}:9000"))),
            _ => Err(
                "invalid address; use ADDRESS:PORT or NAME:PORT, as in 127.0.0.1:9000".to_owned(),
            ),
        }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl HostPort {
    /// Returns the part before the port.
    pub(crate) fn host(&self) -> &str {
        self.0.rsplit_once(':').map_or(&*self.0, |(host, _)| host)
    }

    /// Returns all addresses, at least one. A lookup may block for many seconds.
    pub(crate) fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        if let Some(Ok(port)) = self.0.strip_prefix("localhost:").map(str::parse) {
            // RFC 6761 requires both loopback addresses, regardless of a hosts file.
            return Ok(vec![
                SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
                SocketAddr::from((Ipv6Addr::LOCALHOST, port)),
            ]);
        }
        let mut addresses = Vec::new();
        for address in self.0.to_socket_addrs()? {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if addresses.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "the name has no address",
            ));
        }
        Ok(addresses)
    }
}

/// Resolves the value of a flag. Without an address, the exit code is 1.
pub(crate) fn resolve(flag: &str, host_port: &HostPort) -> Result<Vec<SocketAddr>, Failure> {
    host_port
        .resolve()
        .map_err(|error| Failure::failed(format!("{flag} {host_port}: {}", unresolved(&error))))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_addresses_and_names_with_a_port() {
        for good in [
            "127.0.0.1:0",
            "[::1]:9000",
            "localhost:9000",
            "db.internal:1",
        ] {
            assert_eq!(good.parse::<HostPort>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "foo",
            "9000",
            ":9000",
            "::1",
            "127.0.0.1",
            "127.0.0.1:99999",
            "localhost:http",
            "*:9000",
            "http://a:1",
            "a\nb:1",
            "127.0.0.1:0\n",
        ] {
            assert!(bad.parse::<HostPort>().is_err(), "{bad}");
        }
    }

    #[test]
    fn localhost_resolves_to_both_loopback_addresses() {
        let localhost: HostPort = "localhost:7".parse().unwrap();
        let addresses = ["127.0.0.1:7", "[::1]:7"].map(|text| text.parse().unwrap());
        assert_eq!(localhost.resolve().unwrap(), addresses);
    }
}
