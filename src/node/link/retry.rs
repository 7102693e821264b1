//! Pauses between attempts to reach the Distributor.

use std::time::Duration;

use super::super::config::Config;
use crate::reactor::Net;
use crate::time::Time;

/// Maximum pause of a node that may not register, as a multiple of the usual one.
const MAX_TIMES_AS_LATE: u32 = 10;

/// Limits of the pause that a stopping Distributor requests: against hammering, and against waiting
/// indefinitely.
const SHORTEST_TOLD_RETRY: Duration = Duration::from_millis(100);
const LONGEST_TOLD_RETRY: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Retry {
    /// Attempts since the node was last registered.
    pub(super) tries: u32,
    /// Rejections with `NotAllowed` since then.
    pub(super) not_allowed: u32,
    /// Time of the last attempt without a pause.
    hurried_at: Option<Time>,
    /// Pause that the Distributor requested before it stopped.
    pub(super) told: Option<Duration>,
}

impl Retry {
    pub(super) fn registered(&mut self) {
        self.tries = 0;
        self.not_allowed = 0;
    }

    /// Returns the pause after a lost connection.
    pub(super) fn pause(
        &mut self,
        net: &mut Net,
        config: &Config,
        has_other_address: bool,
    ) -> Duration {
        let usual = usual_pause(net, config);
        if let Some(told) = self.told.take() {
            return told.clamp(SHORTEST_TOLD_RETRY, LONGEST_TOLD_RETRY);
        }
        if has_other_address {
            return Duration::ZERO;
        }
        // Otherwise a Distributor that accepts the node and closes the connection at once would be
        // tried as fast as the network permits, with notifications to all nodes each time.
        let may_hurry = |last: Time| net.now().saturating_since(last) >= config.retry;
        if self.tries == 0 && self.hurried_at.is_none_or(may_hurry) {
            self.hurried_at = Some(net.now());
            return Duration::ZERO;
        }
        // A node that may not register needs an administrator, which takes longer.
        let times = 2u32.saturating_pow(self.not_allowed);
        usual * times.min(MAX_TIMES_AS_LATE)
    }
}

/// Returns a random pause between 0.5 and 1.5 times [`Config::retry`].
pub(super) fn usual_pause(net: &mut Net, config: &Config) -> Duration {
    let percent = 50 + u32::try_from(net.random() % 101).unwrap_or(50);
    config.retry * percent / 100
}
