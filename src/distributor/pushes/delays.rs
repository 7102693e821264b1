//! Lists to single peers that are due later, in the order of their times.

use std::collections::VecDeque;
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
    /// Those that have opened, the first due first. One that was closed meanwhile stays until then.
    first_frames: VecDeque<(Time, ConnId)>,
    /// Those of plain peers that were sent a list, the first due first.
    plain_pauses: VecDeque<(Time, ConnId)>,
    timer: Option<(TimerId, Time)>,
}

/// The reason why a connection waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Delay {
    /// It has opened, and its first list waits for its first frame.
    FirstFrame,
    /// It was sent a list as a plain peer, and the next one waits until it has read that.
    PlainPause,
}

impl Delays {
    pub(super) fn begin(&mut self, now: Time, conn: ConnId, delay: Delay) {
        match delay {
            Delay::FirstFrame => self.first_frames.push_back((now + FIRST_FRAME_WAIT, conn)),
            Delay::PlainPause => self.plain_pauses.push_back((now + PLAIN_PAUSE, conn)),
        }
    }

    /// Returns the next connection whose wait is over. Call it until there is none.
    pub(super) fn pop(&mut self, now: Time) -> Option<(ConnId, Delay)> {
        if let Some(conn) = pop_due(&mut self.first_frames, now) {
            return Some((conn, Delay::FirstFrame));
        }
        let conn = pop_due(&mut self.plain_pauses, now)?;
        Some((conn, Delay::PlainPause))
    }

    /// Arms the timer for the next connection. Call it at the end of each turn.
    pub(super) fn arm(&mut self, net: &mut Net, owner: Owner) {
        let queues = [&self.first_frames, &self.plain_pauses];
        let next = queues.into_iter().filter_map(VecDeque::front);
        let Some(at) = next.map(|(at, _)| *at).min() else {
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
        self.first_frames.len() + self.plain_pauses.len()
    }
}

fn pop_due(queue: &mut VecDeque<(Time, ConnId)>, now: Time) -> Option<ConnId> {
    let (at, conn) = queue.front().copied()?;
    if at > now {
        return None;
    }
    queue.pop_front();
    Some(conn)
}
