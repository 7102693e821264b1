//! What happened, one thing at a time, and the last of it.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::protocol::ErrorCode;
use crate::rate_limit::RateLimit;
use crate::registry::{Cause, EntryId};
use crate::time::Time;

/// Something that happened to a node, a connection or the Distributor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// Rises by one with each.
    pub number: u64,
    /// When.
    pub at: Time,
    /// What.
    pub what: What,
    /// Whose connection it was about.
    pub peer: Option<SocketAddr>,
    /// The node's name, if it has one.
    pub name: Box<str>,
    /// The node's entry, if it has one.
    pub entry: Option<EntryId>,
    /// The revision of the list behind it.
    pub revision: u64,
    /// It made this revision.
    pub changed_list: bool,
}

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum What {
    /// A node registered.
    Joined,
    /// A node registered again, and its entry is another now.
    Changed,
    /// A node has its entry of before, which had no connection.
    Back,
    /// A node is gone from the list: why, and in words how that was seen.
    Left(Cause, &'static str),
    /// A newer connection of the same node has its entry now.
    Superseded,
    /// A node fell silent together with many others, and is held for a while.
    Suspect,
    /// A suspect was heard of.
    Heard,
    /// A packet was answered with an errorcode, and why.
    Refused(ErrorCode),
    /// A connection spoke another protocol.
    Foreign(&'static str),
    /// A connection broke a limit: which.
    LimitHit(&'static str),
    /// From now on the list may not be complete.
    WarmUpBegan,
    /// The list is complete.
    WarmUpEnded,
    /// Entries of the last run are listed again: how many.
    Restored(usize),
}

impl What {
    /// The word for it.
    pub fn as_str(&self) -> &'static str {
        match self {
            What::Joined => "joined",
            What::Changed => "changed",
            What::Back => "back",
            What::Left(..) => "left",
            What::Superseded => "superseded",
            What::Suspect => "suspect",
            What::Heard => "heard",
            What::Refused(_) => "refused",
            What::Foreign(_) => "foreign",
            What::LimitHit(_) => "limit",
            What::WarmUpBegan => "warm-up",
            What::WarmUpEnded => "complete",
            What::Restored(_) => "restored",
        }
    }

    /// Whether it changes the list, if the node is listed.
    pub(super) fn is_change(&self) -> bool {
        matches!(self, What::Joined | What::Changed | What::Left(..))
    }

    /// Whether anybody who reaches the port can have it happen as often as they want.
    fn is_noise(&self) -> bool {
        matches!(
            self,
            What::Refused(_) | What::Foreign(_) | What::LimitHit(_)
        )
    }
}

/// The last events, the oldest first.
#[derive(Debug)]
pub(super) struct Ring {
    events: VecDeque<Event>,
    last_number: u64,
    noise: RateLimit,
    pub(super) left_out: u64,
}

/// How many events are kept.
pub(super) const MAX_EVENTS: usize = 10_000;

/// What strangers cause must not push out what happened to nodes.
const MAX_NOISE_PER_SECOND: u32 = 20;

impl Default for Ring {
    fn default() -> Ring {
        Ring {
            events: VecDeque::new(),
            last_number: 0,
            noise: RateLimit::per_second(MAX_NOISE_PER_SECOND),
            left_out: 0,
        }
    }
}

impl Ring {
    pub(super) fn push(&mut self, mut event: Event) {
        if event.what.is_noise() && !self.noise.allow(event.at) {
            self.left_out += 1;
            return;
        }
        if self.events.len() >= MAX_EVENTS {
            self.events.pop_front();
        }
        self.last_number += 1;
        event.number = self.last_number;
        self.events.push_back(event);
    }

    pub(super) fn last_number(&self) -> u64 {
        self.last_number
    }

    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    /// Those behind this number, the oldest first; `None` if some of them are forgotten.
    pub(super) fn since(&self, number: u64) -> Option<impl DoubleEndedIterator<Item = &Event>> {
        let behind = usize::try_from(self.last_number.checked_sub(number)?).ok()?;
        let begin = self.events.len().checked_sub(behind)?;
        Some(self.events.range(begin..))
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Event> {
        self.events.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(what: What, millis: u64) -> Event {
        Event {
            number: 0,
            at: Time::from_millis(millis),
            what,
            peer: None,
            name: "a".into(),
            entry: None,
            revision: 0,
            changed_list: false,
        }
    }

    #[test]
    fn the_last_are_kept_and_who_is_too_far_behind_is_told() {
        let mut ring = Ring::default();
        assert_eq!(ring.since(0).unwrap().count(), 0);
        assert!(ring.since(1).is_none());
        for _ in 0..MAX_EVENTS + 5 {
            ring.push(event(What::Joined, 0));
        }
        assert_eq!(ring.len(), MAX_EVENTS);
        let last = ring.last_number();
        assert_eq!(ring.since(last).unwrap().count(), 0);
        assert_eq!(
            ring.since(last - 2).unwrap().next().unwrap().number,
            last - 1
        );
        assert_eq!(ring.since(5).unwrap().count(), MAX_EVENTS);
        assert!(ring.since(4).is_none());
        assert!(ring.since(last + 1).is_none());
    }

    #[test]
    fn strangers_cannot_push_out_what_happened_to_nodes() {
        let mut ring = Ring::default();
        ring.push(event(What::Joined, 0));
        for number in 0..100_000 {
            ring.push(event(What::Foreign("an HTTP request"), number / 100));
        }
        assert_eq!(ring.len(), 21);
        assert_eq!(ring.left_out, 100_000 - 20);
        ring.push(event(What::Foreign("an HTTP request"), 1000));
        ring.push(event(What::Joined, 1000));
        assert_eq!(ring.len(), 23);
    }
}
