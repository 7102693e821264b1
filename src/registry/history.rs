//! The history of recent changes, from which deltas are built for peers with an older list.

use std::collections::{BTreeMap, VecDeque};

use super::entry::{Cause, EntryId, Keys};

/// Maximum number of changes that are remembered: 256 KiB. A peer with an older list receives the
/// whole list.
const MAX_CHANGES: usize = 4096;
/// Maximum size of the names and urls of changed entries that are remembered. Those of most changes
/// take 100 bytes.
const MAX_KEY_BYTES: usize = 16 << 20;

/// The last changes of a list, in the order of their revisions.
#[derive(Debug, Default)]
pub(super) struct History {
    changes: VecDeque<Change>,
    /// Size of the keys in the changes.
    key_bytes: usize,
    /// Changes up to this revision are no longer remembered.
    forgotten: u64,
}

/// A change of an entry.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) revision: u64,
    pub(crate) id: EntryId,
    pub(super) kind: ChangeKind,
    /// Name and urls before the change, if the entry was listed.
    pub(crate) before: Option<Keys>,
}

/// All changes of an entry since a revision.
pub(super) struct Folded<'a> {
    /// Name and urls at that revision, if the entry was listed.
    pub(super) before: Option<&'a Keys>,
    pub(super) last: ChangeKind,
}

/// Kind of a change of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ChangeKind {
    Joined,
    Replaced,
    Left(Cause),
}

/// Several changes combined into one, which turns an old list into the new one.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Delta {
    /// Entries that are new or changed. Known ones are replaced in place.
    pub joined: Vec<EntryId>,
    /// Entries that left.
    pub left: Vec<(EntryId, Cause)>,
}

impl History {
    pub(super) fn record(
        &mut self,
        revision: u64,
        id: EntryId,
        kind: ChangeKind,
        before: Option<Keys>,
    ) {
        // Allocates the full capacity at once: later changes do not allocate.
        if self.changes.capacity() == 0 {
            self.changes.reserve_exact(MAX_CHANGES);
        }
        self.key_bytes += before.as_ref().map_or(0, Keys::bytes);
        while (self.changes.len() >= MAX_CHANGES || self.key_bytes > MAX_KEY_BYTES)
            && let Some(oldest) = self.changes.pop_front()
        {
            self.forgotten = oldest.revision;
            self.key_bytes -= oldest.before.as_ref().map_or(0, Keys::bytes);
        }
        self.changes.push_back(Change {
            revision,
            id,
            kind,
            before,
        });
    }

    pub(super) fn len(&self) -> usize {
        self.changes.len()
    }

    /// Returns the changes after a revision. `None` if some of them are no longer remembered, or if
    /// it is later than `newest`.
    pub(super) fn changes_since(
        &self,
        revision: u64,
        newest: u64,
    ) -> Option<impl Iterator<Item = &Change>> {
        if revision < self.forgotten || revision > newest {
            return None;
        }
        let begin = self
            .changes
            .partition_point(|change| change.revision <= revision);
        Some(self.changes.range(begin..))
    }

    /// Returns the changes after a revision, combined for each entry.
    pub(super) fn folded_since(
        &self,
        revision: u64,
        newest: u64,
    ) -> Option<BTreeMap<EntryId, Folded<'_>>> {
        let mut folded: BTreeMap<EntryId, Folded<'_>> = BTreeMap::new();
        for change in self.changes_since(revision, newest)? {
            let first = || Folded {
                before: change.before.as_ref(),
                last: change.kind,
            };
            folded.entry(change.id).or_insert_with(first).last = change.kind;
        }
        Some(folded)
    }

    pub(super) fn since(&self, revision: u64, newest: u64) -> Option<Delta> {
        let mut delta = Delta::default();
        for (id, Folded { before, last }) in self.folded_since(revision, newest)? {
            match last {
                ChangeKind::Joined | ChangeKind::Replaced => delta.joined.push(id),
                ChangeKind::Left(cause) if before.is_some() => delta.left.push((id, cause)),
                ChangeKind::Left(_) => {}
            }
        }
        Some(delta)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{Entry, Registry};
    use proptest::prelude::*;

    fn entry(text: &str, listed: bool) -> Entry {
        Entry {
            encoded: text.as_bytes().into(),
            keys: Keys {
                name: text.into(),
                urls: [].into(),
            },
            listed,
            is_plain: false,
        }
    }

    #[test]
    fn folds_the_changes_of_an_entry() {
        let mut registry = Registry::default();
        let a = registry.join(entry("a", true)).unwrap();
        let old = registry.revision();
        let b = registry.join(entry("b", true)).unwrap();
        registry.leave(b, Cause::Closed);
        registry.replace(a, entry("A", true)).unwrap();
        assert_eq!(
            registry.delta_since(old),
            Some(Delta {
                joined: vec![a],
                left: vec![]
            })
        );
        registry.leave(a, Cause::Silent);
        assert_eq!(
            registry.delta_since(old),
            Some(Delta {
                joined: vec![],
                left: vec![(a, Cause::Silent)]
            })
        );
        assert_eq!(registry.delta_since(0), Some(Delta::default()));
        assert_eq!(registry.delta_since(registry.revision() + 1), None);
    }

    #[test]
    fn forgets_the_oldest_changes() {
        let mut registry = Registry::default();
        let a = registry.join(entry("a", true)).unwrap();
        let old = registry.revision();
        for step in 0..MAX_CHANGES {
            registry.replace(a, entry(&step.to_string(), true)).unwrap();
        }
        assert!(registry.delta_since(old).is_some());
        registry.replace(a, entry("x", true)).unwrap();
        assert!(registry.delta_since(old).is_none());
        assert!(registry.delta_since(old + 1).is_some());
    }

    proptest! {
        #[test]
        fn turns_the_old_list_into_the_new_one(
            steps in prop::collection::vec((0..3u8, 0..12usize, "[a-c]", any::<bool>()), 1..60),
            from in any::<prop::sample::Index>(),
        ) {
            let mut registry = Registry::default();
            let mut ids = Vec::new();
            let listed = |registry: &Registry| -> BTreeMap<EntryId, String> {
                let text = |e: &Entry| String::from_utf8(e.encoded.to_vec()).unwrap();
                registry.entries.iter().filter(|(_, e)| e.listed).map(|(id, e)| (*id, text(e))).collect()
            };
            let from = from.index(steps.len());
            let mut old = (0, BTreeMap::new());
            for (step, (what, index, text, is_listed)) in steps.into_iter().enumerate() {
                if step == from {
                    old = (registry.revision(), listed(&registry));
                }
                let place = (!ids.is_empty()).then(|| index % ids.len());
                match (what, place) {
                    (1, Some(place)) => { registry.replace(ids[place], entry(&text, is_listed)).unwrap(); }
                    (2, Some(place)) => { registry.leave(ids.remove(place), Cause::Closed); }
                    _ => ids.push(registry.join(entry(&text, is_listed)).unwrap()),
                }
            }
            let (revision, mut view) = old;
            let delta = registry.delta_since(revision).unwrap();
            for (id, _) in &delta.left {
                prop_assert!(view.remove(id).is_some(), "only what was known leaves");
            }
            let new = listed(&registry);
            for id in &delta.joined {
                view.insert(*id, new[id].clone());
            }
            prop_assert_eq!(view, new);
        }
    }
}
