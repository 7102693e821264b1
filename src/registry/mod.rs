//! The registry: the entries of all nodes, and the revision of their list. Pure.

mod cause;
mod entry;
mod history;

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;

pub use cause::Cause;
pub use entry::{Entry, EntryId};
pub use history::Delta;

use history::{History, What};

/// Limits of a [`Registry`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Capacity {
    /// Entries, listed or not.
    pub max_entries: usize,
    /// All entries encoded, together: every peer is sent a list of this size, and nodes accept at
    /// most 16 MiB.
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

/// The registry has no room for an entry, and was not changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Full {
    /// There are [`Capacity::max_entries`].
    Entries,
    /// All together would be over [`Capacity::max_encoded_bytes`].
    Bytes,
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Full::Entries => "the registry has as many entries as it takes",
            Full::Bytes => "the list is as long as it may get",
        })
    }
}

impl std::error::Error for Full {}

/// The entries, in the order of their first registration, and a revision that counts the changes
/// of the list they make.
///
/// Invariant: `encoded_bytes` is what all entries take, encoded, with a comma each.
#[derive(Debug, Default)]
pub struct Registry {
    entries: BTreeMap<EntryId, Entry>,
    capacity: Capacity,
    encoded_bytes: usize,
    last_id: u64,
    revision: u64,
    history: History,
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

    /// Returns the revision, which rises by one with every change of the list.
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

    /// The causes under which departures are counted.
    pub const CAUSES: [Cause; 5] = Cause::ALL;

    /// Returns how many entries left with this cause so far; for [`Cause::Superseded`], how many
    /// were taken over by a newer connection.
    pub fn departures(&self, cause: Cause) -> u64 {
        self.departures.get(cause.index()).copied().unwrap_or(0)
    }

    /// Returns all entries, listed or not, in the order of their first registration.
    pub fn iter(&self) -> impl Iterator<Item = (EntryId, &Entry)> {
        self.entries.iter().map(|(id, entry)| (*id, entry))
    }

    /// Returns the number of changes that are remembered.
    pub fn history_len(&self) -> usize {
        self.history.len()
    }

    /// Returns the bytes of all encoded entries.
    pub fn encoded_bytes(&self) -> usize {
        self.encoded_bytes
    }

    /// Returns the entry, if it has not left.
    pub fn get(&self, id: EntryId) -> Option<&Entry> {
        self.entries.get(&id)
    }

    /// Adds an entry at the end of the list.
    pub fn join(&mut self, entry: Entry) -> Result<EntryId, Full> {
        if self.entries.len() >= self.capacity.max_entries {
            return Err(Full::Entries);
        }
        self.encoded_bytes = self.bytes_with(&entry, 0)?;
        self.last_id += 1;
        let id = EntryId::new(self.last_id);
        if entry.listed {
            self.changed(id, What::Joined);
        }
        self.entries.insert(id, entry);
        Ok(id)
    }

    /// Replaces an entry in its place, unless it has left. Returns whether the list changed.
    pub fn replace(&mut self, id: EntryId, entry: Entry) -> Result<bool, Full> {
        let Some(old) = self.entries.get(&id) else {
            return Ok(false);
        };
        let bytes = self.bytes_with(&entry, size(old))?;
        let what = match (old.listed, entry.listed) {
            (false, false) => None,
            (true, true) => (old.encoded != entry.encoded).then_some(What::Replaced),
            (false, true) => Some(What::Joined),
            (true, false) => Some(What::Left(Cause::Closed)),
        };
        self.encoded_bytes = bytes;
        self.entries.insert(id, entry);
        if let Some(what) = what {
            self.changed(id, what);
        }
        Ok(what.is_some())
    }

    /// Removes an entry, and returns it if it was still there.
    pub fn leave(&mut self, id: EntryId, cause: Cause) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        self.encoded_bytes -= size(&entry);
        if entry.listed {
            self.changed(id, What::Left(cause));
        }
        self.count(cause);
        Some(entry)
    }

    /// Counts an entry that a newer connection of the same node took over. It stays in the list.
    pub fn superseded(&mut self) {
        self.count(Cause::Superseded);
    }

    /// Appends the listed entries, with a comma between two.
    pub fn write_entries(&self, out: &mut Vec<u8>) {
        // With room for what the caller appends: the buffer is not moved for that.
        out.reserve(self.encoded_bytes + 16 * self.entries.len() + 256);
        let listed = self.entries.values().filter(|entry| entry.listed);
        write_joined(out, listed, |out, entry| {
            out.extend_from_slice(&entry.encoded)
        });
    }

    /// Raises the revision for a change of the list that is not one of its entries.
    pub fn renew(&mut self) {
        self.revision += 1;
    }

    /// Appends the numbers of the listed entries, with a comma between two, in the list's order.
    pub fn write_ids(&self, out: &mut Vec<u8>) {
        let listed = self.entries.iter().filter(|(_, entry)| entry.listed);
        write_joined(out, listed, |out, (id, _)| write_id(out, *id));
    }

    /// Appends the numbers of those listed entries that were registered without a session.
    pub fn write_plain_ids(&self, out: &mut Vec<u8>) {
        let plain = |(_, entry): &(&EntryId, &Entry)| entry.listed && entry.is_plain;
        let entries = self.entries.iter().filter(plain);
        write_joined(out, entries, |out, (id, _)| write_id(out, *id));
    }

    /// As [`Registry::write_plain_ids`], of these entries.
    pub fn write_some_plain_ids(&self, out: &mut Vec<u8>, ids: &[EntryId]) {
        let is_plain = |id: &&EntryId| self.entries.get(id).is_some_and(|entry| entry.is_plain);
        write_joined(out, ids.iter().filter(is_plain), |out, id| {
            write_id(out, *id)
        });
    }

    /// Returns the changes since `revision`, folded; `None` if these are no longer remembered.
    pub fn delta_since(&self, revision: u64) -> Option<Delta> {
        self.history.since(revision, self.revision)
    }

    /// Appends these entries, with a comma between two. One that is gone is left out.
    pub fn write_some(&self, out: &mut Vec<u8>, ids: &[EntryId]) {
        let entries = ids.iter().filter_map(|id| self.entries.get(id));
        write_joined(out, entries, |out, entry| {
            out.extend_from_slice(&entry.encoded)
        });
    }

    fn count(&mut self, cause: Cause) {
        if let Some(count) = self.departures.get_mut(cause.index()) {
            *count += 1;
        }
    }

    fn changed(&mut self, id: EntryId, what: What) {
        self.revision += 1;
        self.history.note(self.revision, id, what);
    }

    fn bytes_with(&self, entry: &Entry, instead_of: usize) -> Result<usize, Full> {
        let bytes = self.encoded_bytes - instead_of + size(entry);
        if bytes > self.capacity.max_encoded_bytes {
            return Err(Full::Bytes);
        }
        Ok(bytes)
    }
}

/// Appends each item, with a comma between two.
fn write_joined<T>(
    out: &mut Vec<u8>,
    items: impl Iterator<Item = T>,
    mut write: impl FnMut(&mut Vec<u8>, T),
) {
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(out, item);
    }
}

/// Appends the numbers of these entries, with a comma between two.
pub fn write_ids(out: &mut Vec<u8>, ids: &[EntryId]) {
    write_joined(out, ids.iter(), |out, id| write_id(out, *id));
}

fn write_id(out: &mut Vec<u8>, id: EntryId) {
    // Writing to memory does not fail.
    let _ = write!(out, "{}", id.number());
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
            name: text.into(),
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
        registry.write_entries(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_list_is_in_the_order_of_first_registration() {
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
    fn an_entry_leaves_once() {
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
    fn only_changes_of_the_list_are_counted() {
        let mut registry = Registry::default();
        let a = registry.join(unlisted("a")).unwrap();
        assert_eq!((registry.revision(), list(&registry).as_str()), (0, ""));
        let b = registry.join(entry("b")).unwrap();
        assert_eq!(registry.replace(b, entry("b")), Ok(false));
        assert_eq!(registry.revision(), 1);
        // It was the first to register, and stands where it would have.
        assert_eq!(registry.replace(a, entry("a")), Ok(true));
        assert_eq!((registry.revision(), list(&registry).as_str()), (2, "a,b"));
        registry.replace(a, unlisted("a")).unwrap();
        registry.leave(a, Cause::Closed);
        assert_eq!((registry.revision(), list(&registry).as_str()), (3, "b"));
    }

    #[test]
    fn the_joiner_is_refused_and_nobody_else_disturbed() {
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
        fn it_agrees_with_a_plain_list(steps in prop::collection::vec((0..3u8, 0..12usize, "[a-z]{1,4}", any::<bool>()), 0..60)) {
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
                let listed: Vec<&str> = model.iter().filter(|(_, e)| e.listed).map(|(_, e)| &*e.name).collect();
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
