//! When nodes join and leave.

use std::time::{Duration, Instant};

/// A node that joined stays at least this long, and until all watchers heard of it.
pub(super) const SHORTEST_STAY: Duration = Duration::from_millis(100);
/// The fractions of its multiples are spread evenly.
const GOLDEN_RATIO: f64 = 0.618_033_988_749_895;
/// Names have digits for this many, and for the joins before the schedule.
const MAX_JOINS: u32 = 99_999_000;

#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    pub(super) joins_per_second: f64,
    /// Of one round.
    pub(super) duration: Duration,
}

impl Schedule {
    pub(super) fn due(self, start: Instant, number: u32) -> Instant {
        start + Duration::from_secs_f64(f64::from(number) / self.joins_per_second)
    }

    /// How long a joiner stays. Leaves come at all distances from joins, since one just before a
    /// join delays it.
    pub(super) fn stay(self, number: u32) -> Duration {
        let share = (f64::from(number) * GOLDEN_RATIO).fract();
        SHORTEST_STAY + Duration::from_secs_f64(share / self.joins_per_second)
    }

    /// Joins of one round: at least one, since a round without any shows nothing.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped"
    )]
    pub(super) fn joins(self) -> u32 {
        let joins = (self.duration.as_secs_f64() * self.joins_per_second).round();
        joins.clamp(1.0, f64::from(MAX_JOINS)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_come_at_all_distances_from_joins() {
        let schedule = Schedule {
            joins_per_second: 10.0,
            duration: Duration::from_secs(10),
        };
        let mut met = [0; 10];
        for number in 0..100 {
            let beyond = schedule.stay(number) - SHORTEST_STAY;
            met[usize::try_from(beyond.as_millis()).unwrap() / 10] += 1;
        }
        assert!(met.iter().all(|count| (8..=12).contains(count)), "{met:?}");
    }
}
