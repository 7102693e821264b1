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

    fn schedule(joins_per_second: f64, millis: u64) -> Schedule {
        Schedule {
            joins_per_second,
            duration: Duration::from_millis(millis),
        }
    }

    #[test]
    fn joins_are_due_by_the_rate_alone() {
        let schedule = schedule(50.0, 2500);
        let start = Instant::now();
        assert_eq!(schedule.joins(), 125);
        assert_eq!(schedule.due(start, 0), start);
        assert_eq!(schedule.due(start, 50), start + Duration::from_secs(1));
        // The shortest round has one.
        assert_eq!(self::schedule(0.1, 1000).joins(), 1);
    }

    #[test]
    fn leaves_come_at_all_distances_from_joins() {
        let schedule = schedule(10.0, 10_000);
        let mut met = [0; 10];
        for number in 0..100 {
            let beyond = schedule.stay(number) - SHORTEST_STAY;
            met[usize::try_from(beyond.as_millis()).unwrap() / 10] += 1;
        }
        assert!(met.iter().all(|count| (8..=12).contains(count)), "{met:?}");
    }
}
