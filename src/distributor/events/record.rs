//! Events as they are kept.

use std::net::SocketAddr;

use crate::protocol::ErrorCode;
use crate::registry::{Cause, EntryId};
use crate::time::Time;

/// An event of a node, a connection or the Distributor.
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

/// How many records are kept.
pub(super) const MAX_RECORDS: usize = 10_000;

/// The kind of an event, with what only this kind has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RecordKind {
    /// A node registered.
    Joined,
    /// A node registered again, and its entry changed.
    Changed,
    /// A node claimed its entry, which had no connection.
    Claimed,
    /// An entry left the list: the cause, and in words what was observed.
    Left(Cause, &'static str),
    /// A node took its entry over from its earlier connection.
    Superseded,
    /// A silent node is held together with many others.
    Suspect,
    /// A suspect sent something.
    Recovered,
    /// A packet was answered with this errorcode.
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

    /// Returns whether such an event changes the list, if the node is listed.
    pub(super) fn is_change(&self) -> bool {
        matches!(
            self,
            RecordKind::Joined | RecordKind::Changed | RecordKind::Left(..)
        )
    }

    /// Returns whether any client that reaches the port can cause such events at will.
    pub(super) fn is_noise(&self) -> bool {
        matches!(
            self,
            RecordKind::Rejected(_) | RecordKind::WrongProtocol(_) | RecordKind::LimitExceeded(_)
        )
    }
}
