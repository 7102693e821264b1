//! The last events, as records.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::protocol::ErrorCode;
use crate::rate_limit::RateLimit;
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
    fn is_noise(&self) -> bool {
        matches!(
            self,
            RecordKind::Rejected(_) | RecordKind::WrongProtocol(_) | RecordKind::LimitExceeded(_)
        )
    }
}

/// The last records, the oldest first.
#[derive(Debug)]
pub(super) struct Ring {
    records: VecDeque<Record>,
    last_number: u64,
    noise: RateLimit,
    pub(super) suppressed: u64,
}

/// How many records are kept.
pub(super) const MAX_RECORDS: usize = 10_000;

/// Events that any client can cause must not push out those of nodes.
const MAX_NOISE_PER_SECOND: u32 = 20;

impl Default for Ring {
    fn default() -> Ring {
        Ring {
            records: VecDeque::new(),
            last_number: 0,
            noise: RateLimit::per_second(MAX_NOISE_PER_SECOND),
            suppressed: 0,
        }
    }
}

impl Ring {
    pub(super) fn push(&mut self, mut record: Record) {
        if record.kind.is_noise() && !self.noise.allow(record.at) {
            self.suppressed += 1;
            return;
        }
        if self.records.len() >= MAX_RECORDS {
            self.records.pop_front();
        }
        self.last_number += 1;
        record.number = self.last_number;
        self.records.push_back(record);
    }

    pub(super) fn last_number(&self) -> u64 {
        self.last_number
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// Returns the records after this number, the oldest first; `None` if some are forgotten.
    pub(super) fn since(&self, number: u64) -> Option<impl DoubleEndedIterator<Item = &Record>> {
        let count = usize::try_from(self.last_number.checked_sub(number)?).ok()?;
        let begin = self.records.len().checked_sub(count)?;
        Some(self.records.range(begin..))
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Record> {
        self.records.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: RecordKind, millis: u64) -> Record {
        Record {
            number: 0,
            at: Time::from_millis(millis),
            kind,
            peer: None,
            name: "a".into(),
            entry: None,
            revision: 0,
            changed_list: false,
        }
    }

    #[test]
    fn keeps_the_last_and_tells_a_gap() {
        let mut ring = Ring::default();
        assert_eq!(ring.since(0).unwrap().count(), 0);
        assert!(ring.since(1).is_none());
        for _ in 0..MAX_RECORDS + 5 {
            ring.push(record(RecordKind::Joined, 0));
        }
        assert_eq!(ring.len(), MAX_RECORDS);
        let last = ring.last_number();
        assert_eq!(ring.since(last).unwrap().count(), 0);
        assert_eq!(
            ring.since(last - 2).unwrap().next().unwrap().number,
            last - 1
        );
        assert_eq!(ring.since(5).unwrap().count(), MAX_RECORDS);
        assert!(ring.since(4).is_none());
        assert!(ring.since(last + 1).is_none());
    }

    #[test]
    fn clients_cannot_push_out_events_of_nodes() {
        let mut ring = Ring::default();
        ring.push(record(RecordKind::Joined, 0));
        for number in 0..100_000 {
            ring.push(record(
                RecordKind::WrongProtocol("an HTTP request"),
                number / 100,
            ));
        }
        assert_eq!(ring.len(), 21);
        assert_eq!(ring.suppressed, 100_000 - 20);
        ring.push(record(RecordKind::WrongProtocol("an HTTP request"), 1000));
        ring.push(record(RecordKind::Joined, 1000));
        assert_eq!(ring.len(), 23);
    }
}
