//! Hosts with ports: `127.0.0.1:9000`, `[::1]:9000`, `distributor.internal:9000`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// A host, which is an address or a name, and a port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostPort(String);

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

impl From<SocketAddr> for HostPort {
    fn from(addr: SocketAddr) -> HostPort {
        HostPort(addr.to_string())
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl HostPort {
    /// Returns the part before the port.
    pub fn host(&self) -> &str {
        self.0.rsplit_once(':').map_or(&*self.0, |(host, _)| host)
    }

    /// Returns the address, if the host is not a name.
    pub fn address(&self) -> Option<SocketAddr> {
        self.0.parse().ok()
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
}
