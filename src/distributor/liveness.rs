//! Liveness: the permitted silence of sessions, and the cause when a connection ends. Pure.

use std::time::Duration;

use super::config::Config;
use crate::reactor::CloseReason;
use crate::registry::Cause;

/// Tag of the timer of silence checks.
pub(super) const TAG: u64 = 2;

/// Time between two silence checks.
pub(super) const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// Meaning of the silence of a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Health {
    /// The peer sends in time, or is not expected to.
    Responsive,
    /// The peer fell silent together with many others, and is held for a while.
    Suspect,
    /// The peer is being closed because of its silence.
    Silent,
}

/// Returns the time after which a heartbeat is overdue. Nodes may send one up to a fifth of the
/// interval late.
fn overdue_after(config: &Config) -> Duration {
    config.heartbeat * 3 / 2
}

/// Returns whether a session that was quiet for this long has missed a heartbeat.
pub(super) fn is_overdue(config: &Config, quiet: Option<Duration>) -> bool {
    quiet.is_some_and(|quiet| quiet >= overdue_after(config))
}

/// Returns whether a session that was quiet for this long is to be closed.
pub(super) fn is_silent(config: &Config, quiet: Option<Duration>) -> bool {
    quiet.is_some_and(|quiet| quiet >= config.silence)
}

/// Returns whether nodes may have given up this process while the loop was stopped for this long.
pub(super) fn is_stall(config: &Config, paused: Duration) -> bool {
    paused >= overdue_after(config).max(2 * CHECK_INTERVAL)
}

/// Returns the cause with which a node leaves after its connection ended.
pub(super) fn cause(
    config: &Config,
    health: Health,
    quiet: Option<Duration>,
    reason: CloseReason,
) -> Cause {
    match (reason, health) {
        (CloseReason::PeerVanished, _) | (_, Health::Silent) => Cause::Silent,
        // The peer neither reads nor sends.
        (CloseReason::WriteTimeout, Health::Suspect) => Cause::Silent,
        (CloseReason::WriteTimeout, _) if is_overdue(config, quiet) => Cause::Silent,
        _ => Cause::Closed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_peers_that_neither_read_nor_send_for_silent() {
        let cause = |health, quiet, reason| {
            let quiet = Some(Duration::from_secs(quiet));
            cause(&Config::default(), health, quiet, reason)
        };
        let (responsive, suspect) = (Health::Responsive, Health::Suspect);
        for (health, quiet, reason, expected) in [
            (responsive, 0, CloseReason::PeerVanished, Cause::Silent),
            (responsive, 9, CloseReason::PeerClosed, Cause::Closed),
            (responsive, 7, CloseReason::WriteTimeout, Cause::Closed),
            (responsive, 8, CloseReason::WriteTimeout, Cause::Silent),
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
        let plain = super::cause(
            &Config::default(),
            responsive,
            None,
            CloseReason::WriteTimeout,
        );
        assert_eq!(plain, Cause::Closed);
    }

    #[test]
    fn takes_a_pause_of_a_missing_heartbeat_for_a_stall() {
        let is_stall = |millis| is_stall(&Config::default(), Duration::from_millis(millis));
        assert!(!is_stall(7499));
        assert!(is_stall(7500));
    }
}
