//! A socket, as its kernel sees it.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::SocketAddr;

use super::ids::{HostId, ProcessId, SocketRef};
use crate::sys::TcpOptions;
use crate::time::Time;

/// One end of a connection, as named by faults.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link {
    pub(super) end: SocketRef,
    /// The local address.
    pub local: SocketAddr,
    /// The peer's address.
    pub remote: SocketAddr,
}

/// The true state of a connection, even if its process cannot know it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Facts {
    /// The other end is open too, and belongs to a process.
    pub has_far_end: bool,
    /// The end or the failure of the connection has reached this end.
    pub has_ended: bool,
    /// Packets arrive in both directions.
    pub is_connected: bool,
    /// Time of the last packet from the other end.
    pub heard_at: Time,
    /// Time at which the kernel last accepted bytes to write, or the connection began.
    pub wrote_at: Time,
    /// Bytes that arrived and were not read.
    pub unread_bytes: usize,
    /// Bytes that were written and not acknowledged.
    pub unacknowledged_bytes: usize,
}

/// Readiness to report.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Edges {
    pub(super) readable: bool,
    pub(super) writable: bool,
    pub(super) closed: bool,
}

impl Edges {
    pub(super) const READABLE: Edges = Edges {
        readable: true,
        writable: false,
        closed: false,
    };
    pub(super) const WRITABLE: Edges = Edges {
        readable: false,
        writable: true,
        closed: false,
    };
    pub(super) const ENDED: Edges = Edges {
        readable: true,
        writable: false,
        closed: true,
    };
    pub(super) const FAILED: Edges = Edges {
        readable: true,
        writable: true,
        closed: true,
    };

    pub(super) fn add(&mut self, other: Edges) {
        self.readable |= other.readable;
        self.writable |= other.writable;
        self.closed |= other.closed;
    }

    pub(super) fn is_empty(self) -> bool {
        self == Edges::default()
    }
}

#[derive(Debug)]
pub(super) struct SocketState {
    pub(super) serial: u64,
    pub(super) host: HostId,
    /// Process of the socket; `None` if it has closed it, and the kernel completes the rest.
    pub(super) process: Option<ProcessId>,
    /// Token under which it is watched.
    pub(super) token: Option<u64>,
    pub(super) edges: Edges,
    pub(super) local: SocketAddr,
    pub(super) options: Option<TcpOptions>,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    Listener {
        waiting: VecDeque<SocketRef>,
        backlog: usize,
    },
    Stream(Box<Stream>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    Connecting,
    Open,
    /// The connection was refused, reset or has timed out; nothing is sent any more.
    Failed,
}

/// The two directions. The bytes from `acknowledged` on are in `out`; those up to `delivered` have
/// reached the other end.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) remote: SocketAddr,
    pub(super) peer: Option<SocketRef>,
    pub(super) phase: Phase,
    /// Error that the next call returns.
    pub(super) error: Option<ErrorKind>,

    pub(super) out: VecDeque<u8>,
    pub(super) out_capacity: usize,
    pub(super) acknowledged: u64,
    pub(super) delivered: u64,
    /// Nothing will be written after `out`.
    pub(super) ends: bool,
    pub(super) end_delivered: bool,
    pub(super) end_acknowledged: bool,
    pub(super) unacknowledged_since: Option<Time>,
    /// A write found no room: the process waits for an edge.
    pub(super) waits_for_room: bool,
    /// A delivery is on the agenda.
    pub(super) is_on_agenda: bool,
    pub(super) is_clogged: bool,
    pub(super) wrote_at: Time,

    pub(super) inbox: VecDeque<u8>,
    pub(super) inbox_capacity: usize,
    pub(super) peer_ended: bool,
    pub(super) heard_at: Time,
}

impl Stream {
    pub(super) fn new(
        remote: SocketAddr,
        now: Time,
        out_capacity: usize,
        inbox_capacity: usize,
    ) -> Stream {
        Stream {
            remote,
            peer: None,
            phase: Phase::Connecting,
            error: None,
            out: VecDeque::new(),
            out_capacity,
            acknowledged: 0,
            delivered: 0,
            ends: false,
            end_delivered: false,
            end_acknowledged: false,
            unacknowledged_since: None,
            waits_for_room: false,
            is_on_agenda: false,
            is_clogged: false,
            wrote_at: now,
            inbox: VecDeque::new(),
            inbox_capacity,
            peer_ended: false,
            heard_at: now,
        }
    }

    /// Returns the number of bytes that were written and have not reached the other end.
    pub(super) fn undelivered(&self) -> usize {
        let in_flight = usize::try_from(self.delivered - self.acknowledged).unwrap_or(0);
        self.out.len() - in_flight
    }

    pub(super) fn has_unacknowledged(&self) -> bool {
        self.delivered > self.acknowledged || self.end_delivered && !self.end_acknowledged
    }

    pub(super) fn window(&self) -> usize {
        self.inbox_capacity.saturating_sub(self.inbox.len())
    }

    pub(super) fn room(&self) -> usize {
        self.out_capacity.saturating_sub(self.out.len())
    }
}
