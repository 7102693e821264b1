//! When the next push may begin: at once when all is quiet, and rarely enough under churn that
//! pushing leaves time for everything else.

use std::time::Duration;

use crate::reactor::{Net, TimerId};
use crate::time::Time;

/// A push may begin when this many times as long has passed since the last one began as that one
/// took. Mass joins then cost a few lists and not one each.
const TIMES_AS_LONG: u32 = 4;
/// It waits this long at least: existing peers lose lists that pile up while they are busy.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
/// And no longer than this, whatever else the loop had to write meanwhile.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Its timer's.
pub(super) const TAG: u64 = 0;

#[derive(Debug, Default)]
pub(super) struct Pacing {
    last: Option<LastPush>,
    timer: Option<TimerId>,
}

#[derive(Clone, Copy, Debug)]
struct LastPush {
    began_at: Time,
    /// The loop's total before it. What is added while it is written is what it takes.
    flush_time_before: Duration,
    /// What it took, once it is all written.
    took: Option<Duration>,
}

impl Pacing {
    pub(super) fn began(&mut self, net: &mut Net) {
        self.last = Some(LastPush {
            began_at: net.now(),
            flush_time_before: net.counters().flush_time,
            took: None,
        });
        if let Some(timer) = self.timer.take() {
            net.disarm(timer);
        }
    }

    /// Notes what the last push took, as soon as that is known. To be called in every turn: what
    /// the loop writes later is not the push's.
    pub(super) fn settle(&mut self, net: &Net) {
        if let Some(last) = &mut self.last
            && last.took.is_none()
            && last.began_at < net.now()
            && !net.has_unflushed()
        {
            let flush_time = net.counters().flush_time;
            last.took = Some(flush_time.saturating_sub(last.flush_time_before));
        }
    }

    /// Whether a push may begin in this turn. If not, there will be a turn when it may.
    pub(super) fn allows(&mut self, net: &mut Net) -> bool {
        let Some(last) = self.last else {
            return true;
        };
        let pause = last.took.map_or(LONGEST_PAUSE, |took| {
            (took * TIMES_AS_LONG).clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
        });
        let next_at = last.began_at + pause;
        if next_at <= net.now() {
            return true;
        }
        if self.timer.is_none() {
            // While it is being written, what it takes is known soon.
            let look_at = last.took.map_or(net.now() + SHORTEST_PAUSE, |_| next_at);
            self.timer = Some(net.arm(look_at, TAG));
        }
        false
    }

    pub(super) fn timer_rang(&mut self, timer: TimerId) {
        if self.timer == Some(timer) {
            self.timer = None;
        }
    }
}
