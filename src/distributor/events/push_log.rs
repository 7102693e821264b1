//! The log of the last pushes: the number of peers that each was sent to, and that have
//! acknowledged it.

use std::collections::VecDeque;
use std::time::Duration;

use crate::distributor::peer::Peer;
use crate::histogram::Histogram;
use crate::registry::Registry;
use crate::time::Time;

/// A push of one or several changes to all watching peers.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Pushed {
    /// Revision that was pushed.
    pub revision: u64,
    /// Time at which it began.
    pub at: Time,
    /// Number of peers that it was sent to.
    pub sent: u64,
    /// Number of peers that were skipped because they had not read the previous list. They receive
    /// the newest list once they have.
    pub backlogged: u64,
    /// Names of some backlogged nodes.
    pub backlogged_names: Vec<Box<str>>,
    /// Number of sessions that watched the list, and so acknowledge it.
    pub total: u64,
    /// True if they acknowledge it at once, instead of with their next heartbeat.
    pub asks_for_ack: bool,
    /// Number of sessions that have acknowledged it.
    pub acked: u64,
    /// Time of the last acknowledgement so far.
    pub last_acked_at: Option<Time>,
    /// Number of watching peers that cannot acknowledge.
    pub untracked: u64,
}

/// Last pushes, the oldest first.
#[derive(Debug, Default)]
pub(in crate::distributor) struct PushLog {
    last: VecDeque<Pushed>,
    /// Time of the oldest change that is not pushed yet.
    changed_at: Option<Time>,
    samples: VecDeque<Sample>,
    /// Time from a change to its last acknowledgement, if that was requested at once.
    pub(super) ack_times: Histogram,
}

/// A push that all sessions are to acknowledge at once.
#[derive(Debug)]
struct Sample {
    revision: u64,
    /// Time of its oldest change.
    changed_at: Time,
    /// Number of sessions that have neither acknowledged it nor ended.
    awaited: u64,
}

/// Maximum number of pushes that are kept: as many as the journal keeps records, since each
/// recorded change is in at most one push.
pub(super) const MAX_PUSHES: usize = 10_000;
/// Maximum number of samples. A session that never acknowledges leaves its samples open: new
/// samples replace the oldest.
const MAX_SAMPLES: usize = 16;
/// Maximum number of backlogged or unacknowledged nodes that are named.
pub(in crate::distributor) const MAX_NAMES: usize = 8;

impl PushLog {
    /// Records a change that is not pushed yet.
    pub(super) fn changed(&mut self, now: Time) {
        self.changed_at.get_or_insert(now);
    }

    /// Records a push. One that sends the revision of the last push to other peers adds to it.
    pub(in crate::distributor) fn begin(&mut self, mut pushed: Pushed) {
        if let Some(changed_at) = self.changed_at.take()
            && pushed.asks_for_ack
            && pushed.total > 0
        {
            if self.samples.len() >= MAX_SAMPLES {
                self.samples.pop_front();
            }
            self.samples.push_back(Sample {
                revision: pushed.revision,
                changed_at,
                awaited: pushed.total,
            });
        }
        if let Some(last) = self.last.back_mut()
            && last.revision == pushed.revision
        {
            last.sent += pushed.sent;
            last.backlogged += pushed.backlogged;
            last.backlogged_names.append(&mut pushed.backlogged_names);
            last.backlogged_names.truncate(MAX_NAMES);
            return;
        }
        if self.last.len() >= MAX_PUSHES {
            self.last.pop_front();
        }
        self.last.push_back(pushed);
    }

    /// Records that a session which had applied `before` has applied `revision`.
    pub(in crate::distributor) fn acknowledged(&mut self, now: Time, before: u64, revision: u64) {
        let begin = self
            .last
            .partition_point(|pushed| pushed.revision <= before);
        for pushed in self.last.range_mut(begin..) {
            if pushed.revision > revision {
                break;
            }
            pushed.acked += 1;
            pushed.last_acked_at = Some(now);
        }
        self.await_one_less(now, before, revision);
    }

    /// Records that a session has applied these pushes, each the one of a revision.
    pub(in crate::distributor) fn acknowledged_each(
        &mut self,
        now: Time,
        revisions: impl Iterator<Item = u64>,
    ) {
        for revision in revisions {
            let place = self
                .last
                .binary_search_by_key(&revision, |pushed| pushed.revision);
            if let Some(pushed) = place.ok().and_then(|place| self.last.get_mut(place)) {
                pushed.acked += 1;
                pushed.last_acked_at = Some(now);
            }
            self.await_one_less(now, revision.saturating_sub(1), revision);
        }
    }

    /// Records the end of a session that had not applied these pushes.
    pub(in crate::distributor) fn subscriber_ended(
        &mut self,
        now: Time,
        revisions: impl Iterator<Item = u64>,
    ) {
        for revision in revisions {
            self.await_one_less(now, revision.saturating_sub(1), revision);
        }
    }

    /// Records the end of a session that had applied `before`.
    pub(in crate::distributor) fn session_ended(&mut self, now: Time, before: u64) {
        self.await_one_less(now, before, u64::MAX);
    }

    fn await_one_less(&mut self, now: Time, before: u64, up_to: u64) {
        let times = &mut self.ack_times;
        self.samples.retain_mut(|sample| {
            if before < sample.revision && sample.revision <= up_to {
                sample.awaited = sample.awaited.saturating_sub(1);
            }
            if sample.awaited == 0 {
                times.record(now.saturating_since(sample.changed_at));
            }
            sample.awaited > 0
        });
    }

    /// Returns the push that contained the change of this revision.
    pub(super) fn of_revision(&self, revision: u64) -> Option<&Pushed> {
        let oldest = self.last.front()?;
        // The push of the change may be evicted.
        if self.last.len() >= MAX_PUSHES && revision < oldest.revision {
            return None;
        }
        let place = self
            .last
            .partition_point(|pushed| pushed.revision < revision);
        self.last.get(place)
    }

    /// Returns the number of pushes, and of samples.
    pub(super) fn sizes(&self) -> [usize; 2] {
        [self.last.len(), self.samples.len()]
    }
}

impl Pushed {
    /// Records a peer that is skipped, with its name if `is_named`.
    pub(in crate::distributor) fn add_backlogged(
        &mut self,
        registry: &Registry,
        peer: &Peer,
        is_named: bool,
    ) {
        self.backlogged += 1;
        let name = peer.subject(registry).name;
        if is_named && !name.is_empty() && self.backlogged_names.len() < MAX_NAMES {
            self.backlogged_names.push(name.into());
        }
    }

    /// Returns the time from the push to the last acknowledgement so far.
    pub fn last_ack_after(&self) -> Option<Duration> {
        let last = self.last_acked_at?;
        Some(last.saturating_since(self.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    fn push(pushes: &mut PushLog, revision: u64, of: u64) {
        let pushed = Pushed {
            revision,
            at: at(revision * 10),
            sent: of,
            total: of,
            asks_for_ack: true,
            ..Pushed::default()
        };
        pushes.changed(at(revision * 10 - 5));
        pushes.begin(pushed);
    }

    #[test]
    fn counts_an_acknowledgement_for_all_earlier_pushes() {
        let mut pushes = PushLog::default();
        push(&mut pushes, 2, 2);
        push(&mut pushes, 5, 2);
        pushes.acknowledged(at(30), 0, 2);
        pushes.acknowledged(at(60), 0, 5);
        let acked = |pushes: &PushLog, revision| pushes.of_revision(revision).unwrap().acked;
        // Revisions of one push are acknowledged together.
        assert_eq!(
            [1, 2, 3, 5].map(|revision| acked(&pushes, revision)),
            [2, 2, 1, 1]
        );
        assert!(pushes.of_revision(6).is_none());
        assert_eq!(
            (pushes.ack_times.count, pushes.ack_times.sum),
            (1, Duration::from_millis(45))
        );
        pushes.acknowledged(at(80), 2, 5);
        assert_eq!(
            (pushes.ack_times.count, pushes.ack_times.sum),
            (2, Duration::from_millis(80))
        );
        assert_eq!(pushes.sizes()[1], 0);
    }

    #[test]
    fn does_not_wait_for_ended_sessions() {
        let mut pushes = PushLog::default();
        push(&mut pushes, 1, 2);
        pushes.acknowledged(at(20), 0, 1);
        pushes.session_ended(at(30), 1);
        assert_eq!(pushes.ack_times.count, 0, "it had acknowledged already");
        pushes.session_ended(at(40), 0);
        assert_eq!(pushes.ack_times.count, 1);
        let pushed = pushes.of_revision(1).unwrap();
        assert_eq!((pushed.acked, pushed.total), (1, 2));
    }

    #[test]
    fn measures_no_old_push_when_a_session_ends_that_never_acknowledged() {
        let mut pushes = PushLog::default();
        for revision in 1..=100 {
            push(&mut pushes, revision, 2);
            pushes.acknowledged(at(revision * 10 + 1), revision - 1, revision);
        }
        assert_eq!(pushes.ack_times.count, 0);
        pushes.session_ended(at(2_000), 0);
        assert_eq!(pushes.ack_times.count, MAX_SAMPLES as u64);
    }

    #[test]
    fn keeps_a_bounded_number_of_pushes() {
        let mut pushes = PushLog::default();
        for revision in 1..=10_100 {
            push(&mut pushes, revision, 1);
        }
        assert_eq!(pushes.sizes(), [MAX_PUSHES, MAX_SAMPLES]);
        assert!(pushes.of_revision(100).is_none(), "forgotten");
        assert_eq!(pushes.of_revision(101).unwrap().revision, 101);
    }
}
