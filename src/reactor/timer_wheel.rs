//! A hierarchical timer wheel: arming and disarming take constant time, however many timers are
//! armed.
//!
//! Time is cut into ticks of one millisecond. The wheel has eight levels of 64 slots. A slot of
//! level 0 holds the timers of one tick; a slot of any other level spans as many ticks as the whole
//! level below it. When the wheel reaches a coarse slot, its timers cascade to finer ones. Eight
//! levels cover 2^48 ticks, and no [`Time`] is past tick 2^45.
//!
//! `present` is the latest tick that the caller has passed, and never decreases. `cursor` is the
//! tick that the slots are laid out around: it trails `present` while timers that are due have not
//! been popped, and equals it otherwise. These invariants hold:
//!
//! 1. No timer is due before `cursor`, and a new one is due after `present`.
//! 2. A timer is on the level of the highest 6-bit digit in which its tick differs from `cursor`,
//!    in the slot with the value of this digit of its tick. So its place is computed and not
//!    stored.
//! 3. So the occupied slots of a level are all ahead of `cursor` (on level 0 also at it), and every
//!    timer of a level is due before all those of the levels above: the first bit of the first
//!    level in use gives the earliest slot.
//! 4. `cursor` only moves up to the start of the earliest slot, or to a tick before it. Neither
//!    changes the place of a timer in any other slot.
//! 5. By 2, timers of equal tick share a slot, in the order in which they were armed. A slot
//!    cascades only when the levels below it are empty, so no younger timer can overtake.

use std::fmt;
use std::mem;
use std::num::NonZeroU32;

use slab::Slab;

use crate::time::Time;

/// Timers ordered by deadline, and among equal deadlines by the order of arming.
///
/// - A deadline is rounded up to a whole millisecond. A timer may expire late, but never early.
/// - The present is the highest `now` given to [`pop_expired`](Self::pop_expired). A deadline that
///   is not after it counts as the next millisecond, so a timer that is armed when another one
///   expires never expires in the same batch.
/// - A clock that steps back has no effect; one that leaps ahead costs no more than the timers it
///   passes.
/// - The wheel allocates only when more timers are armed at once than ever before.
///
/// It holds at most `u32::MAX` timers, which would take 100 GB.
pub struct TimerWheel<T> {
    present: u64,
    cursor: u64,
    next_generation: NonZeroU32,
    /// Bits of the slots that have timers, for every level.
    occupied: [u64; LEVELS],
    /// All slots, level by level: a place is an index into this array.
    slots: [Slot; LEVELS * SLOTS],
    entries: Slab<Entry<T>>,
}

/// Identifies an armed timer.
///
/// It is stale once the timer has expired or was disarmed, and then identifies no other timer until
/// four billion more have been armed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TimerId {
    entry: u32,
    generation: NonZeroU32,
}

impl<T> Default for TimerWheel<T> {
    /// Returns an empty wheel at [`Time::ZERO`].
    fn default() -> Self {
        Self {
            present: 0,
            cursor: 0,
            next_generation: NonZeroU32::MIN,
            occupied: [0; LEVELS],
            slots: [Slot::EMPTY; LEVELS * SLOTS],
            entries: Slab::new(),
        }
    }
}

impl<T> TimerWheel<T> {
    /// Returns the number of armed timers, including those that are due and not yet popped.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Arms a timer that returns `payload` at `deadline`. A `deadline` that is not after the
    /// present counts as the next millisecond.
    ///
    /// A deadline past the last whole millisecond of a [`Time`] is never reached: `u64::MAX`
    /// nanoseconds means never.
    pub fn arm(&mut self, deadline: Time, payload: T) -> TimerId {
        let tick = deadline.as_nanos().div_ceil(NANOS_PER_TICK);
        let tick = tick.max(self.present + 1);
        let generation = self.next_generation;
        self.next_generation = generation.checked_add(1).unwrap_or(NonZeroU32::MIN);
        let key = self.entries.insert(Entry {
            tick,
            previous: NIL,
            next: NIL,
            generation,
            payload,
        });
        // See the limit of `TimerWheel`.
        let entry = u32::try_from(key).unwrap_or(NIL);
        self.append(entry, tick);
        TimerId { entry, generation }
    }

    /// Disarms a timer that has not been popped, even if it is due. Returns `None` if `id` is
    /// stale.
    pub fn disarm(&mut self, id: TimerId) -> Option<T> {
        let entry = self.entries.get(index(id.entry))?;
        if entry.generation != id.generation {
            return None;
        }
        self.remove(id.entry).map(|entry| entry.payload)
    }

    /// Returns the time of the next call to [`pop_expired`](Self::pop_expired). `None` if no timer
    /// is armed.
    ///
    /// The result is never later than the earliest deadline, but may be earlier: then nothing is
    /// due, and timers cascade by a level. So at most eight such calls precede each expiry.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        let start = self.start_of(self.earliest_place()?);
        Some(Time::from_nanos(start.saturating_mul(NANOS_PER_TICK)))
    }

    /// Removes the earliest timer that is due at `now`.
    ///
    /// Call it until it returns `None`. Timers may be armed and disarmed in between.
    pub fn pop_expired(&mut self, now: Time) -> Option<(TimerId, T)> {
        self.present = self.present.max(now.as_nanos() / NANOS_PER_TICK);
        while let Some(place) = self.earliest_place() {
            let start = self.start_of(place);
            if start > self.present {
                break;
            }
            self.cursor = start;
            if place < SLOTS {
                let entry = self.slots[place].first;
                let Entry {
                    generation,
                    payload,
                    ..
                } = self.remove(entry)?;
                return Some((TimerId { entry, generation }, payload));
            }
            self.cascade(place);
        }
        self.cursor = self.present;
        None
    }

    /// Distributes the timers of a slot that `cursor` has reached over the levels below.
    fn cascade(&mut self, place: usize) {
        let mut current = mem::replace(&mut self.slots[place], Slot::EMPTY).first;
        self.occupied[place / SLOTS] &= !bit(place);
        while let Some(entry) = self.entries.get(index(current)) {
            let next = entry.next;
            self.append(current, entry.tick);
            current = next;
        }
    }

    /// Appends an entry to the slot of `tick`.
    fn append(&mut self, entry: u32, tick: u64) {
        let place = self.place_of(tick);
        let slot = &mut self.slots[place];
        let previous = mem::replace(&mut slot.last, entry);
        if let Some(previous) = self.entries.get_mut(index(previous)) {
            previous.next = entry;
        } else {
            slot.first = entry;
            self.occupied[place / SLOTS] |= bit(place);
        }
        if let Some(entry) = self.entries.get_mut(index(entry)) {
            entry.previous = previous;
            entry.next = NIL;
        }
    }

    fn remove(&mut self, entry: u32) -> Option<Entry<T>> {
        let entry = self.entries.try_remove(index(entry))?;
        let place = self.place_of(entry.tick);
        let slot = &mut self.slots[place];
        match self.entries.get_mut(index(entry.previous)) {
            Some(previous) => previous.next = entry.next,
            None => slot.first = entry.next,
        }
        match self.entries.get_mut(index(entry.next)) {
            Some(next) => next.previous = entry.previous,
            None => slot.last = entry.previous,
        }
        if slot.first == NIL {
            self.occupied[place / SLOTS] &= !bit(place);
        }
        Some(entry)
    }

    /// Returns the place of a timer for `tick`.
    fn place_of(&self, tick: u64) -> usize {
        // Setting the lowest digit makes "no difference" a place on level 0.
        let difference = (self.cursor ^ tick) | LOWEST_DIGIT;
        let level = difference.ilog2() / DIGIT_BITS;
        let [low_byte, ..] = (tick >> (level * DIGIT_BITS)).to_le_bytes();
        index(level) * SLOTS + usize::from(low_byte) % SLOTS
    }

    fn earliest_place(&self) -> Option<usize> {
        let level = self.occupied.iter().position(|bits| *bits != 0)?;
        Some(level * SLOTS + index(self.occupied[level].trailing_zeros()))
    }

    /// Returns the first tick of an occupied slot.
    fn start_of(&self, place: usize) -> u64 {
        let shift = (place / SLOTS) * index(DIGIT_BITS);
        let higher_digits = (self.cursor >> shift) & !LOWEST_DIGIT;
        (higher_digits | (place % SLOTS) as u64) << shift
    }
}

impl<T> fmt::Debug for TimerWheel<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("TimerWheel")
            .field("len", &self.len())
            .field("next_deadline", &self.next_deadline())
            .finish_non_exhaustive()
    }
}

const LEVELS: usize = 8;
const DIGIT_BITS: u32 = 6;
const SLOTS: usize = 1 << DIGIT_BITS;
const LOWEST_DIGIT: u64 = (1 << DIGIT_BITS) - 1;
const NANOS_PER_TICK: u64 = 1_000_000;

/// Link to no entry. The slab never has that many entries, so a lookup finds nothing.
const NIL: u32 = u32::MAX;

/// First and last entry of a list.
#[derive(Clone, Copy)]
struct Slot {
    first: u32,
    last: u32,
}

impl Slot {
    const EMPTY: Self = Self {
        first: NIL,
        last: NIL,
    };
}

/// An armed timer.
///
/// Cache misses dominate the cost of every operation, so it is kept small: `u32` links, and a
/// generation that is never zero, so that the slab needs no tag.
struct Entry<T> {
    tick: u64,
    previous: u32,
    next: u32,
    generation: NonZeroU32,
    payload: T,
}

fn bit(place: usize) -> u64 {
    1 << (place % SLOTS)
}

fn index(number: u32) -> usize {
    // Lossless: every target of mio has pointers of at least 32 bits.
    number as usize
}

#[cfg(test)]
mod tests;
