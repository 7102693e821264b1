//! The history of recent changes, from which deltas are built for peers with an older list.

use std::collections::{BTreeMap, VecDeque};

use super::entry::{Cause, EntryId};

/// Maximum number of changes that are remembered: 96 KiB. A peer with an older list receives the
/// whole list.
const MAX_CHANGES: usize = 4096;

/// The last changes of a list, in the order of their revisions.
#[derive(Debug, Default)]
pub(super) struct History {
    changes: VecDeque<Change>,
    /// Changes up to this revision are no longer remembered.
    forgotten: u64,
}

#[derive(Clone, Copy, Debug)]
struct Change {
    revision: u64,
    id: EntryId,
    kind: ChangeKind,
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
    pub(super) fn record(&mut self, revision: u64, id: EntryId, kind: ChangeKind) {
        // Allocates the full capacity at once: later changes do not allocate.
        if self.changes.capacity() == 0 {
            self.changes.reserve_exact(MAX_CHANGES);
        }
        if self.changes.len() >= MAX_CHANGES
            && let Some(oldest) = self.changes.pop_front()
        {
            self.forgotten = oldest.revision;
        }
        self.changes.push_back(Change { revision, id, kind });
    }

    pub(super) fn len(&self) -> usize {
        self.changes.len()
    }

    pub(super) fn since(&self, revision: u64, newest: u64) -> Option<Delta> {
        if revision < self.forgotten || revision > newest {
            return None;
        }
        // For each entry: whether it was in the old list, and its last change.
        let mut folded: BTreeMap<EntryId, (bool, ChangeKind)> = BTreeMap::new();
        let begin = self
            .changes
            .partition_point(|change| change.revision <= revision);
        for change in self.changes.range(begin..) {
            let was_listed = change.kind != ChangeKind::Joined;
            let (_, last) = folded.entry(change.id).or_insert((was_listed, change.kind));
            *last = change.kind;
        }
        let mut delta = Delta::default();
        for (id, (was_listed, last)) in folded {
            match last {
                ChangeKind::Joined | ChangeKind::Replaced => delta.joined.push(id),
                ChangeKind::Left(cause) if was_listed => delta.left.push((id, cause)),
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
            name: text.into(),
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
