//! A hierarchical timer wheel: arming and disarming take constant time, however many timers are
//! armed.
//!
//! Time is cut into ticks of one millisecond. The wheel has eight levels of 64 slots. A slot of
//! level 0 holds the timers of one tick, and a slot of every further level spans as many ticks as
//! the whole level below it. A timer waits in a coarse slot while it is far off; when the wheel
//! reaches that slot, its timers cascade to finer ones. Eight levels cover 2^48 ticks, and no
//! [`Time`] is past tick 2^45.
//!
//! Two ticks describe where the wheel is:
//!
//! - `present` is the latest tick the caller has told. It never goes back.
//! - `cursor` is the tick that the slots are laid out around. It trails `present`
//!   while there are due timers left to pop, and otherwise equals it.
//!
//! Everything else follows from these invariants:
//!
//! 1. No timer is due before `cursor`, and a new one is due after `present`.
//! 2. A timer sits on the level of the highest 6-bit digit in which its tick differs from `cursor`,
//!    in the slot which that digit of its tick names. So its place is recomputed, and not stored.
//! 3. So the occupied slots of a level are all ahead of `cursor` (on level 0 also at it), and every
//!    timer of a level is due before all those of the levels above: the first bit of the first
//!    level in use names the earliest slot.
//! 4. `cursor` only moves up to the start of the earliest slot, or to a tick before it. Neither
//!    changes the place of a timer in any other slot.
//! 5. By 2, timers of equal tick share a slot, where they keep the order they were armed in. A slot
//!    cascades only when the levels below it are empty, so no younger timer can get in front.

use std::fmt;
use std::mem;
use std::num::NonZeroU32;

use slab::Slab;

use crate::time::Time;

/// Timers ordered by deadline, and among equal deadlines by the order of arming.
///
/// - A deadline is rounded up to a whole millisecond, and a timer expires once that whole
///   millisecond is reached: it may be late, but is never early.
/// - The present is the highest `now` given to [`pop_expired`](Self::pop_expired). A deadline that is
///   not after it stands for the millisecond that follows it. So a timer that another one arms when
///   it expires never expires in the same batch.
/// - A clock that steps back counts as standing still, and one that leaps ahead costs no more than
///   the timers it passes.
/// - Once the wheel has held as many timers as it will hold, it does not allocate.
///
/// It holds at most `u32::MAX` timers, which would take 100 GB.
pub struct TimerWheel<T> {
    present: u64,
    cursor: u64,
    next_generation: NonZeroU32,
    /// For every level, a bit for each slot with timers in it.
    occupied: [u64; LEVELS],
    slots: [[Slot; SLOTS]; LEVELS],
    entries: Slab<Entry<T>>,
}

/// Names one armed timer.
///
/// It goes stale when the timer expires or is disarmed. A stale id is harmless: it names
/// no other timer until four billion more have been armed.
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
            slots: [[Slot::EMPTY; SLOTS]; LEVELS],
            entries: Slab::new(),
        }
    }
}

impl<T> TimerWheel<T> {
    /// The number of timers armed, which includes those due but not yet popped.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no timer is armed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Arms a timer that gives `payload` back at `deadline`, or in the next millisecond
    /// if `deadline` is not after the present.
    ///
    /// A deadline past the last whole millisecond that a [`Time`] can express is never
    /// reached; `u64::MAX` nanoseconds thus stands for never.
    pub fn arm(&mut self, deadline: Time, payload: T) -> TimerId {
        let tick = tick_at_or_after(deadline).max(self.present + 1);
        let generation = self.next_generation;
        self.next_generation = generation.checked_add(1).unwrap_or(NonZeroU32::MIN);
        let key = self.entries.insert(Entry {
            tick,
            previous: NIL,
            next: NIL,
            generation,
            payload,
        });
        let entry = link(key);
        self.append(entry, tick);
        TimerId { entry, generation }
    }

    /// Takes a timer back, even one that is due, as long as it has not been popped.
    ///
    /// `None` if `id` is stale.
    pub fn disarm(&mut self, id: TimerId) -> Option<T> {
        let entry = self.entries.get(index(id.entry))?;
        if entry.generation != id.generation {
            return None;
        }
        self.remove(id.entry).map(|entry| entry.payload)
    }

    /// When to call [`pop_expired`](Self::pop_expired) next; `None` if no timer is armed.
    ///
    /// It is never later than the earliest deadline, but may be earlier. There is nothing to
    /// pop then, but the timer comes to a finer level. So it takes at most one call for each
    /// of the eight levels until the timer expires.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        let start = self.start_of(self.earliest_place()?);
        Some(Time::from_nanos(start.saturating_mul(NANOS_PER_TICK)))
    }

    /// Removes the earliest timer that is due at `now`.
    ///
    /// To be called until it gives `None`. Timers may be armed and disarmed in between.
    pub fn pop_expired(&mut self, now: Time) -> Option<(TimerId, T)> {
        self.present = self.present.max(tick_at_or_before(now));
        while let Some(place) = self.earliest_place() {
            let start = self.start_of(place);
            if start > self.present {
                break;
            }
            self.cursor = start;
            if place.level == 0 {
                return self.pop_first(place);
            }
            self.cascade(place);
        }
        self.cursor = self.present;
        None
    }

    fn pop_first(&mut self, place: Place) -> Option<(TimerId, T)> {
        let first = self.slots[index(place.level)][index(place.digit)].first;
        let entry = self.remove(first)?;
        let id = TimerId {
            entry: first,
            generation: entry.generation,
        };
        Some((id, entry.payload))
    }

    /// Spreads the timers of a slot that `cursor` has reached over the levels below.
    fn cascade(&mut self, place: Place) {
        let slot = &mut self.slots[index(place.level)][index(place.digit)];
        let mut current = mem::replace(slot, Slot::EMPTY).first;
        self.occupied[index(place.level)] &= !place.bit();
        while let Some(entry) = self.entries.get(index(current)) {
            let next = entry.next;
            self.append(current, entry.tick);
            current = next;
        }
    }

    /// Puts an entry last in the slot that `tick` belongs to.
    fn append(&mut self, entry: u32, tick: u64) {
        let place = self.place_of(tick);
        let slot = &mut self.slots[index(place.level)][index(place.digit)];
        let previous = mem::replace(&mut slot.last, entry);
        if let Some(previous) = self.entries.get_mut(index(previous)) {
            previous.next = entry;
        } else {
            slot.first = entry;
            self.occupied[index(place.level)] |= place.bit();
        }
        if let Some(entry) = self.entries.get_mut(index(entry)) {
            entry.previous = previous;
            entry.next = NIL;
        }
    }

    fn remove(&mut self, entry: u32) -> Option<Entry<T>> {
        let entry = self.entries.try_remove(index(entry))?;
        let place = self.place_of(entry.tick);
        let slot = &mut self.slots[index(place.level)][index(place.digit)];
        match self.entries.get_mut(index(entry.previous)) {
            Some(previous) => previous.next = entry.next,
            None => slot.first = entry.next,
        }
        match self.entries.get_mut(index(entry.next)) {
            Some(next) => next.previous = entry.previous,
            None => slot.last = entry.previous,
        }
        if slot.first == NIL {
            self.occupied[index(place.level)] &= !place.bit();
        }
        Some(entry)
    }

    /// Where a timer for `tick` sits now.
    fn place_of(&self, tick: u64) -> Place {
        // Setting the lowest digit makes "no difference" a place on level 0.
        let difference = (self.cursor ^ tick) | LOWEST_DIGIT;
        let level = difference.ilog2() / DIGIT_BITS;
        let [low_byte, ..] = (tick >> (level * DIGIT_BITS)).to_le_bytes();
        Place {
            level,
            digit: u32::from(low_byte) % DIGITS,
        }
    }

    fn earliest_place(&self) -> Option<Place> {
        let (level, bits) = (0..).zip(self.occupied).find(|&(_, bits)| bits != 0)?;
        Some(Place {
            level,
            digit: bits.trailing_zeros(),
        })
    }

    /// The first tick of an occupied slot.
    fn start_of(&self, place: Place) -> u64 {
        let shift = place.level * DIGIT_BITS;
        let higher_digits = (self.cursor >> shift) & !LOWEST_DIGIT;
        (higher_digits | u64::from(place.digit)) << shift
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
const DIGITS: u32 = 1 << DIGIT_BITS;
const LOWEST_DIGIT: u64 = (1 << DIGIT_BITS) - 1;

const NANOS_PER_TICK: u64 = 1_000_000;

/// The link to no entry. The slab never gets that long, so looking it up finds nothing.
const NIL: u32 = u32::MAX;

/// Where timers wait: a level, and the digit which they have in common there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Place {
    level: u32,
    digit: u32,
}

impl Place {
    fn bit(self) -> u64 {
        1 << self.digit
    }
}

/// The ends of a list of entries.
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
/// Cache misses dominate the cost of every operation, so it is kept small: `u32` links,
/// and a generation that is never zero, which spares the slab its tag.
struct Entry<T> {
    tick: u64,
    previous: u32,
    next: u32,
    generation: NonZeroU32,
    payload: T,
}

fn tick_at_or_before(time: Time) -> u64 {
    time.as_nanos() / NANOS_PER_TICK
}

fn tick_at_or_after(time: Time) -> u64 {
    time.as_nanos().div_ceil(NANOS_PER_TICK)
}

fn link(key: usize) -> u32 {
    // A longer slab does not fit into memory, see `TimerWheel`.
    u32::try_from(key).unwrap_or(NIL)
}

fn index(link: u32) -> usize {
    // Widens, as every target with a `mio` selector has pointers of 32 bits or more.
    link as usize
}

#[cfg(test)]
mod tests;
