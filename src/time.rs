//! Points in time as plain numbers, so that tests can use virtual time.

use std::ops::Add;
use std::time::Duration;

/// A point in time: nanoseconds since the reactor was created.
///
/// It never decreases within one reactor, and is unrelated to the time of day.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Default)]
pub struct Time(u64);

impl Time {
    /// The time at which the reactor was created.
    pub const ZERO: Time = Time(0);

    /// Returns the time `nanos` nanoseconds after [`Time::ZERO`].
    pub const fn from_nanos(nanos: u64) -> Time {
        Time(nanos)
    }

    /// Returns the time `millis` milliseconds after [`Time::ZERO`]. Saturates at the last
    /// representable time.
    pub const fn from_millis(millis: u64) -> Time {
        Time(millis.saturating_mul(1_000_000))
    }

    /// Returns the nanoseconds since [`Time::ZERO`].
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Returns the whole milliseconds since [`Time::ZERO`], rounded down.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// Returns the duration since `earlier`; zero if this is not after it.
    pub const fn saturating_since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Time;

    /// Saturates at the last representable time, about 584 years after the start.
    fn add(self, wait: Duration) -> Time {
        let nanos = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
        Time(self.0.saturating_add(nanos))
    }
}
