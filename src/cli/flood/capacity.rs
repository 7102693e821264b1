//! How many connections this machine lets one process have, and from which addresses.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files, pipes and sockets that are no connections of the run.
const FDS_KEPT_FREE: u64 = 64;

/// Raises the soft limit of open files to the hard one, and returns it.
pub(crate) fn raise_fd_limit() -> io::Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    )?;
    Ok(limit.maximum.unwrap_or(u64::MAX))
}

/// Ports that the kernel gives to outgoing connections of one address to one other.
pub(crate) fn ports_per_source() -> u64 {
    // Linux's own default, where it does not tell.
    const DEFAULT: u64 = 28_232;
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut ends = range.split_whitespace().map(str::parse::<u64>);
    match (ends.next(), ends.next()) {
        (Some(Ok(first)), Some(Ok(last))) if first <= last => last - first + 1,
        _ => DEFAULT,
    }
}

/// What a run may have of what it wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Capacity {
    pub(crate) connections: usize,
    /// Addresses to connect from, in turn; `None` is the kernel's choice.
    pub(crate) sources: Vec<Option<IpAddr>>,
    /// What caps it, if something does.
    pub(crate) capped_by: Vec<String>,
}

/// What the machine has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Machine {
    pub(crate) fds: u64,
    pub(crate) ports_per_source: u64,
}

impl Machine {
    pub(crate) fn here() -> io::Result<Machine> {
        Ok(Machine {
            fds: raise_fd_limit()?,
            ports_per_source: ports_per_source(),
        })
    }

    /// Room for `wanted` connections to `to` and `others` beside them, from `addresses` of the
    /// loopback network, or as many as it takes.
    pub(crate) fn plan(
        self,
        to: SocketAddr,
        wanted: usize,
        others: usize,
        addresses: Option<usize>,
    ) -> Capacity {
        let mut connections = wanted as u64;
        let mut capped_by = Vec::new();
        let fds = self.fds.saturating_sub(FDS_KEPT_FREE + others as u64);
        if connections > fds {
            connections = fds;
            capped_by.push(format!(
                "the fd limit (ulimit -n) is {}: going on with {connections} of {wanted} connections",
                self.fds
            ));
        }
        // Some ports are in use already, or were until a moment ago.
        let usable = (self.ports_per_source - self.ports_per_source / 128).max(1);
        let needed = (connections + others as u64).div_ceil(usable).max(1);
        let addresses = addresses.map_or(needed, |addresses| addresses as u64);
        // 127.0.0.1 to 127.0.0.254.
        let possible = if is_loopback_v4(to) { 254 } else { 1 };
        let addresses = addresses.clamp(1, possible);
        let ports = (usable * addresses).saturating_sub(others as u64).max(1);
        if connections > ports {
            connections = ports;
            capped_by.push(format!(
                "the port range (net.ipv4.ip_local_port_range) has {} ports for each of {addresses} \
                 source addresses: going on with {connections} of {wanted} connections",
                self.ports_per_source
            ));
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

fn is_loopback_v4(addr: SocketAddr) -> bool {
    matches!(addr.ip(), IpAddr::V4(ip) if ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACHINE: Machine = Machine {
        fds: 100_000,
        ports_per_source: 28_232,
    };

    fn loopback() -> SocketAddr {
        ([127, 0, 0, 1], 9000).into()
    }

    #[test]
    fn a_thousand_come_from_where_the_kernel_likes() {
        let plan = MACHINE.plan(loopback(), 1000, 10, None);
        assert_eq!((plan.connections, plan.sources), (1000, vec![None]));
        assert!(plan.capped_by.is_empty());
    }

    #[test]
    fn more_than_one_address_has_ports_for_come_from_several() {
        let plan = MACHINE.plan(loopback(), 60_000, 10, None);
        assert_eq!(plan.connections, 60_000);
        let second = Some("127.0.0.2".parse().unwrap());
        assert_eq!(plan.sources.len(), 3);
        assert_eq!(plan.sources[..2], [None, second]);
        assert_eq!(MACHINE.plan(loopback(), 28_000, 1, None).sources, [None]);
    }

    #[test]
    fn what_caps_it_is_named() {
        let machine = Machine {
            fds: 1024,
            ..MACHINE
        };
        let plan = machine.plan(loopback(), 5000, 10, None);
        assert_eq!(plan.connections, 950);
        assert!(plan.capped_by[0].contains("ulimit -n) is 1024"));

        let elsewhere = "10.0.0.7:9000".parse().unwrap();
        let plan = MACHINE.plan(elsewhere, 60_000, 0, None);
        assert_eq!(plan.connections, 28_012);
        assert_eq!(plan.sources, [None]);
        assert!(plan.capped_by[0].contains("ip_local_port_range"));

        let plan = MACHINE.plan(loopback(), 60_000, 0, Some(2));
        assert_eq!((plan.connections, plan.sources.len()), (2 * 28_012, 2));
    }

    #[test]
    fn this_machine_has_ports() {
        assert!(ports_per_source() > 0);
    }
}
