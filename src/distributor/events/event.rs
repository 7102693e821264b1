//! Events: as they are emitted, and as the journal keeps them.

use std::net::SocketAddr;
use std::time::Duration;

use crate::protocol::{ErrorCode, Refusal};
use crate::reactor::CloseReason;
use crate::registry::{Cause, EntryId};
use crate::time::Time;

/// An event of a node, a connection or the Distributor, with what is logged of it.
///
/// Each is emitted once, after the registry has changed. [`Events::emit`](super::Events::emit)
/// derives counters, log line and journal record from it.
#[derive(Debug)]
pub(in crate::distributor) enum Event<'a> {
    /// The first bytes of a connection were those of another protocol.
    WrongProtocol {
        protocol: &'static str,
        bytes: &'a [u8],
    },
    /// A packet was rejected. `is_unadmitted`: its connection is closed for that.
    Rejected {
        refusal: &'a Refusal,
        frame: &'a [u8],
        is_unadmitted: bool,
    },
    /// A connection ended, perhaps because it exceeded a limit of the loop.
    Closed(CloseReason),
    /// A backlogged connection was closed because old lists take too much memory.
    OldListsCut,
    /// The loop refused connections; both are totals.
    ConnectionsRefused {
        limit: usize,
        refused: u64,
        shed: u64,
    },
    /// The loop could not accept connections; a total.
    AcceptFailed { failures: u64 },

    /// A node registered.
    Joined { host: &'a str },
    /// A node registered again, and its entry changed.
    Changed { host: &'a str },
    /// A node without a valid port registered. It is not listed.
    NotListed,
    /// A node claimed its entry, which had no connection.
    Claimed,
    /// A node took its entry over from its earlier connection.
    Superseded { before: SocketAddr },
    /// An entry left the list.
    Left { cause: Cause, reason: &'static str },

    /// A silent node is held together with many others.
    Suspected,
    /// A suspect sent something.
    Recovered,
    /// From now on silent nodes are held. `overdue` nodes have missed a heartbeat.
    SelfPreservationEntered { silent: usize, overdue: usize },
    /// The process stood still.
    Stalled(Duration),
    /// From now on the list may be incomplete.
    WarmUpBegan,
    /// The list is complete.
    WarmUpEnded,
    /// Entries of the last run are listed again.
    Restored { entries: usize },
}

/// The node or connection that an event is about, as far as it is known.
#[derive(Clone, Copy, Default, Debug)]
pub(in crate::distributor) struct Subject<'a> {
    pub(in crate::distributor) peer: Option<SocketAddr>,
    pub(in crate::distributor) name: &'a str,
    pub(in crate::distributor) entry: Option<EntryId>,
}

/// An event in the [`Journal`](super::Journal).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Rises by one with each record.
    pub number: u64,
    /// When it happened.
    pub at: Time,
    /// What happened.
    pub kind: RecordKind,
    /// The address of the connection that it is about.
    pub peer: Option<SocketAddr>,
    /// The name of the node; empty if it has none.
    pub name: Box<str>,
    /// The entry of the node.
    pub entry: Option<EntryId>,
    /// The revision of the list after the event.
    pub revision: u64,
    /// Whether the event made this revision.
    pub changed_list: bool,
}

/// The kind of an event, with the details that only this kind has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RecordKind {
    /// A node registered.
    Joined,
    /// A node registered again, and its entry changed.
    Changed,
    /// A node claimed its entry, which had no connection.
    Claimed,
    /// An entry left the list: the cause, and the observation in words.
    Left(Cause, &'static str),
    /// A node took its entry over from its earlier connection.
    Superseded,
    /// A silent node is held together with many others.
    Suspect,
    /// A suspect sent something.
    Recovered,
    /// A packet was rejected with this errorcode.
    Rejected(ErrorCode),
    /// A connection was closed because it speaks this other protocol.
    WrongProtocol(&'static str),
    /// A connection was closed because it exceeded this limit.
    LimitExceeded(&'static str),
    /// From now on the list may be incomplete.
    WarmUpBegan,
    /// The list is complete.
    WarmUpEnded,
    /// This many entries of the last run are listed again.
    Restored(usize),
}

impl RecordKind {
    /// Returns the word for the kind.
    pub fn as_str(&self) -> &'static str {
        match self {
            RecordKind::Joined => "joined",
            RecordKind::Changed => "changed",
            RecordKind::Claimed => "claimed",
            RecordKind::Left(..) => "left",
            RecordKind::Superseded => "superseded",
            RecordKind::Suspect => "suspect",
            RecordKind::Recovered => "recovered",
            RecordKind::Rejected(_) => "rejected",
            RecordKind::WrongProtocol(_) => "wrong-protocol",
            RecordKind::LimitExceeded(_) => "limit",
            RecordKind::WarmUpBegan => "warm-up",
            RecordKind::WarmUpEnded => "complete",
            RecordKind::Restored(_) => "restored",
        }
    }
}

/// Returns why a connection ended, in words.
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
