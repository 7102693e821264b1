//! How many connections this machine lets one process have, and from which addresses.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files, pipes and sockets that are not connections of the run.
const FDS_KEPT_FREE: u64 = 64;
/// Addresses of the loopback network that are used: 127.0.0.1 to 127.0.0.254.
const MAX_SOURCES: u64 = 254;

/// Raises the soft limit of open files to the hard one, and returns it.
pub(crate) fn raise_fd_limit() -> io::Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            ..limit
        },
    )?;
    Ok(limit.maximum.unwrap_or(u64::MAX))
}

/// Returns how many ports the kernel has for connections from one address to another.
fn ports_per_source() -> u64 {
    const LINUX_DEFAULT: u64 = 28_232;
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let ends: Vec<u64> = range.split_whitespace().flat_map(str::parse).collect();
    match *ends {
        [first, last] if first <= last => last - first + 1,
        _ => LINUX_DEFAULT,
    }
}

/// What a run may have of what it wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Capacity {
    pub(crate) connections: usize,
    /// Addresses to connect from, in turn; `None` is the kernel's choice.
    pub(crate) sources: Vec<Option<IpAddr>>,
    /// Limits of the machine that made it less.
    pub(crate) capped_by: Vec<String>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Machine {
    fds: u64,
    ports_per_source: u64,
}

impl Machine {
    pub(crate) fn here() -> io::Result<Machine> {
        Ok(Machine {
            fds: raise_fd_limit()?,
            ports_per_source: ports_per_source(),
        })
    }

    /// Returns room for `wanted` connections to `to` and `others` beside them, from this many
    /// addresses of the loopback network, or as many as it takes.
    pub(crate) fn plan(
        self,
        to: SocketAddr,
        wanted: usize,
        others: usize,
        addresses: Option<usize>,
    ) -> Capacity {
        let (most, others) = (wanted as u64, others as u64);
        let by_fds = self.fds.saturating_sub(FDS_KEPT_FREE + others);
        // Some ports are in use already, or were until a moment ago.
        let ports = self.ports_per_source;
        let usable = (ports - ports / 128).max(1);
        let needed = (most.min(by_fds) + others).div_ceil(usable);
        let is_loopback = matches!(to.ip(), IpAddr::V4(ip) if ip.is_loopback());
        let addresses = addresses.map_or(needed, |addresses| addresses as u64);
        let addresses = addresses.clamp(1, if is_loopback { MAX_SOURCES } else { 1 });
        let by_ports = (usable * addresses).saturating_sub(others).max(1);
        let fd_limit = format!("the fd limit (ulimit -n) is {}", self.fds);
        let port_range = format!(
            "the port range (net.ipv4.ip_local_port_range) has {ports} ports for each of {addresses} \
             source addresses"
        );
        let mut connections = most;
        let mut capped_by = Vec::new();
        for (most, limit) in [(by_fds, fd_limit), (by_ports, port_range)] {
            if connections > most {
                connections = most;
                let goes_on = format!("going on with {most} of {wanted} connections");
                capped_by.push(format!("{limit}: {goes_on}"));
            }
        }
        let source = |last: u64| {
            let last = u8::try_from(last).ok().filter(|last| *last > 1);
            last.map(|last| IpAddr::from(Ipv4Addr::new(127, 0, 0, last)))
        };
        Capacity {
            connections: usize::try_from(connections).unwrap_or(usize::MAX),
            sources: (1..=addresses).map(source).collect(),
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
            ports_per_source: 28_232,
        };
        let here = SocketAddr::from(([127, 0, 0, 1], 9000));
        let elsewhere = SocketAddr::from(([10, 0, 0, 7], 9000));
        for (to, wanted, addresses, connections, sources) in [
            (here, 28_000, None, 28_000, 1),
            (here, 60_000, None, 60_000, 3),
            (here, 60_000, Some(2), 2 * 28_012, 2),
            (elsewhere, 60_000, None, 28_012, 1),
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
