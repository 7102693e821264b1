//! When the Distributor is tried again.

use std::time::Duration;

use super::super::config::Config;
use crate::reactor::Net;
use crate::time::Time;

/// How much later than usual a node tries again that is not allowed to register.
const MAX_TIMES_AS_LATE: u32 = 10;

/// What a Distributor that stops may tell to wait. One that says less is not hammered, and one that
/// says more is not lost for ever.
const SHORTEST_TOLD_RETRY: Duration = Duration::from_millis(100);
const LONGEST_TOLD_RETRY: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Retry {
    /// Tries since the node was last registered.
    pub(super) tries: u32,
    /// Times that it was not allowed to register since then.
    pub(super) not_allowed: u32,
    /// When it was last tried again without a pause.
    hurried_at: Option<Time>,
    /// What the Distributor said before it stopped.
    pub(super) told: Option<Duration>,
}

impl Retry {
    pub(super) fn registered(&mut self) {
        self.tries = 0;
        self.not_allowed = 0;
    }

    /// Returns how long to wait after the connection is gone. `usual` is the pause between two
    /// tries, and `retry` its mean.
    pub(super) fn pause(
        &mut self,
        now: Time,
        has_other_address: bool,
        usual: Duration,
        retry: Duration,
    ) -> Duration {
        if let Some(told) = self.told.take() {
            return told.clamp(SHORTEST_TOLD_RETRY, LONGEST_TOLD_RETRY);
        }
        if has_other_address {
            return Duration::ZERO;
        }
        // One that takes the node in and ends the connection at once would otherwise be tried as
        // fast as the network goes, and each time all nodes would be notified.
        let may_hurry = |last: Time| now.saturating_since(last) >= retry;
        if self.tries == 0 && self.hurried_at.is_none_or(may_hurry) {
            self.hurried_at = Some(now);
            return Duration::ZERO;
        }
        // A node that is not allowed in waits for an operator, who takes longer.
        let times = 2u32.saturating_pow(self.not_allowed);
        usual * times.min(MAX_TIMES_AS_LATE)
    }
}

/// Returns between half of [`Config::retry`] and one and a half of it.
pub(super) fn usual_pause(net: &mut Net, config: &Config) -> Duration {
    let percent = 50 + u32::try_from(net.random() % 101).unwrap_or(50);
    config.retry * percent / 100
}
