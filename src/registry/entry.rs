//! A node in the registry, and the causes with which it leaves.

/// Names an entry for the lifetime of the registry. Ids rise in the order of first registration.
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
    /// The node as JSON, as it is listed.
    pub encoded: Box<[u8]>,
    /// Its name, for people. A label: several entries may have the same.
    pub name: Box<str>,
    /// Whether it is in the list. An entry without a valid port is not, but it keeps its place.
    pub listed: bool,
    /// Whether it was registered without a session. Such peers cannot read large lists.
    pub is_plain: bool,
}

/// Why an entry left the registry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// Its connection was closed, by either side.
    Closed,
    /// It was drained, and stayed connected.
    Drained,
    /// Nothing was received from it for too long.
    Silent,
    /// A newer connection of the same node took its place.
    Superseded,
    /// It was restored from an earlier run, and its node did not reconnect.
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

    /// Returns its word on the wire and in logs.
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
