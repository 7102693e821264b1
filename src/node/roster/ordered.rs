//! Ordered lists of members that many nodes may share: the whole list, and that of each name and
//! route.
//!
//! Each list is a treap, so that a member is found, added or removed in the middle, and one of them
//! drawn at random, in steps that grow with the logarithm of its length only. The entries of a list
//! are also linked in their order. All lists share one slab: a change allocates nothing.

use std::cmp::Ordering;
use std::hash::{BuildHasher, RandomState};

use slab::Slab;

/// Place of a member in the order of the list: by id, and without an id by the order of arrival.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Rank {
    /// Id of the entry; the highest number if it has none.
    pub(super) id: u64,
    /// Different for each member.
    pub(super) number: u64,
}

impl Rank {
    /// The first rank of members without an id.
    pub(super) const WITHOUT_ID: Rank = Rank {
        id: u64::MAX,
        number: 0,
    };
}

/// One list; its entries are in [`Lists`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct List {
    len: u32,
    root: u32,
    first: u32,
    last: u32,
}

impl Default for List {
    fn default() -> List {
        List {
            len: 0,
            root: NIL,
            first: NIL,
            last: NIL,
        }
    }
}

impl List {
    /// Returns the number of members.
    pub(super) fn len(self) -> usize {
        index(self.len)
    }

    pub(super) fn is_empty(self) -> bool {
        self.len == 0
    }
}

/// The entries of all lists.
#[derive(Debug, Default)]
pub(super) struct Lists {
    entries: Slab<Entry>,
    /// Source of the priorities. Peers cannot predict them, so a treap has few levels.
    hasher: RandomState,
}

/// An entry of a list: a node of its treap. The entries to its left have lower ranks, those to its
/// right higher ones, and none of them a higher priority.
#[derive(Debug)]
struct Entry {
    rank: Rank,
    /// Place of the member.
    member: usize,
    priority: u64,
    /// Number of entries of this subtree.
    count: u32,
    left: u32,
    right: u32,
    previous: u32,
    next: u32,
}

/// Iterator over the members of a list.
#[derive(Clone, Debug)]
pub(super) struct Iter<'l> {
    lists: &'l Lists,
    next: u32,
    left: usize,
}

impl Iterator for Iter<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let entry = self.lists.get(self.next)?;
        self.next = entry.next;
        self.left -= 1;
        Some(entry.member)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Iter<'_> {}

/// Link to no entry. The slab never has that many, so a lookup finds nothing.
const NIL: u32 = u32::MAX;

impl Lists {
    /// Returns the member at this place of a list.
    pub(super) fn nth(&self, list: List, place: usize) -> Option<usize> {
        let (mut at, mut place) = (list.root, place);
        loop {
            let entry = self.get(at)?;
            let before = index(self.count(entry.left));
            if place == before {
                return Some(entry.member);
            }
            if place < before {
                at = entry.left;
            } else {
                place -= before + 1;
                at = entry.right;
            }
        }
    }

    /// Returns the members of a list, in its order.
    pub(super) fn iter(&self, list: List) -> Iter<'_> {
        Iter {
            lists: self,
            next: list.first,
            left: list.len(),
        }
    }

    /// Returns the last member of a list that is before `rank`.
    pub(super) fn last_before(&self, list: List, rank: Rank) -> Option<usize> {
        Some(self.get(self.around(list, rank).0)?.member)
    }

    /// Returns the first member of a list that is not before `rank`.
    pub(super) fn first_from(&self, list: List, rank: Rank) -> Option<usize> {
        Some(self.get(self.around(list, rank).1)?.member)
    }

    /// Adds a member to a list, unless it is in it.
    pub(super) fn insert(&mut self, list: &mut List, rank: Rank, member: usize) {
        let (previous, next) = self.around(*list, rank);
        if self.get(next).is_some_and(|next| next.rank == rank) {
            return;
        }
        let new = self.entries.insert(Entry {
            rank,
            member,
            priority: self.hasher.hash_one(rank.number),
            count: 1,
            left: NIL,
            right: NIL,
            previous,
            next,
        });
        let new = u32::try_from(new).unwrap_or(NIL);
        match self.get_mut(previous) {
            Some(previous) => previous.next = new,
            None => list.first = new,
        }
        match self.get_mut(next) {
            Some(next) => next.previous = new,
            None => list.last = new,
        }
        list.root = self.insert_below(list.root, new);
        list.len += 1;
    }

    /// Removes a member from a list, if it is in it.
    pub(super) fn remove(&mut self, list: &mut List, rank: Rank) {
        let (_, at) = self.around(*list, rank);
        if self.get(at).is_none_or(|entry| entry.rank != rank) {
            return;
        }
        list.root = self.remove_below(list.root, rank);
        list.len -= 1;
        let Some(removed) = self.entries.try_remove(index(at)) else {
            return;
        };
        match self.get_mut(removed.previous) {
            Some(previous) => previous.next = removed.next,
            None => list.first = removed.next,
        }
        match self.get_mut(removed.next) {
            Some(next) => next.previous = removed.previous,
            None => list.last = removed.previous,
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Removes the entries of all lists.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }

    /// Returns the last entry before `rank`, and the first one that is not before it.
    fn around(&self, list: List, rank: Rank) -> (u32, u32) {
        // Most members are added at the end.
        if self.get(list.last).is_none_or(|last| last.rank < rank) {
            return (list.last, NIL);
        }
        let (mut at, mut previous, mut next) = (list.root, NIL, NIL);
        while let Some(entry) = self.get(at) {
            if entry.rank < rank {
                (previous, at) = (at, entry.right);
            } else {
                (next, at) = (at, entry.left);
            }
        }
        (previous, next)
    }

    /// Adds an entry to a subtree, and returns its new root.
    fn insert_below(&mut self, root: u32, new: u32) -> u32 {
        let (Some(entry), Some(added)) = (self.get(root), self.get(new)) else {
            return new;
        };
        let (left, right, rank) = (entry.left, entry.right, added.rank);
        if entry.priority < added.priority {
            let (before, after) = self.split(root, rank);
            self.set_children(new, before, after);
            return new;
        }
        if rank < entry.rank {
            let left = self.insert_below(left, new);
            self.set_children(root, left, right);
        } else {
            let right = self.insert_below(right, new);
            self.set_children(root, left, right);
        }
        root
    }

    /// Removes the entry with this rank from a subtree, and returns its new root.
    fn remove_below(&mut self, root: u32, rank: Rank) -> u32 {
        let Some(entry) = self.get(root) else {
            return NIL;
        };
        let (left, right) = (entry.left, entry.right);
        match rank.cmp(&entry.rank) {
            Ordering::Equal => return self.merge(left, right),
            Ordering::Less => {
                let left = self.remove_below(left, rank);
                self.set_children(root, left, right);
            }
            Ordering::Greater => {
                let right = self.remove_below(right, rank);
                self.set_children(root, left, right);
            }
        }
        root
    }

    /// Splits a subtree into the entries before `rank` and the others.
    fn split(&mut self, root: u32, rank: Rank) -> (u32, u32) {
        let Some(entry) = self.get(root) else {
            return (NIL, NIL);
        };
        let (left, right) = (entry.left, entry.right);
        if entry.rank < rank {
            let (before, after) = self.split(right, rank);
            self.set_children(root, left, before);
            (root, after)
        } else {
            let (before, after) = self.split(left, rank);
            self.set_children(root, after, right);
            (before, root)
        }
    }

    /// Joins two subtrees, of which the first is before the second.
    fn merge(&mut self, before: u32, after: u32) -> u32 {
        let (Some(first), Some(second)) = (self.get(before), self.get(after)) else {
            return if before == NIL { after } else { before };
        };
        if first.priority > second.priority {
            let (left, right) = (first.left, first.right);
            let right = self.merge(right, after);
            self.set_children(before, left, right);
            before
        } else {
            let (left, right) = (second.left, second.right);
            let left = self.merge(before, left);
            self.set_children(after, left, right);
            after
        }
    }

    fn set_children(&mut self, root: u32, left: u32, right: u32) {
        let count = 1 + self.count(left) + self.count(right);
        if let Some(entry) = self.get_mut(root) {
            (entry.left, entry.right, entry.count) = (left, right, count);
        }
    }

    fn count(&self, root: u32) -> u32 {
        self.get(root).map_or(0, |entry| entry.count)
    }

    fn get(&self, at: u32) -> Option<&Entry> {
        self.entries.get(index(at))
    }

    fn get_mut(&mut self, at: u32) -> Option<&mut Entry> {
        self.entries.get_mut(index(at))
    }
}

fn index(number: u32) -> usize {
    // Lossless: every target of mio has pointers of at least 32 bits.
    number as usize
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    fn rank(id: u64) -> Rank {
        Rank { id, number: id }
    }

    fn members(lists: &Lists, list: List) -> Vec<usize> {
        let members = lists.iter(list);
        assert_eq!(members.len(), list.len());
        members.collect()
    }

    /// Returns the number of levels of a list.
    fn depth(lists: &Lists, root: u32) -> usize {
        lists.get(root).map_or(0, |entry| {
            1 + depth(lists, entry.left).max(depth(lists, entry.right))
        })
    }

    #[test]
    fn has_few_levels_whatever_its_length_and_history() {
        let (mut lists, mut list) = (Lists::default(), List::default());
        for id in 1..=100_000_u64 {
            lists.insert(&mut list, rank(id), 0);
            if id.is_power_of_two() {
                let levels = usize::try_from(id.ilog2()).unwrap() + 1;
                let depth = depth(&lists, list.root);
                assert!(depth <= 4 * levels + 4, "{depth} of {levels}");
            }
        }
        for id in (1..=100_000).filter(|id| id % 100 != 7) {
            lists.remove(&mut list, rank(id));
        }
        assert_eq!(list.len(), 1000);
        assert!(depth(&lists, list.root) <= 44);
    }

    proptest! {
        #[test]
        fn agree_with_plain_lists(steps in prop::collection::vec((0..3u8, 0..2usize, 0..60u64), 0..300)) {
            let mut lists = Lists::default();
            let mut two = [List::default(); 2];
            let mut models: [BTreeMap<u64, usize>; 2] = Default::default();
            for (member, (step, which, id)) in steps.into_iter().enumerate() {
                let (list, model) = (&mut two[which], &mut models[which]);
                if step < 2 {
                    lists.insert(list, rank(id), member);
                    model.entry(id).or_insert(member);
                } else {
                    lists.remove(list, rank(id));
                    model.remove(&id);
                }
                let expected: Vec<usize> = model.values().copied().collect();
                prop_assert_eq!(members(&lists, *list), &expected[..]);
                prop_assert_eq!(list.len(), expected.len());
                prop_assert_eq!(list.is_empty(), expected.is_empty());
                let nth: Vec<usize> = (0..expected.len() + 1).filter_map(|place| lists.nth(*list, place)).collect();
                prop_assert_eq!(nth, expected);
                prop_assert_eq!(lists.last_before(*list, rank(id)), model.range(..id).next_back().map(|(_, member)| *member));
                prop_assert_eq!(lists.first_from(*list, rank(id)), model.range(id..).next().map(|(_, member)| *member));
            }
            prop_assert_eq!(lists.entries.len(), models[0].len() + models[1].len());
        }
    }
}
