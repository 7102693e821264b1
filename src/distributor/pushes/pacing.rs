//! Pacing: the start of the next push. It is immediate while pushing leaves time for other work.

use std::time::Duration;

use super::budget::Budget;
use crate::distributor::events::Stats;
use crate::distributor::peer::Peer;
use crate::reactor::{Net, Owner, SharedFrame, TimerId};
use crate::time::Time;

/// Cost of a push of mostly whole lists, as a multiple of the time that it takes. They take half of
/// the time at most: a mass join then costs a few lists, and not one list per join.
const LISTS_COST: f64 = 1.5;
/// Minimum time between two lists to plain peers: they lose lists that pile up while they are busy.
pub(super) const PLAIN_PAUSE: Duration = Duration::from_millis(10);
/// Maximum time that a push waits, even if the loop has other data to write.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// Time after which to look again for the end of the writing.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Tag of its timer.
pub(in crate::distributor) const TAG: u64 = 0;

#[derive(Debug, Default)]
pub(super) struct Pacing {
    budget: Budget,
    sessions: Class,
    plain_peers: Class,
    /// Time before which plain peers receive no push.
    plain_pause_ends_at: Time,
    /// The last push, until it is written.
    writing: Option<Writing>,
    /// Times of the loop at the end of the last turn.
    seen: Seen,
    timer: Option<(TimerId, Time)>,
}

/// Peers that are pushed to at the same time.
#[derive(Debug, Default)]
struct Class {
    /// Last revision that was pushed to all watching peers, except backlogged ones.
    pushed_revision: u64,
    /// The same for the last revision that changed anything listed.
    changed_revision: u64,
    /// Time since which a newer revision waits.
    waits_since: Option<Time>,
    /// Its wait is counted.
    is_counted: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Writing {
    /// A list that a joining node receives with the push of its own entry makes no push of lists.
    has_mostly_lists: bool,
    took: Duration,
}

#[derive(Debug, Default)]
struct Seen {
    turn_time: Duration,
    flush_time: Duration,
    /// Time that the push of the last turn took before it was written.
    encoding: Duration,
}

/// The classes of peers that a push is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Due {
    sessions: bool,
    plain_peers: bool,
}

/// Totals of a push that determine its cost.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Sent {
    pub(super) bytes_of_lists: usize,
    pub(super) bytes_of_changes: usize,
    /// Number of plain peers that received a list.
    pub(super) plain_peers: u64,
    /// Number of plain peers that watch the list.
    pub(super) watching_plain_peers: u64,
}

impl Pacing {
    /// Charges what was written since the last call. Returns the time that the last push took, once
    /// it is written. Call it in every turn.
    pub(super) fn settle(&mut self, net: &Net, owner: Owner) -> Option<Duration> {
        let (turn_time, flush_time) = (net.counters().turn_time, net.flush_time_of(owner));
        let turned = turn_time.saturating_sub(self.seen.turn_time);
        let flushed = flush_time.saturating_sub(self.seen.flush_time);
        let mut pushing = self.seen.encoding;
        if let Some(writing) = &mut self.writing {
            pushing += flushed;
            writing.took += pushing;
        }
        self.seen = Seen {
            turn_time,
            flush_time,
            encoding: Duration::ZERO,
        };
        self.budget
            .refill(net.now(), turned.saturating_sub(pushing));
        let writing = self.writing?;
        self.budget.charge(writing.cost(pushing));
        if net.has_unflushed(owner) {
            return None;
        }
        self.writing.take().map(|writing| writing.took)
    }

    /// Returns the classes of peers that are to be pushed this revision in this turn, if any. If
    /// others wait, a timer causes a turn in which they may be.
    pub(super) fn due(
        &mut self,
        net: &mut Net,
        owner: Owner,
        revision: u64,
        stats: &mut Stats,
    ) -> Option<Due> {
        let now = net.now();
        let is_writing = self.writing.is_some();
        let refilled_at = now + self.budget.wait();
        // The end of the writing is known in the turn after it.
        let free_at = refilled_at.max(if is_writing { now + LOOK_AGAIN } else { now });
        let pause_ends_at = self.plain_pause_ends_at;
        let mut due = Due::default();
        let mut look_at: Option<Time> = None;
        for (class, pause_ends_at, is_due) in [
            (&mut self.sessions, Time::ZERO, &mut due.sessions),
            (&mut self.plain_peers, pause_ends_at, &mut due.plain_peers),
        ] {
            if class.pushed_revision == revision {
                continue;
            }
            let latest = *class.waits_since.get_or_insert(now) + MAX_WAIT;
            let at = free_at.min(latest).max(pause_ends_at);
            if at <= now {
                *is_due = true;
                let has_waited = class.is_counted;
                let is_in_debt = refilled_at > now || (has_waited && self.budget.take_cut());
                stats.folds_by_debt += u64::from(is_in_debt);
                continue;
            }
            if !std::mem::replace(&mut class.is_counted, true) {
                stats.folds_by_budget += u64::from(refilled_at > now);
                stats.folds_by_plain_pause += u64::from(pause_ends_at > now);
            }
            look_at = Some(look_at.map_or(at, |other| other.min(at)));
        }
        if let Some(at) = look_at {
            self.look_at(net, owner, at);
        }
        (due != Due::default()).then_some(due)
    }

    fn look_at(&mut self, net: &mut Net, owner: Owner, at: Time) {
        if self.timer.is_none_or(|(_, rings_at)| rings_at > at) {
            let timer = (net.arm(owner, at, TAG), at);
            if let Some((later, _)) = self.timer.replace(timer) {
                net.disarm(later);
            }
        }
    }

    /// Records that a push of `revision` began in this turn. Call it once all of it is queued;
    /// `encoding` is the time that this took.
    pub(super) fn begin(
        &mut self,
        now: Time,
        due: Due,
        revision: u64,
        encoding: Duration,
        sent: Sent,
    ) {
        if due.sessions {
            self.sessions.begin(revision);
        }
        if due.plain_peers || sent.watching_plain_peers == 0 {
            self.plain_peers.begin(revision);
        }
        if sent.plain_peers > 0 {
            self.plain_pause_ends_at = now + PLAIN_PAUSE;
        }
        let writing = self.writing.get_or_insert_default();
        writing.has_mostly_lists = sent.bytes_of_lists > sent.bytes_of_changes;
        self.seen.encoding = encoding;
    }

    pub(super) fn timer_fired(&mut self, timer: TimerId) {
        self.timer.take_if(|(armed, _)| *armed == timer);
    }

    /// Records that a revision differs from the one before in nothing that is listed.
    pub(super) fn renewed(&mut self, revision: u64) {
        for class in [&mut self.sessions, &mut self.plain_peers] {
            if class.pushed_revision + 1 == revision {
                class.pushed_revision = revision;
            }
        }
    }

    /// Returns the last revision that was pushed to the class of this peer.
    pub(super) fn pushed_to(&self, peer: &Peer) -> u64 {
        self.class_of(peer).pushed_revision
    }

    /// Returns the last change that was pushed to the class of this peer.
    pub(super) fn changed_for(&self, peer: &Peer) -> u64 {
        self.class_of(peer).changed_revision
    }

    fn class_of(&self, peer: &Peer) -> &Class {
        if peer.session.is_some() {
            &self.sessions
        } else {
            &self.plain_peers
        }
    }

    /// Returns the last revision that was pushed to sessions.
    pub(super) fn pushed_to_sessions(&self) -> u64 {
        self.sessions.pushed_revision
    }
}

impl Class {
    fn begin(&mut self, revision: u64) {
        *self = Class {
            pushed_revision: revision,
            changed_revision: revision,
            ..Class::default()
        };
    }
}

impl Sent {
    /// Adds a frame to one peer.
    pub(super) fn add(&mut self, frame: &SharedFrame, is_list: bool) {
        if is_list {
            self.bytes_of_lists += frame.as_bytes().len();
        } else {
            self.bytes_of_changes += frame.as_bytes().len();
        }
    }
}

impl Due {
    pub(super) fn includes_sessions(self) -> bool {
        self.sessions
    }

    pub(super) fn includes(self, peer: &Peer) -> bool {
        if peer.session.is_some() {
            self.sessions
        } else {
            self.plain_peers
        }
    }
}

impl Writing {
    fn cost(self, took: Duration) -> Duration {
        if self.has_mostly_lists {
            took.mul_f64(LISTS_COST)
        } else {
            took
        }
    }
}
