//! Machines, and the paths between them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::files::Files;
use super::ids::HostId;

#[derive(Debug)]
pub(super) struct Host {
    pub(super) addr: IpAddr,
    /// The host has power. Otherwise it neither sends nor receives.
    pub(super) is_up: bool,
    pub(super) files: Files,
    next_port: u16,
}

const FIRST_EPHEMERAL_PORT: u16 = 20_000;

impl Host {
    pub(super) fn new(addr: IpAddr) -> Host {
        Host {
            addr,
            is_up: true,
            files: Files::default(),
            next_port: FIRST_EPHEMERAL_PORT,
        }
    }

    pub(super) fn take_port(&mut self) -> u16 {
        let port = self.next_port;
        self.next_port = port.checked_add(1).unwrap_or(FIRST_EPHEMERAL_PORT);
        port
    }
}

/// Packets that arrive.
#[derive(Debug, Default)]
pub(super) struct Paths {
    blocked: BTreeSet<(HostId, HostId)>,
}

impl Paths {
    pub(super) fn block(&mut self, from: HostId, to: HostId) {
        self.blocked.insert((from, to));
    }

    pub(super) fn open(&mut self, from: HostId, to: HostId) {
        self.blocked.remove(&(from, to));
    }

    pub(super) fn open_all(&mut self) {
        self.blocked.clear();
    }

    pub(super) fn is_open(&self, from: HostId, to: HostId) -> bool {
        from == to || self.blocked.is_empty() || !self.blocked.contains(&(from, to))
    }
}
