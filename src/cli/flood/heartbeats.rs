//! Spreads the heartbeats of all nodes evenly over time.

use std::time::{Duration, Instant};

/// The interval of a node with a session, by default.
const INTERVAL: Duration = Duration::from_secs(5);
/// After a pause nodes catch up in steps.
const MAX_AT_ONCE: u128 = 512;

#[derive(Debug)]
pub(crate) struct Heartbeats {
    updated_at: Instant,
    /// Heartbeats that are due, times the interval.
    due_nanos: u128,
    /// None is sent, so that a change can be measured alone.
    pub(crate) is_paused: bool,
}

impl Heartbeats {
    pub(crate) fn new(now: Instant) -> Heartbeats {
        Heartbeats {
            updated_at: now,
            due_nanos: 0,
            is_paused: false,
        }
    }

    /// Returns how many of `nodes` send one now.
    pub(crate) fn take_due(&mut self, nodes: usize, now: Instant) -> usize {
        let (nodes, interval) = (nodes as u128, INTERVAL.as_nanos());
        let passed = now.saturating_duration_since(self.updated_at);
        self.updated_at = now;
        // A node that is late sends one, and not all that it missed.
        self.due_nanos = (self.due_nanos + passed.as_nanos() * nodes).min(nodes * interval);
        if self.is_paused {
            return 0;
        }
        let count = (self.due_nanos / interval).min(MAX_AT_ONCE);
        self.due_nanos -= count * interval;
        usize::try_from(count).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_sends_one_per_interval() {
        let start = Instant::now();
        let mut heartbeats = Heartbeats::new(start);
        let after = |millis| start + Duration::from_millis(millis);
        assert_eq!(heartbeats.take_due(10, after(400)), 0);
        assert_eq!(heartbeats.take_due(10, after(500)), 1);
        assert_eq!(heartbeats.take_due(10, after(500)), 0);
        // Nodes that come later do not count for the time before.
        assert_eq!(heartbeats.take_due(20, after(1000)), 2);
        heartbeats.is_paused = true;
        assert_eq!(heartbeats.take_due(20, after(2000)), 0);
        heartbeats.is_paused = false;
        assert_eq!(heartbeats.take_due(20, after(2000)), 4);
        assert_eq!(heartbeats.take_due(20, after(60_000)), 20);
        assert_eq!(heartbeats.take_due(20, after(60_000)), 0);
    }
}
