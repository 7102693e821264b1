//! The number of connections that this machine allows one process, and their source addresses.

use std::fs;
use std::net::{IpAddr, SocketAddr};

use crate::cli::program::raise_fd_limit;

/// Number of fds for files, pipes and sockets that are not connections of the run.
const RESERVED_FDS: u64 = 64;
/// Maximum number of source addresses: 127.0.0.1 to 127.0.0.254.
const MAX_SOURCES: u64 = 254;

/// The limits of this machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Machine {
    fds: u64,
    /// Number of ports for connections from one address to another.
    ports: u64,
}

/// The connections of a run.
#[derive(Debug)]
pub(crate) struct Capacity {
    pub(crate) connections: usize,
    /// Addresses to connect from, in turn; `None` is the kernel's choice.
    pub(crate) sources: Vec<Option<IpAddr>>,
    /// One line for each limit that reduced the number of connections.
    pub(crate) capped_by: Vec<String>,
}

impl Machine {
    pub(crate) fn here() -> Machine {
        const LINUX_DEFAULT: u64 = 28_232;
        let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
        let range = range.unwrap_or_default();
        let ends: Vec<u64> = range.split_whitespace().flat_map(str::parse).collect();
        Machine {
            fds: raise_fd_limit(),
            ports: match *ends {
                [first, last] if first <= last => last - first + 1,
                _ => LINUX_DEFAULT,
            },
        }
    }

    /// Plans `wanted` connections to `to`, and `others` in addition. They are from this many
    /// loopback addresses, or from as many as the port range requires.
    pub(crate) fn plan(
        self,
        to: SocketAddr,
        wanted: usize,
        others: usize,
        addresses: Option<usize>,
    ) -> Capacity {
        let (wanted, others) = (wanted as u64, others as u64);
        let by_fds = self.fds.saturating_sub(RESERVED_FDS + others);
        // Some ports are in use, or in TIME_WAIT.
        let usable = (self.ports - self.ports / 128).max(1);
        let needed = (wanted.min(by_fds) + others).div_ceil(usable);
        let is_loopback = matches!(to.ip(), IpAddr::V4(ip) if ip.is_loopback());
        let addresses = addresses.map_or(needed, |addresses| addresses as u64);
        let addresses = addresses.clamp(1, if is_loopback { MAX_SOURCES } else { 1 });
        let by_ports = (usable * addresses).saturating_sub(others).max(1);
        let fd_limit = format!("the fd limit (ulimit -n) is {}", self.fds);
        let port_range = format!(
            "the port range (net.ipv4.ip_local_port_range) has {} ports for each of {addresses} \
             source addresses",
            self.ports
        );
        let mut connections = wanted;
        let mut capped_by = Vec::new();
        for (most, limit) in [(by_fds, fd_limit), (by_ports, port_range)] {
            if connections > most {
                connections = most;
                capped_by.push(format!("{limit}: using {most} of {wanted} connections"));
            }
        }
        let last_source = u8::try_from(addresses).unwrap_or(u8::MAX);
        let source = |last: u8| (last > 1).then(|| IpAddr::from([127, 0, 0, last]));
        Capacity {
            connections: usize::try_from(connections).unwrap_or(usize::MAX),
            sources: (1..=last_source).map(source).collect(),
            capped_by,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_as_many_addresses_as_the_port_range_requires() {
        let machine = Machine {
            fds: 100_000,
            ports: 28_232,
        };
        let loopback = SocketAddr::from(([127, 0, 0, 1], 9000));
        let remote = SocketAddr::from(([10, 0, 0, 7], 9000));
        for (to, wanted, addresses, connections, sources) in [
            (loopback, 28_000, None, 28_000, 1),
            (loopback, 60_000, None, 60_000, 3),
            (loopback, 60_000, Some(2), 2 * 28_012, 2),
            (remote, 60_000, None, 28_012, 1),
        ] {
            let plan = machine.plan(to, wanted, 0, addresses);
            assert_eq!(
                (plan.connections, plan.sources.len()),
                (connections, sources)
            );
            assert_eq!(plan.capped_by.is_empty(), connections == wanted);
        }
    }
}
