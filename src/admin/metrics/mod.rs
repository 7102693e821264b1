//! The metrics of a Distributor.

mod families;

use std::time::Duration;

use self::families::encode;
pub(super) use self::families::{Counts, Figures};
use super::context::Answer;
use crate::metrics::CONTENT_TYPE;
use crate::time::Time;

/// The last metrics, and when they were encoded. Very frequent requests share them.
#[derive(Debug, Default)]
pub(super) struct Cache(Option<(Time, Answer)>);

/// Approximate cost of encoding, which iterates over all connections.
const COST: Duration = Duration::from_micros(40);
const COST_PER_CONNECTION: Duration = Duration::from_nanos(30);
/// Metrics are reused for this many times the cost of encoding them, or for [`MAX_AGE`] if that is
/// shorter. So encoding takes about 1 % of the time.
const PART_OF_TIME: u32 = 100;
/// Maximum age of metrics that are reused.
const MAX_AGE: Duration = Duration::from_millis(200);

impl Cache {
    /// Encodes metrics, or returns the last ones if they are recent.
    pub(super) fn get(&mut self, figures: &Figures<'_>) -> Answer {
        let now = figures.net.now();
        let max_age = max_age(figures.net.connections());
        self.0
            .take_if(|(at, _)| now.saturating_since(*at) >= max_age);
        let (_, answer) = self
            .0
            .get_or_insert_with(|| (now, Answer::new(CONTENT_TYPE, encode(figures))));
        answer.clone()
    }
}

/// Returns the time for which metrics are reused.
fn max_age(connections: usize) -> Duration {
    let connections = u32::try_from(connections).unwrap_or(u32::MAX);
    let cost = COST + COST_PER_CONNECTION * connections;
    (cost * PART_OF_TIME).min(MAX_AGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reuses_metrics_for_longer_with_many_connections() {
        for (connections, millis) in [(0, 4), (1_000, 7), (10_000, 34), (1_000_000, 200)] {
            let expected = Duration::from_millis(millis);
            assert_eq!(max_age(connections), expected, "{connections}");
        }
    }
}
