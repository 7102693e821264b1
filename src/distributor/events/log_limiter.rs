//! Limits how often each log phrase is logged, since peers can cause them at will.

use std::collections::BTreeMap;

use crate::rate_limit::RateLimit;
use crate::time::Time;

/// A phrase, or a reason in one, and an errorcode where each has a limit of its own.
type Key = (&'static str, u8);

/// Allows a number of lines per second for each key. There is no list of keys that a new one could
/// be missing from.
#[derive(Debug, Default)]
pub(super) struct LogLimiter {
    limits: BTreeMap<Key, RateLimit>,
}

/// A line may be logged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Allowed {
    /// How many lines with this key were suppressed since the last, if any.
    pub(super) suppressed: Option<u64>,
}

impl LogLimiter {
    /// Returns whether a line with this key may be logged now.
    pub(super) fn allow(&mut self, now: Time, key: Key, per_second: u32) -> Option<Allowed> {
        let new = || RateLimit::per_second(per_second);
        let limit = self.limits.entry(key).or_insert_with(new);
        limit.allow(now).then(|| Allowed {
            suppressed: Some(limit.take_suppressed()).filter(|count| *count > 0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_each_key_by_itself_and_counts_the_suppressed() {
        let mut limiter = LogLimiter::default();
        let mut logged = Vec::new();
        for millis in [0, 1, 999, 1000, 1500, 2500] {
            let allowed = limiter.allow(Time::from_millis(millis), ("a", 0), 1);
            logged.extend(allowed.map(|allowed| (millis, allowed.suppressed)));
        }
        assert_eq!(logged, [(0, None), (1000, Some(2)), (2500, Some(1))]);
        let other = limiter.allow(Time::from_millis(2501), ("b", 0), 1);
        assert_eq!(other, Some(Allowed { suppressed: None }));
    }

    #[test]
    fn no_errorcode_is_left_out() {
        let mut limiter = LogLimiter::default();
        for code in 0..=u8::MAX {
            let allowed = limiter.allow(Time::ZERO, ("packet rejected", code), 1);
            assert!(allowed.is_some(), "{code}");
        }
    }
}
