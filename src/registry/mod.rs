//! The list of a Distributor: the entries of all nodes, and the revision of the list. Pure.
//!
//! A [`Distributor`](crate::distributor::Distributor) owns a [`Registry`] and lends it for reading.
//! A registry has no sockets and no clock, so it can also be used alone.

mod entry;
mod history;
mod index;
mod update;

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;

pub use entry::{Cause, Entry, EntryId, Keys};
pub use history::Delta;
pub(crate) use update::Update;

use crate::protocol::Subscription;
use history::{Change, ChangeKind, History};
use index::Index;

/// Limits of a [`Registry`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Capacity {
    /// Maximum number of entries, listed or not.
    pub max_entries: usize,
    /// Maximum size of all encoded entries together, in bytes. Peers receive a list of this size,
    /// and nodes accept at most 16 MiB.
    pub max_encoded_bytes: usize,
}

impl Default for Capacity {
    fn default() -> Capacity {
        Capacity {
            max_entries: 10_000,
            max_encoded_bytes: 15 << 20,
        }
    }
}

/// Reason why the registry has no room for an entry. The registry did not change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Full {
    /// There are already [`Capacity::max_entries`] entries.
    Entries,
    /// All entries together would exceed [`Capacity::max_encoded_bytes`].
    Bytes,
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Full::Entries => "registry full: too many entries",
            Full::Bytes => "registry full: list too long",
        })
    }
}

impl std::error::Error for Full {}

/// Entries, in the order of their first registration, and the revision of their list.
#[derive(Debug, Default)]
pub struct Registry {
    entries: BTreeMap<EntryId, Entry>,
    capacity: Capacity,
    /// Size of all encoded entries, with a comma each.
    encoded_bytes: usize,
    last_id: u64,
    revision: u64,
    history: History,
    index: Index,
    departures: [u64; Cause::ALL.len()],
}

impl Registry {
    /// Returns an empty registry, at revision 0.
    pub fn new(capacity: Capacity) -> Registry {
        Registry {
            capacity,
            ..Registry::default()
        }
    }

    /// Returns the revision, which increases by one with every change of the list.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Returns the number of entries, listed or not.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the number of entries that left with this cause so far. For [`Cause::Superseded`],
    /// that is the number of take-overs by a newer connection.
    pub fn departures(&self, cause: Cause) -> u64 {
        self.departures.get(cause as usize).copied().unwrap_or(0)
    }

    /// Returns all entries, listed or not, in the order of their first registration.
    pub fn iter(&self) -> impl Iterator<Item = (EntryId, &Entry)> {
        self.entries.iter().map(|(id, entry)| (*id, entry))
    }

    /// Returns the entries of the list, in its order.
    pub fn listed(&self) -> impl Iterator<Item = (EntryId, &Entry)> {
        self.iter().filter(|(_, entry)| entry.listed)
    }

    /// Returns the entries with these ids that have not left.
    pub fn select(&self, ids: &[EntryId]) -> impl Iterator<Item = (EntryId, &Entry)> {
        ids.iter().filter_map(|id| Some((*id, self.get(*id)?)))
    }

    /// Returns the number of changes that are remembered.
    pub(crate) fn history_len(&self) -> usize {
        self.history.len()
    }

    /// Returns the size of all encoded entries in bytes, with a comma each.
    pub fn encoded_bytes(&self) -> usize {
        self.encoded_bytes
    }

    /// Returns the entry, if it has not left.
    pub fn get(&self, id: EntryId) -> Option<&Entry> {
        self.entries.get(&id)
    }

    /// Adds an entry at the end of the list.
    ///
    /// # Errors
    ///
    /// Returns the limit of [`Capacity`] that the entry would exceed. Nothing has changed.
    pub fn join(&mut self, entry: Entry) -> Result<EntryId, Full> {
        if self.entries.len() >= self.capacity.max_entries {
            return Err(Full::Entries);
        }
        self.encoded_bytes = self.bytes_with(&entry, 0)?;
        self.last_id += 1;
        let id = EntryId::new(self.last_id);
        if entry.listed {
            self.index.insert(id, &entry.keys);
            self.changed(id, ChangeKind::Joined, None);
        }
        self.entries.insert(id, entry);
        Ok(id)
    }

    /// Replaces an entry in its place, unless it has left. Returns whether the list changed.
    ///
    /// # Errors
    ///
    /// Returns the limit of [`Capacity`] that the entry would exceed. The old entry stays.
    pub fn replace(&mut self, id: EntryId, entry: Entry) -> Result<bool, Full> {
        let Some(old) = self.entries.get(&id) else {
            return Ok(false);
        };
        let bytes = self.bytes_with(&entry, size(old))?;
        let kind = match (old.listed, entry.listed) {
            (false, false) => None,
            (true, true) => (old.encoded != entry.encoded).then_some(ChangeKind::Replaced),
            (false, true) => Some(ChangeKind::Joined),
            (true, false) => Some(ChangeKind::Left(Cause::Closed)),
        };
        let before = old.listed.then(|| old.keys.clone());
        if let Some(before) = &before {
            self.index.remove(id, before);
        }
        if entry.listed {
            self.index.insert(id, &entry.keys);
        }
        self.encoded_bytes = bytes;
        self.entries.insert(id, entry);
        if let Some(kind) = kind {
            self.changed(id, kind, before);
        }
        Ok(kind.is_some())
    }

    /// Removes an entry, and returns it if it was still there.
    pub fn leave(&mut self, id: EntryId, cause: Cause) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        self.encoded_bytes -= size(&entry);
        if entry.listed {
            self.index.remove(id, &entry.keys);
            self.changed(id, ChangeKind::Left(cause), Some(entry.keys.clone()));
        }
        self.count(cause);
        Some(entry)
    }

    /// Counts an entry that a newer connection of the same node took over. It stays in the list.
    pub(crate) fn count_superseded(&mut self) {
        self.count(Cause::Superseded);
    }

    /// Increments the revision for a change of the list that is not a change of an entry.
    pub(crate) fn renew(&mut self) {
        self.revision += 1;
    }

    /// Returns the combined changes since `revision`. `None` if that is a later revision than the
    /// current one, or if some of the changes are not among the last 4,096, which are remembered.
    pub fn delta_since(&self, revision: u64) -> Option<Delta> {
        self.history.since(revision, self.revision)
    }

    /// Returns the changes after a revision. `None` as for [`Registry::delta_since`].
    pub(crate) fn changes_since(&self, revision: u64) -> Option<impl Iterator<Item = &Change>> {
        self.history.changes_since(revision, self.revision)
    }

    /// Returns the listed entries that match, in the order of the list.
    pub(crate) fn matching(&self, only: &Subscription) -> Vec<EntryId> {
        self.index.matching(only).into_iter().collect()
    }

    fn count(&mut self, cause: Cause) {
        if let Some(count) = self.departures.get_mut(cause as usize) {
            *count += 1;
        }
    }

    fn changed(&mut self, id: EntryId, kind: ChangeKind, before: Option<Keys>) {
        self.revision += 1;
        self.history.record(self.revision, id, kind, before);
    }

    fn bytes_with(&self, entry: &Entry, instead_of: usize) -> Result<usize, Full> {
        let bytes = self.encoded_bytes - instead_of + size(entry);
        if bytes > self.capacity.max_encoded_bytes {
            return Err(Full::Bytes);
        }
        Ok(bytes)
    }
}

/// Appends entries as JSON, with a comma between two.
pub fn write_entries<'a>(out: &mut Vec<u8>, entries: impl Iterator<Item = (EntryId, &'a Entry)>) {
    for (index, (_, entry)) in entries.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(&entry.encoded);
    }
}

/// Appends the numbers of entries, with a comma between two.
pub fn write_ids<'a>(out: &mut Vec<u8>, entries: impl Iterator<Item = (EntryId, &'a Entry)>) {
    for (index, (id, _)) in entries.enumerate() {
        let comma = if index > 0 { "," } else { "" };
        // Writing to memory does not fail.
        let _ = write!(out, "{comma}{}", id.number());
    }
}

fn size(entry: &Entry) -> usize {
    entry.encoded.len() + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(text: &str) -> Entry {
        Entry {
            encoded: text.as_bytes().into(),
            keys: Keys {
                name: text.into(),
                urls: [].into(),
            },
            listed: true,
            is_plain: false,
        }
    }

    fn unlisted(text: &str) -> Entry {
        Entry {
            listed: false,
            is_plain: false,
            ..entry(text)
        }
    }

    fn list(registry: &Registry) -> String {
        let mut out = Vec::new();
        write_entries(&mut out, registry.listed());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lists_in_the_order_of_first_registration() {
        let mut registry = Registry::default();
        let a = registry.join(entry("a")).unwrap();
        let b = registry.join(entry("b")).unwrap();
        registry.join(entry("a")).unwrap();
        assert_eq!(list(&registry), "a,b,a");
        assert_eq!(registry.replace(a, entry("A")), Ok(true));
        assert_eq!(list(&registry), "A,b,a");
        assert_eq!(registry.leave(b, Cause::Closed), Some(entry("b")));
        assert_eq!(list(&registry), "A,a");
        assert_eq!(registry.revision(), 5);
    }

    #[test]
    fn removes_an_entry_once() {
        let mut registry = Registry::default();
        let a = registry.join(entry("a")).unwrap();
        assert!(registry.leave(a, Cause::Silent).is_some());
        assert!(registry.leave(a, Cause::Closed).is_none());
        assert_eq!(registry.replace(a, entry("b")), Ok(false));
        assert_eq!(registry.departures(Cause::Silent), 1);
        assert_eq!(registry.departures(Cause::Closed), 0);
        assert_eq!(registry.revision(), 2);
    }

    #[test]
    fn raises_the_revision_for_changes_of_the_list_only() {
        let mut registry = Registry::default();
        let a = registry.join(unlisted("a")).unwrap();
        assert_eq!((registry.revision(), list(&registry).as_str()), (0, ""));
        let b = registry.join(entry("b")).unwrap();
        assert_eq!(registry.replace(b, entry("b")), Ok(false));
        assert_eq!(registry.revision(), 1);
        // The entry keeps the place of its first registration.
        assert_eq!(registry.replace(a, entry("a")), Ok(true));
        assert_eq!((registry.revision(), list(&registry).as_str()), (2, "a,b"));
        registry.replace(a, unlisted("a")).unwrap();
        registry.leave(a, Cause::Closed);
        assert_eq!((registry.revision(), list(&registry).as_str()), (3, "b"));
    }

    #[test]
    fn rejects_entries_beyond_the_capacity_and_keeps_the_others() {
        let mut registry = Registry::new(Capacity {
            max_entries: 2,
            max_encoded_bytes: 10,
        });
        let a = registry.join(entry("aa")).unwrap();
        registry.join(entry("bb")).unwrap();
        assert_eq!(registry.join(entry("c")), Err(Full::Entries));
        assert_eq!(registry.replace(a, entry("aaaaaaa")), Err(Full::Bytes));
        assert_eq!(
            (list(&registry).as_str(), registry.revision()),
            ("aa,bb", 2)
        );
        assert_eq!(registry.replace(a, entry("aaaaaa")), Ok(true));
        registry.leave(a, Cause::Closed);
        assert_eq!(registry.join(entry("cccccccc")), Err(Full::Bytes));
        assert!(registry.join(entry("ccc")).is_ok());
    }

    proptest! {
        #[test]
        fn agrees_with_a_plain_list(steps in prop::collection::vec((0..3u8, 0..12usize, "[a-z]{1,4}", any::<bool>()), 0..60)) {
            let mut registry = Registry::default();
            let mut model: Vec<(EntryId, Entry)> = Vec::new();
            let mut seen = list(&registry);
            let mut changes = 0;
            for (step, index, text, listed) in steps {
                let new = Entry { listed, ..entry(&text) };
                let place = (!model.is_empty()).then(|| index % model.len());
                match (step, place) {
                    (1, Some(place)) => {
                        registry.replace(model[place].0, new.clone()).unwrap();
                        model[place].1 = new;
                    }
                    (2, Some(place)) => {
                        let (id, old) = model.remove(place);
                        prop_assert_eq!(registry.leave(id, Cause::Closed), Some(old));
                    }
                    _ => model.push((registry.join(new.clone()).unwrap(), new)),
                }
                let listed: Vec<&str> = model.iter().filter(|(_, e)| e.listed).map(|(_, e)| &*e.keys.name).collect();
                prop_assert_eq!(list(&registry), listed.join(","));
                // A change may restore the same text (two equal entries): it still counts.
                if list(&registry) != seen {
                    changes += 1;
                    seen = list(&registry);
                }
                prop_assert!(registry.revision() >= changes);
                let bytes: usize = model.iter().map(|(_, e)| size(e)).sum();
                prop_assert_eq!(registry.encoded_bytes, bytes);
            }
        }
    }
}
