//! Liveness: how long sessions may be quiet, and what the end of a connection tells. Pure.

use std::time::Duration;

use crate::reactor::CloseReason;
use crate::registry::Cause;
use crate::time::Time;

/// Tag of the timer that looks for silence.
pub(super) const TAG: u64 = 2;

/// How often silence is looked for.
pub(super) const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// What is known of a peer from what it sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Health {
    /// It sends something in time, or is not expected to.
    Responsive,
    /// It fell silent together with many others, and is held for a while.
    Suspect,
    /// It is being closed because it is silent.
    Silent,
}

/// The times after which a session is late or silent, and when the loop last turned.
#[derive(Debug)]
pub(super) struct Liveness {
    heartbeat: Duration,
    silence: Duration,
    turned_at: Time,
}

impl Liveness {
    pub(super) fn new(heartbeat: Duration, silence: Duration) -> Liveness {
        Liveness {
            heartbeat,
            silence,
            turned_at: Time::ZERO,
        }
    }

    /// Begins to look for stalls.
    pub(super) fn start(&mut self, now: Time) {
        self.turned_at = now;
    }

    /// Heartbeats are sent up to a fifth later than agreed: after this time one is missing.
    fn overdue_after(&self) -> Duration {
        self.heartbeat * 3 / 2
    }

    /// Returns whether a session that was quiet for this long is gone.
    pub(super) fn is_silent(&self, quiet: Option<Duration>) -> bool {
        quiet.is_some_and(|quiet| quiet >= self.silence)
    }

    /// Returns whether a session that was quiet for this long has missed a heartbeat, and is not
    /// silent yet.
    pub(super) fn is_overdue(&self, quiet: Option<Duration>) -> bool {
        self.has_missed_one(quiet) && !self.is_silent(quiet)
    }

    fn has_missed_one(&self, quiet: Option<Duration>) -> bool {
        quiet.is_some_and(|quiet| quiet >= self.overdue_after())
    }

    /// Returns the cause with which the node leaves whose connection ended.
    pub(super) fn cause(
        &self,
        health: Health,
        quiet: Option<Duration>,
        reason: CloseReason,
    ) -> Cause {
        match (reason, health) {
            (CloseReason::PeerVanished, _) | (_, Health::Silent) => Cause::Silent,
            // It neither reads nor sends.
            (CloseReason::WriteTimeout, Health::Suspect) => Cause::Silent,
            (CloseReason::WriteTimeout, _) if self.has_missed_one(quiet) => Cause::Silent,
            _ => Cause::Closed,
        }
    }

    /// Returns how long the loop stood still, if nodes may have given this process up meanwhile.
    pub(super) fn end_turn(&mut self, now: Time) -> Option<Duration> {
        let paused = now.saturating_since(self.turned_at);
        self.turned_at = now;
        (paused >= self.overdue_after().max(2 * CHECK_INTERVAL)).then_some(paused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_neither_reads_nor_sends_is_silent() {
        let second = Duration::from_secs(1);
        let liveness = Liveness::new(2 * second, 6 * second);
        let cause =
            |health, quiet: u32, reason| liveness.cause(health, Some(quiet * second), reason);
        let (responsive, suspect) = (Health::Responsive, Health::Suspect);
        for (health, quiet, reason, expected) in [
            (responsive, 0, CloseReason::PeerVanished, Cause::Silent),
            (responsive, 9, CloseReason::PeerClosed, Cause::Closed),
            (responsive, 2, CloseReason::WriteTimeout, Cause::Closed),
            (responsive, 3, CloseReason::WriteTimeout, Cause::Silent),
            (suspect, 0, CloseReason::WriteTimeout, Cause::Silent),
            (suspect, 9, CloseReason::PeerClosed, Cause::Closed),
            (Health::Silent, 0, CloseReason::Local, Cause::Silent),
        ] {
            assert_eq!(
                cause(health, quiet, reason),
                expected,
                "{health:?} {reason:?}"
            );
        }
        let plain = liveness.cause(responsive, None, CloseReason::WriteTimeout);
        assert_eq!(plain, Cause::Closed);
    }

    #[test]
    fn a_pause_is_a_stall_when_a_heartbeat_would_be_missing() {
        let mut liveness = Liveness::new(Duration::from_secs(2), Duration::from_secs(6));
        liveness.start(Time::from_millis(1000));
        assert_eq!(liveness.end_turn(Time::from_millis(3999)), None);
        let stalled = liveness.end_turn(Time::from_millis(6999));
        assert_eq!(stalled, Some(Duration::from_secs(3)));
    }
}
