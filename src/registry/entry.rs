//! A node in the registry.

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
