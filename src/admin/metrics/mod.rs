//! Metrics in the text format of Prometheus, version 0.0.4.

mod families;
mod figures;
mod text;

use std::time::Duration;

use self::families::encode;
pub(super) use self::figures::{Counts, Figures};
use super::answer::Answer;
use crate::time::Time;

/// The last metrics, shared by clients that request them very often.
#[derive(Debug, Default)]
pub(super) struct Cache {
    last: Option<(Time, Answer)>,
}

/// About the cost of encoding. Each connection is looked at.
const COST: Duration = Duration::from_micros(40);
const COST_PER_CONNECTION: Duration = Duration::from_nanos(30);
/// Encoding takes at most this part of the time,
const PART_OF_TIME: u32 = 100;
/// but metrics are not older than this.
const MAX_AGE: Duration = Duration::from_millis(200);

impl Cache {
    /// Encodes metrics, or returns the last ones if they are recent.
    pub(super) fn get(&mut self, figures: &Figures<'_>) -> Answer {
        let now = figures.net.now();
        let max_age = max_age(figures.net.connections());
        if let Some((at, answer)) = &self.last
            && now.saturating_since(*at) < max_age
        {
            return answer.clone();
        }
        let answer = Answer {
            status: 200,
            content_type: "text/plain; version=0.0.4; charset=utf-8",
            more: &[],
            body: encode(figures).into_bytes(),
        };
        self.last = Some((now, answer.clone()));
        answer
    }
}

/// Returns how long metrics are reused.
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
