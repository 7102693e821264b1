//! The last metrics, shared by clients that ask for them very often.

use std::time::Duration;

use super::families::encode;
use super::figures::Figures;
use crate::admin::answer::Answer;
use crate::time::Time;

/// Encodes metrics, or returns the last ones if enough were encoded lately.
#[derive(Debug, Default)]
pub(in crate::admin) struct Cache {
    window_began_at: Time,
    encoded: u32,
    last: Option<Answer>,
}

/// In this window metrics are encoded
const WINDOW: Duration = Duration::from_millis(200);
/// so many times,
const MAX_PER_WINDOW: u32 = 8;
/// or for as long as a hundredth of it, but once at least. Each connection is looked at.
const MAX_TIME: Duration = Duration::from_millis(2);
const COST: Duration = Duration::from_micros(40);
const COST_PER_CONNECTION: Duration = Duration::from_nanos(30);

impl Cache {
    pub(in crate::admin) fn get(&mut self, figures: &Figures<'_>) -> Answer {
        let (now, connections) = (figures.net.now(), figures.net.connections());
        if self.may_encode(now, connections) {
            self.last = None;
        }
        let last = self.last.get_or_insert_with(|| Answer {
            status: 200,
            content_type: "text/plain; version=0.0.4; charset=utf-8",
            more: &[],
            body: encode(figures).into_bytes(),
        });
        last.clone()
    }

    fn may_encode(&mut self, now: Time, connections: usize) -> bool {
        if now.saturating_since(self.window_began_at) >= WINDOW {
            (self.window_began_at, self.encoded) = (now, 0);
        }
        let connections = u32::try_from(connections).unwrap_or(u32::MAX);
        let cost = COST + COST_PER_CONNECTION * connections;
        let affordable = MAX_TIME.as_nanos() / cost.as_nanos();
        let may = u128::from(self.encoded) < affordable.clamp(1, u128::from(MAX_PER_WINDOW));
        self.encoded += u32::from(may);
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(connections: usize, millis: impl IntoIterator<Item = u64>) -> Vec<u64> {
        let mut cache = Cache::default();
        let mut may = |at: &u64| cache.may_encode(Time::from_millis(*at), connections);
        millis.into_iter().filter(|at| may(at)).collect()
    }

    #[test]
    fn encodes_a_few_per_window() {
        let at = (1000..1020).chain([1199, 1200, 1201]);
        let expected: Vec<u64> = (1000..1008).chain([1200, 1201]).collect();
        assert_eq!(encoded(1000, at), expected);
    }

    #[test]
    fn encodes_less_often_with_many_connections() {
        for (connections, times) in [(0, 8), (5_000, 8), (19_000, 3), (1_000_000, 1)] {
            let at = std::iter::repeat_n(1000, 20);
            assert_eq!(encoded(connections, at).len(), times, "{connections}");
        }
    }
}
