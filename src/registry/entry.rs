//! The entry of a node in the registry, and the causes of its removal.

use std::sync::Arc;

use crate::protocol::{Registration, Subscription};

/// Identifies an entry for the lifetime of the registry. Ids increase in the order of first
/// registration.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EntryId(u64);

impl EntryId {
    pub(super) fn new(number: u64) -> EntryId {
        EntryId(number)
    }

    /// Returns its number on the wire.
    pub fn number(self) -> u64 {
        self.0
    }
}

/// The entry of one node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The node as a JSON object, as it is sent in lists.
    pub encoded: Box<[u8]>,
    /// Name and urls of the node.
    pub keys: Keys,
    /// True if it is in the list. An entry without a valid port is not listed, but keeps its place.
    pub listed: bool,
    /// True if it was registered without a session. Peers without one cannot read large lists.
    pub is_plain: bool,
}

/// The parts of an entry that subscriptions name. Clones share them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Keys {
    /// Name of the node. Several entries may have the same name.
    pub name: Arc<str>,
    /// Routes that the node serves, as `METHOD/path`.
    pub urls: Arc<[Box<str>]>,
}

impl Keys {
    pub(crate) fn of(registration: &Registration<'_>) -> Keys {
        let urls = registration.urls().into_iter();
        Keys {
            name: registration.name().into(),
            urls: urls.map(Into::into).collect(),
        }
    }

    /// Returns whether a session with this subscription receives the entry; `None` receives all.
    pub(crate) fn match_only(&self, only: Option<&Subscription>) -> bool {
        only.is_none_or(|only| only.matches(&self.name, &self.urls))
    }

    /// Returns about how many bytes they take.
    pub(super) fn bytes(&self) -> usize {
        let urls = self
            .urls
            .iter()
            .map(|url| url.len() + size_of::<Box<str>>());
        self.name.len() + urls.sum::<usize>()
    }
}

/// Cause of the removal of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// The connection was closed, by either side.
    Closed,
    /// The node was drained, and stayed connected.
    Drained,
    /// Nothing was received from it for too long.
    Silent,
    /// A newer connection of the same node took its place.
    Superseded,
    /// The entry was restored from an earlier run, and its node did not reconnect.
    Absent,
}

impl Cause {
    /// All causes, in the order of their discriminants.
    pub const ALL: [Cause; 5] = [
        Cause::Closed,
        Cause::Drained,
        Cause::Silent,
        Cause::Superseded,
        Cause::Absent,
    ];

    /// Returns its name on the wire and in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::Closed => "closed",
            Cause::Drained => "drained",
            Cause::Silent => "silent",
            Cause::Superseded => "superseded",
            Cause::Absent => "absent",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_causes_in_the_order_of_their_discriminants() {
        for (index, cause) in Cause::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, index);
        }
    }
}
