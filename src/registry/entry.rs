//! A node in the registry.

/// Names an entry for the lifetime of the registry. Ids rise in the order of first registration.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EntryId(u64);

impl EntryId {
    pub(super) fn new(number: u64) -> EntryId {
        EntryId(number)
    }

    /// The number that stands for it on the wire.
    pub fn number(self) -> u64 {
        self.0
    }
}

/// What the registry keeps of one node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The node as JSON, as it stands in every list.
    pub encoded: Box<[u8]>,
    /// Its name, for people. A label: several entries may have the same.
    pub name: Box<str>,
    /// Whether it stands in the list. An entry that would harm those who read the list does not,
    /// but it keeps its place.
    pub listed: bool,
    /// Whether it was registered without a session. Such peers die of large reads.
    pub is_plain: bool,
}
