//! What churn is made of, and when nodes join and leave.

use std::time::{Duration, Instant};

use crate::cli::flood::args::{Schedule, ServerArgs};
use crate::cli::flood::client::Client;
use crate::cli::flood::herd::{Manners, Says, Watch};
use crate::cli::flood::target::Target;
use crate::cli::flood::view::Names;

/// A node that joined stays at least so long, and until all have been told.
pub(super) const SHORTEST_STAY: Duration = Duration::from_millis(100);
/// The fractions of its multiples are spread evenly.
const GOLDEN_RATIO: f64 = 0.618_033_988_749_895;
/// As many numbers as a name has digits for.
const MOST_JOINS: u32 = 99_999_000;

/// What churn is made of, whatever the command.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub(super) watchers: usize,
    pub(super) stuck: usize,
    pub(super) joins_per_second: f64,
    pub(super) slice: Duration,
    pub(super) timeout: Duration,
    pub(super) names: Names,
    pub(super) manners: Manners,
}

impl Load {
    pub(super) fn new(
        target: &Target,
        client: &mut Client,
        server: &ServerArgs,
        schedule: &Schedule,
        watch: Watch,
        stuck: usize,
    ) -> Load {
        let connections = target.plan.connections;
        let stuck = stuck.min(connections.saturating_sub(1));
        Load {
            watchers: connections - stuck,
            stuck,
            joins_per_second: schedule.rate,
            slice: schedule.duration / schedule.rounds.max(1),
            timeout: server.timeout,
            names: Names::new(client.net().random()),
            manners: Manners {
                watch,
                unlisted: schedule.unlisted,
                says: Says::ThatItWatches,
                bare: false,
            },
        }
    }

    pub(super) fn due(&self, start: Instant, number: u32) -> Instant {
        start + Duration::from_secs_f64(f64::from(number) / self.joins_per_second)
    }

    /// How long a joiner stays. Leaves come at all distances from joins: who leaves just before
    /// another one joins makes it wait.
    pub(super) fn stay(&self, number: u32) -> Duration {
        let share = (f64::from(number) * GOLDEN_RATIO).fract();
        SHORTEST_STAY + Duration::from_secs_f64(share / self.joins_per_second)
    }

    /// Joins of one slice.
    pub(super) fn joins(&self) -> u32 {
        let joins = (self.slice.as_secs_f64() * self.joins_per_second).round();
        // Bounded by the flags; a slice without any join shows nothing.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped"
        )]
        let joins = joins.clamp(1.0, f64::from(MOST_JOINS)) as u32;
        joins
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(joins_per_second: f64, slice: Duration) -> Load {
        Load {
            watchers: 1,
            stuck: 0,
            joins_per_second,
            slice,
            timeout: Duration::ZERO,
            names: Names::new(0),
            manners: Manners {
                watch: Watch::Delta,
                unlisted: false,
                says: Says::ThatItWatches,
                bare: false,
            },
        }
    }

    #[test]
    fn joins_are_due_by_the_rate_alone() {
        let load = load(50.0, Duration::from_millis(2500));
        let start = Instant::now();
        assert_eq!(load.joins(), 125);
        assert_eq!(load.due(start, 0), start);
        assert_eq!(load.due(start, 50), start + Duration::from_secs(1));
    }

    #[test]
    fn the_shortest_slice_has_a_join() {
        assert_eq!(load(0.1, Duration::from_secs(1)).joins(), 1);
    }

    #[test]
    fn leaves_come_at_all_distances_from_joins() {
        let load = load(10.0, Duration::from_secs(10));
        let interval = Duration::from_millis(100);
        let tenths = (0..100).map(|number| {
            let stay = load.stay(number);
            assert!(stay >= SHORTEST_STAY && stay < SHORTEST_STAY + interval);
            (stay - SHORTEST_STAY).as_millis() / 10
        });
        let mut met = [0; 10];
        tenths.for_each(|tenth| met[usize::try_from(tenth).unwrap()] += 1);
        assert!(met.iter().all(|count| (8..=12).contains(count)), "{met:?}");
    }
}
