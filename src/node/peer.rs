//! One address that calls are sent to, with its connection.

use std::net::SocketAddr;
use std::time::Duration;

use super::calls::{AssignedCalls, Call};
use super::roster::Listing;
use super::window::Window;
use crate::reactor::{ConnId, Net};
use crate::time::Time;

/// A peer. When the entry of an address is registered anew, the address has two peers until the
/// calls of the first have ended.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) addr: SocketAddr,
    pub(super) conn: Option<ConnId>,
    /// Time at which the connection was established.
    pub(super) opened_at: Option<Time>,
    /// Bytes of requests that wait for the connection, or for room on it.
    pub(super) held_bytes: usize,
    /// Calls that are assigned to it and have no result yet, and their number.
    pub(super) assigned: AssignedCalls,
    pub(super) in_flight: usize,
    /// Number of consecutive failed connections.
    failures: u32,
    /// Time from which it may be called again even if others could be.
    pub(super) set_aside_until: Time,
    /// Number of consecutive calls that expired without a byte read.
    expired: u32,
    pub(super) window: Window,
    /// An entry at this address has no session.
    pub(super) is_plain: bool,
    /// An entry at this address is in the roster.
    pub(super) is_listed: bool,
    /// The peer was recently called by its address.
    pub(super) is_kept: bool,
    /// The peer was called by its address since the last [`Peers::let_go`](super::peers::Peers).
    pub(super) was_called: bool,
    /// Highest id that was listed in this epoch, when ids were last listed.
    last_id: Option<u64>,
}

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Number of consecutive expired calls that make a connection unresponsive. No byte was read during
/// these calls.
const SILENT_CALLS: u32 = 3;

impl Peer {
    pub(super) fn new(addr: SocketAddr) -> Peer {
        Peer {
            addr,
            conn: None,
            opened_at: None,
            held_bytes: 0,
            assigned: AssignedCalls::default(),
            in_flight: 0,
            failures: 0,
            set_aside_until: Time::ZERO,
            expired: 0,
            window: Window::default(),
            is_plain: false,
            is_listed: false,
            is_kept: false,
            was_called: false,
            last_id: None,
        }
    }

    /// Returns whether it can take one more call. Without this limit, calls that are queued for a
    /// slow reader would be lost with its connection.
    pub(super) fn takes_more(&self, call: &Call, max_in_flight: usize, net: &Net) -> bool {
        let bytes = self.unsent_bytes(net) + call.text.request_bytes();
        self.in_flight < max_in_flight && bytes <= net.limits().max_unsent_bytes
    }

    /// Returns the number of bytes that wait to be written to it.
    pub(super) fn unsent_bytes(&self, net: &Net) -> usize {
        self.held_bytes + self.conn.map_or(0, |conn| net.pending_bytes(conn))
    }

    pub(super) fn release(&mut self, bytes: usize) {
        self.held_bytes = self.held_bytes.saturating_sub(bytes);
    }

    /// Returns whether a call may be assigned to it even if others could take it. After a failure
    /// only one call tries it, since a connect to a host that is gone takes long.
    pub(super) fn may_be_well(&self, now: Time) -> bool {
        self.set_aside_until <= now && (self.failures == 0 || self.in_flight == 0)
    }

    /// Records a reply, which may be late.
    pub(super) fn answered(&mut self, key: Option<u64>) {
        self.expired = 0;
        self.window.replied(key);
    }

    /// Records a reply to a pending call, which resets the failures.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
        self.set_aside_until = Time::ZERO;
    }

    /// Records that its connection ended. It is called again after a pause that grows with
    /// consecutive failures.
    pub(super) fn failed(&mut self, net: &mut Net) {
        // Random, so that callers do not return at the same time.
        let percent = 50 + u32::try_from(net.random() % 51).unwrap_or(50);
        self.set_aside_until = net.now() + self.pause() * percent / 100;
        self.failures += 1;
        self.expired = 0;
        self.conn = None;
        self.opened_at = None;
        self.window.clear();
    }

    fn pause(&self) -> Duration {
        (FIRST_PAUSE * 2_u32.pow(self.failures.min(10))).min(LONGEST_PAUSE)
    }

    /// Records that a call expired on `conn`, which had read `read_before` bytes before it. Returns
    /// whether the connection is unresponsive, and older than the pause.
    pub(super) fn expired(&mut self, conn: ConnId, read_before: u64, net: &Net) -> bool {
        if self.conn != Some(conn) || net.read_bytes(conn) != read_before {
            return false;
        }
        self.expired += 1;
        let pause = self.pause();
        self.expired >= SILENT_CALLS
            && (self.opened_at).is_some_and(|opened_at| opened_at + pause <= net.now())
    }

    /// Records a new epoch: its ids cannot be compared with earlier ones.
    pub(super) fn forget_ids(&mut self) {
        self.last_id = None;
    }

    /// Records what is listed at its address now. If all of these ids are newer than those listed
    /// before in the same epoch, the earlier entries are gone: returns a new peer for the new
    /// entries. This peer keeps its calls, and its connection until they have ended.
    pub(super) fn list(&mut self, listing: Option<Listing>) -> Option<Peer> {
        self.is_listed = listing.is_some();
        let listing = listing?;
        self.is_plain = listing.is_plain;
        self.is_kept = false;
        let (lowest, highest) = listing.ids?;
        let last = self.last_id.replace(highest)?;
        if last >= lowest {
            return None;
        }
        self.is_listed = false;
        Some(Peer {
            is_plain: self.is_plain,
            is_listed: true,
            last_id: self.last_id,
            ..Peer::new(self.addr)
        })
    }

    pub(super) fn is_idle(&self) -> bool {
        !self.is_listed && !self.is_kept && self.in_flight == 0
    }
}
