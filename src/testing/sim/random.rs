//! Pseudorandom numbers from a seed: xoshiro256++, seeded by splitmix64.

use std::time::Duration;

/// A stream of pseudorandom numbers. The same seed gives the same numbers, on every machine.
#[derive(Clone, Debug)]
pub struct Random {
    state: [u64; 4],
    /// Highest byte of each of the next numbers, the first one last.
    choices: Vec<u8>,
}

impl Random {
    /// Creates the stream of a seed.
    pub fn new(seed: u64) -> Random {
        let mut state = seed;
        let state = std::array::from_fn(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = state;
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            word ^ (word >> 31)
        });
        let choices = Vec::new();
        Random { state, choices }
    }

    /// Creates a stream whose next numbers begin with these bytes. They largely determine the
    /// draws.
    pub fn choosing(bytes: &[u8]) -> Random {
        let choices = bytes.iter().rev().copied().collect();
        Random {
            choices,
            ..Random::new(0)
        }
    }

    /// Returns 64 random bits.
    pub fn bits(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.state;
        let result = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        match self.choices.pop() {
            Some(byte) => (u64::from(byte) << 56) | (result >> 8),
            None => result,
        }
    }

    /// Returns a number below `end`, or zero if `end` is zero.
    pub fn below(&mut self, end: u64) -> u64 {
        // The upper half of the product: practically uniform for small ranges.
        let product = u128::from(self.bits()) * u128::from(end);
        u64::try_from(product >> 64).unwrap_or(0)
    }

    /// Returns an index below `count`, as [`Random::below`].
    pub fn index(&mut self, count: usize) -> usize {
        let end = u64::try_from(count).unwrap_or(u64::MAX);
        usize::try_from(self.below(end)).unwrap_or(0)
    }

    /// Returns a number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// Returns `true` this many times in 10,000.
    pub fn chance(&mut self, in_ten_thousand: u32) -> bool {
        in_ten_thousand > 0 && self.below(10_000) < u64::from(in_ten_thousand)
    }

    /// Returns a time between `low` and `high`, short ones as often as ones ten times as long.
    pub fn duration(&mut self, low: Duration, high: Duration) -> Duration {
        let low_nanos = u64::try_from(low.as_nanos()).unwrap_or(u64::MAX).max(1);
        let doublings = high.as_nanos() / u128::from(low_nanos);
        let doublings = u64::from(doublings.checked_ilog2().unwrap_or(0));
        let start = low_nanos << self.between(0, doublings);
        Duration::from_nanos(self.between(start, start.saturating_mul(2))).min(high)
    }

    /// Puts `items` into a random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            items.swap(end, self.index(end + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_another_stream_for_each_seed() {
        let stream = |seed| {
            let mut random = Random::new(seed);
            std::array::from_fn::<u64, 8, _>(|_| random.bits())
        };
        assert_eq!(stream(1), stream(1));
        assert_ne!(stream(1), stream(2));
    }

    #[test]
    fn begins_with_the_chosen_bytes() {
        let mut random = Random::choosing(&[0, 255, 128]);
        assert_eq!([(); 3].map(|()| random.index(100)), [0, 99, 50]);
        assert_eq!(random.bits(), {
            let mut other = Random::new(0);
            for _ in 0..3 {
                other.bits();
            }
            other.bits()
        });
    }

    #[test]
    fn stays_within_each_range_and_fills_it() {
        let mut random = Random::new(7);
        let mut seen = [false; 5];
        for _ in 0..200 {
            seen[random.index(5)] = true;
            let wait = random.duration(Duration::from_millis(1), Duration::from_secs(1));
            assert!(wait >= Duration::from_millis(1) && wait <= Duration::from_secs(1));
        }
        assert_eq!(seen, [true; 5]);
        assert_eq!(random.below(0), 0);
        assert!(!random.chance(0) && random.chance(10_000));
    }
}
