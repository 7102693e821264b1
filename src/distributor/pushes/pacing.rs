//! Pacing: the start of the next push. It is immediate when all is quiet, and under churn late
//! enough to leave time for other work.

use std::time::Duration;

use crate::reactor::{Net, Owner, TimerId};
use crate::time::Time;

/// Time that a push of mostly whole lists reserves before the next push, as a multiple of the time
/// to write it. A mass join then costs a few lists, and not one list per join.
const LIST_TAKES_UP: u32 = 4;
/// The same for a push of mostly changes. It saves less to wait here: each change is sent once to
/// each peer in any case.
const CHANGES_TAKE_UP: u32 = 2;
/// Number of pushes that may begin ahead of the reserved time: a join and a leave after it are both
/// sent at once.
const PUSHES_AHEAD: u32 = 2;
/// Minimum pause after a push to plain peers: they lose lists that pile up while they are busy.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
/// Maximum time that a push waits, even if the loop has other data to write.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Tag of its timer.
pub(in crate::distributor) const TAG: u64 = 0;

#[derive(Debug, Default)]
pub(super) struct Pacing {
    last: Option<LastPush>,
    /// End of the time that the pushes so far reserve.
    taken_until: Time,
    timer: Option<(TimerId, Time)>,
}

#[derive(Clone, Copy, Debug)]
struct LastPush {
    began_at: Time,
    /// Number of entries at that time.
    entries: usize,
    /// Flush time of the owner before the push. Its growth until all is written is the cost of the
    /// push.
    flush_time_before: Duration,
    /// Time that it reserves; `None` until it is written.
    takes_up: Option<Duration>,
    sent: Sent,
}

/// Totals of a push that determine the time of the next one.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Sent {
    pub(super) bytes_of_lists: usize,
    pub(super) bytes_of_changes: usize,
    /// Number of plain peers that received a list.
    pub(super) plain_peers: u64,
}

impl Pacing {
    /// Records that a push began in this turn, before any of it is written.
    pub(super) fn begin(&mut self, net: &mut Net, owner: Owner, entries: usize, sent: Sent) {
        self.last = Some(LastPush {
            began_at: net.now(),
            entries,
            flush_time_before: net.flush_time_of(owner),
            takes_up: None,
            sent,
        });
        if let Some((timer, _)) = self.timer.take() {
            net.disarm(timer);
        }
    }

    /// Returns the time that writing the last push took, as soon as it is known. Returns it once.
    /// Call it in every turn: data that the loop writes later is not part of the push.
    pub(super) fn settle(&mut self, net: &Net, owner: Owner) -> Option<Duration> {
        if let Some(last) = &mut self.last
            && last.takes_up.is_none()
            && last.began_at < net.now()
            && !net.has_unflushed()
        {
            let flush_time = net.flush_time_of(owner);
            let took = flush_time.saturating_sub(last.flush_time_before);
            let takes_up = (took * last.sent.takes_up()).min(LONGEST_PAUSE);
            last.takes_up = Some(takes_up);
            self.taken_until = self.taken_until.max(last.began_at) + takes_up;
            return Some(took);
        }
        None
    }

    /// Returns whether a push of this many entries may begin in this turn. Otherwise a timer causes
    /// a turn in which it may.
    pub(super) fn allows(&mut self, net: &mut Net, owner: Owner, entries: usize) -> bool {
        let Some(last) = self.last else {
            return true;
        };
        let next_at = self.next_at(&last, entries);
        if next_at <= net.now() {
            return true;
        }
        // The cost of the last push is known soon after it is written.
        let look_at = last
            .takes_up
            .map_or(net.now() + SHORTEST_PAUSE, |_| next_at);
        if self.timer.is_none_or(|(_, rings_at)| rings_at > look_at) {
            let timer = (net.arm(owner, look_at, TAG), look_at);
            if let Some((later, _)) = self.timer.replace(timer) {
                net.disarm(later);
            }
        }
        false
    }

    /// Returns the time at which a push of this many entries may begin. If most entries have left,
    /// the next push is shorter than the last one, and waits only for its share.
    fn next_at(&self, last: &LastPush, entries: usize) -> Time {
        let latest = last.began_at + LONGEST_PAUSE;
        let Some(takes_up) = last.takes_up else {
            return latest;
        };
        let earliest = if last.sent.plain_peers == 0 {
            last.began_at
        } else {
            last.began_at + SHORTEST_PAUSE
        };
        let ahead = self.taken_until.saturating_since(last.began_at);
        let waits = ahead.saturating_sub(takes_up * PUSHES_AHEAD);
        let share = entries as f64 / last.entries.max(1) as f64;
        let waits = waits.mul_f64(share.min(1.0));
        (last.began_at + waits).clamp(earliest, latest)
    }

    pub(super) fn timer_fired(&mut self, timer: TimerId) {
        self.timer.take_if(|(armed, _)| *armed == timer);
    }
}

impl Sent {
    /// Returns the factor between the duration of writing it and the time that it reserves. The
    /// list that a joining node receives with the push of its own entry does not count: that is
    /// still a push of changes.
    fn takes_up(self) -> u32 {
        if self.bytes_of_changes > self.bytes_of_lists {
            CHANGES_TAKE_UP
        } else {
            LIST_TAKES_UP
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    const LISTS: Sent = Sent {
        bytes_of_lists: 2,
        bytes_of_changes: 1,
        plain_peers: 0,
    };
    const CHANGES: Sent = Sent {
        bytes_of_lists: 1,
        bytes_of_changes: 2,
        plain_peers: 0,
    };

    /// Returns the start of each push, as early as allowed, if each takes this long.
    fn begin(took: Duration, sent: Sent, count: usize) -> Vec<Duration> {
        let mut pacing = Pacing::default();
        let mut now = Time::ZERO + 1000 * MS;
        let began = now;
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(now.saturating_since(began));
            let takes_up = took * sent.takes_up();
            let last = LastPush {
                began_at: now,
                entries: 100,
                flush_time_before: Duration::ZERO,
                takes_up: Some(takes_up),
                sent,
            };
            pacing.taken_until = pacing.taken_until.max(now) + takes_up;
            now = pacing.next_at(&last, 100).max(now + took);
        }
        all
    }

    #[test]
    fn limits_pushes_of_lists_to_a_quarter_of_the_time_after_early_ones() {
        let began = begin(5 * MS, LISTS, 6);
        assert_eq!(began, [0, 5, 10, 20, 40, 60].map(|at| at * MS));
    }

    #[test]
    fn limits_pushes_of_changes_to_half_of_the_time() {
        let began = begin(5 * MS, CHANGES, 6);
        assert_eq!(began, [0, 5, 10, 15, 20, 30].map(|at| at * MS));
    }

    #[test]
    fn leaves_plain_peers_time_to_read() {
        let to_one = Sent {
            plain_peers: 1,
            ..CHANGES
        };
        let began = begin(MS / 10, to_one, 4);
        assert_eq!(began, [0, 10, 20, 30].map(|at| at * MS));
        assert!(begin(MS / 10, LISTS, 4)[3] < 10 * MS);
    }

    #[test]
    fn delays_a_push_of_few_entries_by_its_share() {
        let last = LastPush {
            began_at: Time::ZERO,
            entries: 1000,
            flush_time_before: Duration::ZERO,
            takes_up: Some(100 * MS),
            sent: LISTS,
        };
        let pacing = Pacing {
            taken_until: Time::ZERO + 400 * MS,
            ..Pacing::default()
        };
        let waits = |entries| pacing.next_at(&last, entries).saturating_since(Time::ZERO);
        assert_eq!(waits(1000), 200 * MS);
        assert_eq!(waits(2000), 200 * MS);
        assert_eq!(waits(10), 2 * MS);
    }

    #[test]
    fn delays_no_push_by_more_than_a_second() {
        let began = begin(900 * MS, LISTS, 5);
        let gaps = began.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(gaps.into_iter().all(|gap| gap <= LONGEST_PAUSE));
    }
}
