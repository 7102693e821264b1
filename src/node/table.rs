//! A hash table that grows by one bucket at a time.
//!
//! The table of the standard library moves all entries when it grows, which stops a loop with
//! 10,000 of them for a millisecond. Here buckets are split in turn, two for each value that is
//! added (linear hashing), so that no operation takes time in proportion to the number of values.

use std::hash::{BuildHasher, Hash, RandomState};

use slab::Slab;

/// Values by their hash, of which several may be equal.
#[derive(Debug)]
pub(super) struct Table<T> {
    /// Values, by a place that is stable while the value is in the table.
    slots: Slab<Slot<T>>,
    /// First value of each bucket. There are twice as many buckets as values, so that a lookup
    /// without a result rarely looks at one; and one at least.
    buckets: Vec<u32>,
    hasher: RandomState,
}

#[derive(Debug)]
struct Slot<T> {
    hash: u64,
    /// Next value of the bucket.
    next: u32,
    value: T,
}

/// Link to no value. The slab never has that many, so a lookup finds nothing.
const NIL: u32 = u32::MAX;

impl<T> Default for Table<T> {
    fn default() -> Table<T> {
        Table {
            slots: Slab::new(),
            buckets: vec![NIL],
            hasher: RandomState::new(),
        }
    }
}

impl<T> Table<T> {
    /// Returns the hash to be passed to the other methods. Peers cannot predict it.
    pub(super) fn hash(&self, key: &(impl Hash + ?Sized)) -> u64 {
        self.hasher.hash_one(key)
    }

    /// Returns the place of a value that has this hash and `is_it`.
    pub(super) fn find(&self, hash: u64, mut is_it: impl FnMut(&T) -> bool) -> Option<usize> {
        let mut at = *self.buckets.get(self.bucket_of(hash))?;
        while let Some(slot) = self.slots.get(index(at)) {
            if slot.hash == hash && is_it(&slot.value) {
                return Some(index(at));
            }
            at = slot.next;
        }
        None
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn get(&self, place: usize) -> Option<&T> {
        self.slots.get(place).map(|slot| &slot.value)
    }

    pub(super) fn get_mut(&mut self, place: usize) -> Option<&mut T> {
        self.slots.get_mut(place).map(|slot| &mut slot.value)
    }

    /// Adds a value, and returns its place.
    pub(super) fn insert(&mut self, hash: u64, value: T) -> usize {
        while self.buckets.len() < 2 * (self.slots.len() + 1) {
            self.split();
        }
        let next = NIL;
        let place = self.slots.insert(Slot { hash, next, value });
        self.push(hash, u32::try_from(place).unwrap_or(NIL));
        place
    }

    /// Removes and returns the value at a place.
    pub(super) fn remove(&mut self, place: usize) -> Option<T> {
        let removed = self.slots.try_remove(place)?;
        let bucket = self.bucket_of(removed.hash);
        let first = self.buckets.get_mut(bucket)?;
        if index(*first) == place {
            *first = removed.next;
            return Some(removed.value);
        }
        let mut at = *first;
        while let Some(slot) = self.slots.get_mut(index(at)) {
            if index(slot.next) == place {
                slot.next = removed.next;
                break;
            }
            at = slot.next;
        }
        Some(removed.value)
    }

    pub(super) fn clear(&mut self) {
        self.slots.clear();
        self.buckets.fill(NIL);
    }

    /// Adds a bucket, which takes its values from the bucket that has all lower bits in common.
    fn split(&mut self) {
        let new = self.buckets.len();
        let half = new - (1 << new.ilog2());
        self.buckets.push(NIL);
        let Some(first) = self.buckets.get_mut(half) else {
            return;
        };
        let mut at = std::mem::replace(first, NIL);
        while let Some(slot) = self.slots.get(index(at)) {
            let (hash, next) = (slot.hash, slot.next);
            self.push(hash, at);
            at = next;
        }
    }

    /// Adds a value to the front of its bucket.
    fn push(&mut self, hash: u64, at: u32) {
        let bucket = self.bucket_of(hash);
        if let Some(slot) = self.slots.get_mut(index(at))
            && let Some(first) = self.buckets.get_mut(bucket)
        {
            slot.next = std::mem::replace(first, at);
        }
    }

    /// Returns the bucket of a hash: its low bits, and one more bit for buckets that are split.
    fn bucket_of(&self, hash: u64) -> usize {
        let count = self.buckets.len();
        let low = 1 << count.ilog2();
        let bucket = index(u32::try_from(hash & 0xffff_ffff).unwrap_or(0)) & (2 * low - 1);
        if bucket < count { bucket } else { bucket - low }
    }
}

fn index(number: u32) -> usize {
    // Lossless: every target of mio has pointers of at least 32 bits.
    number as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Returns the number of values in the longest bucket.
    fn longest(table: &Table<u64>) -> usize {
        let mut counts = vec![0; table.buckets.len()];
        for (_, slot) in &table.slots {
            counts[table.bucket_of(slot.hash)] += 1;
        }
        counts.into_iter().max().unwrap_or(0)
    }

    #[test]
    fn looks_at_few_values_whatever_their_number() {
        let mut table = Table::default();
        for key in 0..100_000_u64 {
            let hash = table.hash(&key);
            let before = table.buckets.len();
            table.insert(hash, key);
            assert!(table.buckets.len() - before <= 2, "it splits at most two");
            if key.is_power_of_two() {
                assert!(longest(&table) <= 16, "{} of {key}", longest(&table));
            }
        }
        let mut looked_at = 0;
        for key in 0..100_000_u64 {
            let found = table.find(table.hash(&key), |value| {
                looked_at += 1;
                *value == key
            });
            assert!(found.is_some());
        }
        assert_eq!(looked_at, 100_000, "other hashes are not looked at");
    }

    proptest! {
        #[test]
        fn agrees_with_a_plain_list(steps in prop::collection::vec((0..3u8, 0..40u64), 0..300)) {
            let mut table = Table::default();
            let mut model: Vec<(usize, u64)> = Vec::new();
            for (step, key) in steps {
                // Few hashes, so that buckets hold several values.
                let hash = (key / 2).wrapping_mul(0x9E37_79B9_7F4A_7C15);
                let found = table.find(hash, |value| *value == key);
                prop_assert_eq!(found.is_some(), model.iter().any(|(_, other)| *other == key));
                match (step, found) {
                    (0 | 1, _) => model.push((table.insert(hash, key), key)),
                    (_, Some(place)) => {
                        prop_assert_eq!(table.remove(place), Some(key));
                        model.retain(|(other, _)| *other != place);
                    }
                    (_, None) => {}
                }
                prop_assert_eq!(table.slots.len(), model.len());
                for (place, key) in &model {
                    prop_assert_eq!(table.get(*place), Some(key));
                }
            }
        }
    }
}
