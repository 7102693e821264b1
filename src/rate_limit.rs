//! A rate limit: at most N per window.

use std::time::Duration;

use crate::time::Time;

/// Allows at most N acts per window, and counts those that it suppresses.
///
/// A window begins with the first act after the end of the previous one. Pure: time is an argument.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RateLimit {
    limit: u32,
    window: Duration,
    began_at: Option<Time>,
    allowed: u32,
    suppressed: u64,
}

impl RateLimit {
    /// Returns a limit of `limit` acts per `window`.
    pub(crate) const fn new(limit: u32, window: Duration) -> RateLimit {
        RateLimit {
            limit,
            window,
            began_at: None,
            allowed: 0,
            suppressed: 0,
        }
    }

    /// Returns a limit of `limit` acts per second.
    pub(crate) const fn per_second(limit: u32) -> RateLimit {
        RateLimit::new(limit, Duration::from_secs(1))
    }

    /// Returns whether one more act is within the limit, and counts it as allowed or suppressed.
    pub(crate) fn allow(&mut self, now: Time) -> bool {
        let is_over = |began: Time| now.saturating_since(began) >= self.window;
        if self.began_at.is_none_or(is_over) {
            self.began_at = Some(now);
            self.allowed = 0;
        }
        let is_allowed = self.allowed < self.limit;
        if is_allowed {
            self.allowed += 1;
        } else {
            self.suppressed += 1;
        }
        is_allowed
    }

    /// Returns the number of acts that were suppressed since this was last called.
    pub(crate) fn take_suppressed(&mut self) -> u64 {
        std::mem::take(&mut self.suppressed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(limit: &mut RateLimit, millis: &[u64]) -> Vec<u64> {
        let allow = |at: &u64| limit.allow(Time::from_millis(*at)).then_some(*at);
        millis.iter().filter_map(allow).collect()
    }

    #[test]
    fn allows_at_most_n_per_window() {
        let mut limit = RateLimit::per_second(2);
        let at = [5, 6, 7, 1004, 1005, 1006, 1007, 9000, 9001];
        assert_eq!(allowed(&mut limit, &at), [5, 6, 1005, 1006, 9000, 9001]);
    }

    #[test]
    fn counts_the_suppressed_until_they_are_taken() {
        let mut limit = RateLimit::new(1, Duration::from_secs(60));
        assert_eq!(allowed(&mut limit, &[0, 1, 59_999]), [0]);
        assert_eq!(allowed(&mut limit, &[60_000, 60_001]), [60_000]);
        assert_eq!(limit.take_suppressed(), 3);
        assert_eq!(limit.take_suppressed(), 0);
    }

    #[test]
    fn allows_nothing_with_a_limit_of_zero() {
        assert!(allowed(&mut RateLimit::per_second(0), &[0, 5000]).is_empty());
    }
}
