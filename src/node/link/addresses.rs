//! The addresses that a node tries, one per attempt, in rounds.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tracing::{info, warn};

use super::super::address::DistributorAddress;
use crate::host_port::HostPort;
use crate::reactor::Net;
use crate::sys::Lookup;

/// Time after which a lookup counts as failed.
pub(in crate::node) const LONGEST_LOOKUP: Duration = Duration::from_secs(5);

/// A round tries all addresses of all hosts. Each name is looked up when its turn has come.
#[derive(Debug)]
pub(super) struct Addresses {
    hosts: Vec<Host>,
    /// The host that is tried in this round, and the number of its addresses that were.
    place: usize,
    tried: usize,
    /// The address of the current attempt.
    current: Option<SocketAddr>,
}

#[derive(Debug)]
struct Host {
    host_port: HostPort,
    is_name: bool,
    /// Its addresses, by the last lookup that found any.
    found: Vec<SocketAddr>,
    /// The lookup of this round has ended.
    is_current: bool,
    /// A lookup without a result. It may be one of an earlier round that took too long.
    lookup: Option<Lookup>,
    is_failing: bool,
}

/// The next step of a round.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    Connect(SocketAddr),
    /// The lookup of this host is in progress.
    LookUp {
        host: usize,
    },
    Over,
}

impl Addresses {
    pub(super) fn new(source: Option<&DistributorAddress>) -> Addresses {
        let hosts = source.into_iter().flat_map(|source| &source.0);
        let hosts: Vec<Host> = hosts.cloned().map(Host::new).collect();
        Addresses {
            place: hosts.len(),
            hosts,
            tried: 0,
            current: None,
        }
    }

    /// Returns whether there is no Distributor.
    pub(super) fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    pub(super) fn begin_round(&mut self) {
        (self.place, self.tried, self.current) = (0, 0, None);
        for host in &mut self.hosts {
            host.is_current = !host.is_name;
        }
    }

    pub(super) fn end_round(&mut self) {
        self.place = self.hosts.len();
    }

    /// Returns whether the round may have untried addresses.
    pub(super) fn has_next(&self) -> bool {
        let of_current = self
            .hosts
            .get(self.place)
            .is_some_and(|host| !host.is_current || self.tried < host.found.len());
        of_current || self.place + 1 < self.hosts.len()
    }

    /// Returns the address of the current attempt.
    pub(super) fn current(&self) -> Option<SocketAddr> {
        self.current
    }

    /// Takes the next step, which may start a lookup.
    pub(super) fn step(&mut self, net: &mut Net) -> Step {
        while let Some(host) = self.hosts.get_mut(self.place) {
            if !host.is_current && !host.look_up(net) {
                return Step::LookUp { host: self.place };
            }
            if let Some(addr) = host.found.get(self.tried) {
                self.tried += 1;
                self.current = Some(*addr);
                return Step::Connect(*addr);
            }
            (self.place, self.tried) = (self.place + 1, 0);
        }
        Step::Over
    }

    /// Ends the wait for the lookup of the current host.
    pub(super) fn lookup_timed_out(&mut self) {
        if let Some(host) = self.hosts.get_mut(self.place) {
            host.failed(&io::ErrorKind::TimedOut.into());
        }
    }
}

impl Host {
    fn new(host_port: HostPort) -> Host {
        let address = host_port.address();
        Host {
            is_name: address.is_none(),
            found: Vec::from_iter(address),
            host_port,
            is_current: false,
            lookup: None,
            is_failing: false,
        }
    }

    /// Starts a lookup if none is in progress, and takes its result. Returns whether it has ended.
    fn look_up(&mut self, net: &mut Net) -> bool {
        let lookup = match &mut self.lookup {
            Some(lookup) => lookup,
            none => none.insert(net.look_up(&self.host_port)),
        };
        let Some(result) = lookup.take() else {
            return false;
        };
        self.lookup = None;
        match result {
            Ok(found) if !found.is_empty() => {
                let name = &self.host_port;
                if std::mem::take(&mut self.is_failing) {
                    info!(%name, "Distributor name resolved again");
                }
                self.found = found;
                self.is_current = true;
            }
            Ok(_) => self.failed(&io::ErrorKind::NotFound.into()),
            Err(error) => self.failed(&error),
        }
        true
    }

    /// Ends the lookup of this round with the previous addresses, which may be none. Only the first
    /// failure in a row is logged.
    fn failed(&mut self, error: &io::Error) {
        self.is_current = true;
        if !std::mem::replace(&mut self.is_failing, true) {
            let name = &self.host_port;
            warn!(%name, %error, "failed to resolve the name of the Distributor, retrying");
        }
    }
}
