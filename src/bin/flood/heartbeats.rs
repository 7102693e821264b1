//! When nodes send heartbeats.

use std::time::{Duration, Instant};

/// A node with a session sends one this often, as it is told by default.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// When how many heartbeats are to be sent, spread evenly.
#[derive(Debug)]
pub(crate) struct Heartbeats {
    start: Instant,
    sent: u128,
}

impl Heartbeats {
    pub(crate) fn new(start: Instant) -> Heartbeats {
        Heartbeats { start, sent: 0 }
    }

    pub(crate) fn due(&mut self, members: usize, now: Instant) -> usize {
        let elapsed = now.saturating_duration_since(self.start).as_nanos();
        let due = elapsed * members as u128 / HEARTBEAT.as_nanos();
        let count = due.saturating_sub(self.sent);
        self.sent = due;
        usize::try_from(count).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_member_has_its_heartbeat_in_time() {
        let start = Instant::now();
        let mut heartbeats = Heartbeats::new(start);
        let after = |millis| start + Duration::from_millis(millis);
        assert_eq!(heartbeats.due(10, after(400)), 0);
        assert_eq!(heartbeats.due(10, after(500)), 1);
        assert_eq!(heartbeats.due(10, after(500)), 0);
        assert_eq!(heartbeats.due(10, after(5000)), 9);
    }
}
