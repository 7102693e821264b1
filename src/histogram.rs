//! A histogram of durations with fixed buckets. Recording does not allocate.

use std::time::Duration;

/// Upper bounds of the buckets, in microseconds.
const BOUNDS_MICROS: [u64; 18] = [
    10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 10_000_000,
];

/// Number of durations in each bucket.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Histogram {
    counts: [u64; BOUNDS_MICROS.len()],
    /// Number of durations, including those above the last bound, which are in no bucket.
    pub count: u64,
    /// Sum of the durations.
    pub sum: Duration,
}

impl Histogram {
    /// Counts one duration.
    pub(crate) fn record(&mut self, time: Duration) {
        let micros = time.as_nanos().div_ceil(1000);
        let step = BOUNDS_MICROS.partition_point(|bound| u128::from(*bound) < micros);
        if let Some(count) = self.counts.get_mut(step) {
            *count += 1;
        }
        self.count += 1;
        self.sum = self.sum.saturating_add(time);
    }

    /// Returns each bound with the number of durations up to it.
    pub fn cumulative(&self) -> impl Iterator<Item = (Duration, u64)> {
        let counts = self.counts.iter().scan(0, |total, count| {
            *total += count;
            Some(*total)
        });
        BOUNDS_MICROS
            .into_iter()
            .map(Duration::from_micros)
            .zip(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_each_duration_in_all_buckets_above_it() {
        let mut histogram = Histogram::default();
        let micros = Duration::from_micros;
        for time in [
            Duration::ZERO,
            micros(10),
            micros(10) + Duration::from_nanos(1),
            micros(99),
            Duration::from_secs(60),
        ] {
            histogram.record(time);
        }
        let counts: Vec<u64> = histogram.cumulative().map(|(_, count)| count).collect();
        assert_eq!(counts[..5], [2, 3, 3, 4, 4]);
        assert_eq!((counts.last(), histogram.count), (Some(&4), 5));
        assert!(histogram.sum > Duration::from_secs(60));
    }
}
