//! A process, as the kernel sees it: its fds, its clocks and its pending events.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::ids::{HostId, SocketRef};
use crate::time::Time;

#[derive(Debug)]
pub(super) struct ProcessState {
    pub(super) host: HostId,
    /// All sockets, by their serials.
    pub(super) links: BTreeMap<u64, SocketRef>,
    /// Accepted sockets, by the peer's address.
    pub(super) accepted: BTreeMap<SocketAddr, SocketRef>,
    /// Sockets with readiness to report.
    pub(super) ready: Vec<SocketRef>,
    /// Tokens of closed sockets that an event may still name.
    pub(super) stale: Vec<u64>,
    pub(super) woken: Arc<AtomicBool>,
    /// Time at which it last looked for events.
    pub(super) polled_at: Time,
    pub(super) ahead: Duration,
    pub(super) time_of_day: Duration,
    pub(super) fds: usize,
    pub(super) fd_limit: usize,
    pub(super) has_reserve: bool,
    pub(super) ends_seen: Vec<SocketAddr>,
}

impl ProcessState {
    pub(super) fn new(host: HostId) -> ProcessState {
        ProcessState {
            host,
            links: BTreeMap::new(),
            accepted: BTreeMap::new(),
            ready: Vec::new(),
            stale: Vec::new(),
            woken: Arc::new(AtomicBool::new(false)),
            polled_at: Time::ZERO,
            ahead: Duration::ZERO,
            time_of_day: Duration::from_secs(1_700_000_000),
            fds: 1,
            fd_limit: usize::MAX,
            has_reserve: true,
            ends_seen: Vec::new(),
        }
    }

    pub(super) fn is_woken(&self) -> bool {
        self.woken.load(Ordering::Relaxed)
    }
}
