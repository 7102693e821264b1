//! When nodes send heartbeats.

use std::time::{Duration, Instant};

/// A node with a session sends one this often, as it is told by default.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// After a pause they catch up, some at a time.
const MOST_AT_ONCE: u128 = 512;

/// Spreads the heartbeats of all nodes evenly.
#[derive(Debug)]
pub(crate) struct Heartbeats {
    looked_at: Instant,
    /// What is due, as time by nodes.
    due_nanos: u128,
    /// None are sent for now.
    pub(crate) are_held_back: bool,
}

impl Heartbeats {
    pub(crate) fn new(now: Instant) -> Heartbeats {
        Heartbeats {
            looked_at: now,
            due_nanos: 0,
            are_held_back: false,
        }
    }

    /// How many of so many nodes are to send one now.
    pub(crate) fn due(&mut self, nodes: usize, now: Instant) -> usize {
        let nodes = nodes as u128;
        let gone = now.saturating_duration_since(self.looked_at);
        self.looked_at = now;
        let heartbeat = HEARTBEAT.as_nanos();
        // Nobody sends two for one that is late.
        self.due_nanos = (self.due_nanos + gone.as_nanos() * nodes).min(nodes * heartbeat);
        if self.are_held_back {
            return 0;
        }
        let count = (self.due_nanos / heartbeat).min(MOST_AT_ONCE);
        self.due_nanos -= count * heartbeat;
        usize::try_from(count).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_has_its_heartbeat_in_time() {
        let start = Instant::now();
        let mut heartbeats = Heartbeats::new(start);
        let after = |millis| start + Duration::from_millis(millis);
        assert_eq!(heartbeats.due(10, after(400)), 0);
        assert_eq!(heartbeats.due(10, after(500)), 1);
        assert_eq!(heartbeats.due(10, after(500)), 0);
        // Ten more nodes come: what was before does not count for them.
        assert_eq!(heartbeats.due(20, after(1000)), 2);
        heartbeats.are_held_back = true;
        assert_eq!(heartbeats.due(20, after(2000)), 0);
        heartbeats.are_held_back = false;
        assert_eq!(heartbeats.due(20, after(2000)), 4);
        assert_eq!(heartbeats.due(20, after(60_000)), 20);
        assert_eq!(heartbeats.due(20, after(60_000)), 0);
    }
}
