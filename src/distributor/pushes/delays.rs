//! Lists to single peers that are due later, in the order of their times.

use std::collections::BTreeSet;
use std::time::Duration;

use super::pacing::{PLAIN_PAUSE, TAG};
use crate::reactor::{ConnId, Net, Owner, TimerId};
use crate::time::Time;

/// Time that the first list of a connection waits for its first frame. Sessions register at once,
/// and need no other list than their own.
const FIRST_FRAME_WAIT: Duration = Duration::from_millis(20);

/// Connections that wait, with one timer for all of them.
#[derive(Debug, Default)]
pub(super) struct Delays {
    /// Connections that were closed meanwhile are skipped.
    waiting: BTreeSet<(Time, ConnId, Delay)>,
    timer: Option<(TimerId, Time)>,
}

/// The reason why a connection waits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Delay {
    /// It has opened, and its first list waits for its first frame.
    FirstFrame,
    /// It was sent a list as a plain peer, and the next one waits until it has read that.
    PlainPause,
}

impl Delays {
    pub(super) fn begin(&mut self, now: Time, conn: ConnId, delay: Delay) {
        let wait = match delay {
            Delay::FirstFrame => FIRST_FRAME_WAIT,
            Delay::PlainPause => PLAIN_PAUSE,
        };
        self.waiting.insert((now + wait, conn, delay));
    }

    /// Returns the next connection whose wait is over. Call it until there is none.
    pub(super) fn pop(&mut self, now: Time) -> Option<(ConnId, Delay)> {
        let (at, conn, delay) = self.waiting.first().copied()?;
        (at <= now).then(|| {
            self.waiting.pop_first();
            (conn, delay)
        })
    }

    /// Arms the timer for the next connection. Call it at the end of each turn.
    pub(super) fn arm(&mut self, net: &mut Net, owner: Owner) {
        let Some((at, ..)) = self.waiting.first().copied() else {
            return;
        };
        if self.timer.is_none_or(|(_, rings_at)| rings_at > at) {
            let timer = (net.arm(owner, at, TAG), at);
            if let Some((later, _)) = self.timer.replace(timer) {
                net.disarm(later);
            }
        }
    }

    pub(super) fn timer_fired(&mut self, timer: TimerId) {
        self.timer.take_if(|(armed, _)| *armed == timer);
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}
