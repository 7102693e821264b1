//! Events, and the records of them in the journal.

use std::net::SocketAddr;

use crate::protocol::ErrorCode;
use crate::reactor::CloseReason;
use crate::registry::{Cause, EntryId};
use crate::time::Time;

/// An event of a node, a connection or the Distributor.
///
/// Each is emitted once, after the change of the registry, and is counted, recorded and logged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A node registered.
    Joined,
    /// A node registered again, and its entry changed.
    Changed,
    /// A node claimed its entry, which had no connection.
    Claimed,
    /// A node took over its entry from its earlier connection, which has this address.
    Superseded(SocketAddr),
    /// An entry left the list: the cause, and a description of what was observed.
    Left(Cause, &'static str),
    /// A node fell silent together with many others, and stays listed as a suspect.
    Suspected,
    /// A suspect sent something.
    Recovered,
    /// A packet was rejected with this errorcode.
    Rejected(ErrorCode),
    /// A connection was closed because it speaks this other protocol.
    WrongProtocol(&'static str),
    /// A connection was closed because it exceeded this limit.
    LimitExceeded(&'static str),
    /// The list may be incomplete from now on.
    WarmUpBegan,
    /// The list is complete.
    WarmUpEnded,
    /// This many entries of the last run were listed again.
    Restored(usize),

    /// Not recorded: a node without a valid port registered. It is not listed.
    NotListed,
    /// Not recorded: the loop refused connections. `refused` and `shed` are totals.
    ConnectionsRefused {
        /// Limit of connections.
        limit: usize,
        /// Connections refused beyond the limit.
        refused: u64,
        /// Connections closed because no file descriptor was free.
        shed: u64,
    },
    /// Not recorded: the loop failed to accept connections, this many times in total.
    AcceptFailed(u64),
    /// Not recorded: silent nodes stay listed as suspects from now on.
    SelfPreservationEntered {
        /// Nodes that fell silent.
        silent: usize,
        /// Nodes that have missed a heartbeat.
        overdue: usize,
    },
}

impl Event {
    /// Returns the name of the event; empty if it is not recorded.
    pub fn as_str(&self) -> &'static str {
        match self {
            Event::Joined => "joined",
            Event::Changed => "changed",
            Event::Claimed => "claimed",
            Event::Superseded(_) => "superseded",
            Event::Left(..) => "left",
            Event::Suspected => "suspect",
            Event::Recovered => "recovered",
            Event::Rejected(_) => "rejected",
            Event::WrongProtocol(_) => "wrong-protocol",
            Event::LimitExceeded(_) => "limit",
            Event::WarmUpBegan => "warm-up",
            Event::WarmUpEnded => "complete",
            Event::Restored(_) => "restored",
            _ => "",
        }
    }
}

/// The node or connection of an event, and details for the log, as far as known.
#[derive(Clone, Copy, Default, Debug)]
pub(in crate::distributor) struct Subject<'a> {
    pub(in crate::distributor) peer: Option<SocketAddr>,
    pub(in crate::distributor) name: &'a str,
    pub(in crate::distributor) entry: Option<EntryId>,
    /// The host under which the node is listed.
    pub(in crate::distributor) host: &'a str,
    /// The frame that caused the event.
    pub(in crate::distributor) frame: &'a [u8],
    /// The error in the reply to the frame.
    pub(in crate::distributor) error: &'a str,
}

/// An event in the [`Journal`](super::Journal).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Increases by one with each record.
    pub number: u64,
    /// Time of the event.
    pub at: Time,
    /// The event.
    pub event: Event,
    /// Address of the connection.
    pub peer: Option<SocketAddr>,
    /// Name of the node; empty if it has none.
    pub name: Box<str>,
    /// Entry of the node.
    pub entry: Option<EntryId>,
    /// Revision of the list after the event.
    pub revision: u64,
    /// True if the event changed the list, which created this revision.
    pub changed_list: bool,
}

/// Returns the reason for the end of a connection in words.
pub(in crate::distributor) fn describe(reason: CloseReason) -> &'static str {
    match reason {
        CloseReason::Local => "closed by the Distributor",
        CloseReason::PeerClosed => "closed by the peer",
        CloseReason::Failed(_) => "reset",
        CloseReason::PeerVanished => "peer host unreachable",
        CloseReason::ConnectFailed(_) | CloseReason::ConnectTimeout => "never connected",
        CloseReason::FrameTooLarge => "frame too large",
        CloseReason::FrameTimeout => "frame not completed in time",
        CloseReason::NoFirstByte => "nothing received in time",
        CloseReason::TooMuchUnsent => "too much unsent data",
        CloseReason::WriteTimeout => "peer stopped reading",
    }
}
