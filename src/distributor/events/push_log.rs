//! The last pushes: how many peers were sent each, and how many have acknowledged it.

use std::collections::VecDeque;
use std::time::Duration;

use super::histogram::Histogram;
use crate::time::Time;

/// A push of one change, or several together, to all watching peers.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Pushed {
    /// The revision that it led to.
    pub revision: u64,
    /// When it began.
    pub at: Time,
    /// Peers that it was sent to.
    pub sent: u64,
    /// Peers that were skipped because they had not read the previous list. They are sent the
    /// newest list once they have.
    pub backlogged: u64,
    /// The names of some backlogged nodes.
    pub backlogged_names: Vec<Box<str>>,
    /// Sessions that watched the list, and so acknowledge it.
    pub total: u64,
    /// Whether they were asked to acknowledge at once. Otherwise their next heartbeat does.
    pub asks_for_ack: bool,
    /// Sessions that have acknowledged it since.
    pub acked: u64,
    /// When the last of them did.
    pub last_acked_at: Option<Time>,
    /// Watching peers that cannot acknowledge.
    pub untracked: u64,
}

/// The last pushes, the oldest first.
#[derive(Debug, Default)]
pub(super) struct PushLog {
    last: VecDeque<Pushed>,
    /// When the oldest change happened that is not pushed yet.
    changed_at: Option<Time>,
    samples: VecDeque<Sample>,
}

/// A push that all sessions were asked to acknowledge at once.
#[derive(Debug)]
struct Sample {
    revision: u64,
    changed_at: Time,
    unacknowledged: u64,
}

/// As many as records are kept: each change is in one push at most.
const MAX_PUSHES: usize = super::record::MAX_RECORDS;
/// A session that never acknowledges leaves samples open. They are evicted by later ones.
const MAX_SAMPLES: usize = 16;
/// How many backlogged or unacknowledged nodes are named.
pub(in crate::distributor) const MAX_NAMES: usize = 8;

impl PushLog {
    pub(super) fn changed(&mut self, now: Time) {
        self.changed_at.get_or_insert(now);
    }

    pub(super) fn begin(&mut self, pushed: Pushed) {
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
                unacknowledged: pushed.total,
            });
        }
        if self.last.len() >= MAX_PUSHES {
            self.last.pop_front();
        }
        self.last.push_back(pushed);
    }

    /// Records that a session which had applied `before` has applied `revision`.
    pub(super) fn acked(&mut self, now: Time, before: u64, revision: u64, times: &mut Histogram) {
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
        self.close_samples(now, before, revision, times);
    }

    /// Records the end of a session that had applied `before`.
    pub(super) fn lost(&mut self, now: Time, before: u64, times: &mut Histogram) {
        self.close_samples(now, before, u64::MAX, times);
    }

    fn close_samples(&mut self, now: Time, before: u64, up_to: u64, times: &mut Histogram) {
        self.samples.retain_mut(|sample| {
            if before < sample.revision && sample.revision <= up_to {
                sample.unacknowledged = sample.unacknowledged.saturating_sub(1);
            }
            if sample.unacknowledged == 0 {
                times.record(now.saturating_since(sample.changed_at));
            }
            sample.unacknowledged > 0
        });
    }

    /// Returns the push that contained the change which made this revision.
    pub(super) fn of_revision(&self, revision: u64) -> Option<&Pushed> {
        let forgotten = self.last.front().is_some_and(|oldest| {
            // The change may have been in one that is forgotten.
            self.last.len() >= MAX_PUSHES && revision < oldest.revision
        });
        let place = self
            .last
            .partition_point(|pushed| pushed.revision < revision);
        self.last.get(place).filter(|_| !forgotten)
    }

    pub(super) fn len(&self) -> usize {
        self.last.len()
    }

    pub(super) fn samples(&self) -> usize {
        self.samples.len()
    }
}

impl Pushed {
    /// Returns how long after the push the last acknowledgement so far came.
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
    fn an_acknowledgement_covers_all_earlier_pushes() {
        let (mut pushes, mut times) = (PushLog::default(), Histogram::default());
        push(&mut pushes, 2, 2);
        push(&mut pushes, 5, 2);
        pushes.acked(at(30), 0, 2, &mut times);
        pushes.acked(at(60), 0, 5, &mut times);
        let acked = |pushes: &PushLog, revision| pushes.of_revision(revision).unwrap().acked;
        // What was told together has one answer.
        assert_eq!(
            [1, 2, 3, 5].map(|revision| acked(&pushes, revision)),
            [2, 2, 1, 1]
        );
        assert!(pushes.of_revision(6).is_none());
        assert_eq!((times.count(), times.sum()), (1, Duration::from_millis(45)));
        pushes.acked(at(80), 2, 5, &mut times);
        assert_eq!((times.count(), times.sum()), (2, Duration::from_millis(80)));
        assert_eq!(pushes.samples(), 0);
    }

    #[test]
    fn does_not_wait_for_lost_sessions() {
        let (mut pushes, mut times) = (PushLog::default(), Histogram::default());
        push(&mut pushes, 1, 2);
        pushes.acked(at(20), 0, 1, &mut times);
        pushes.lost(at(30), 1, &mut times);
        assert_eq!(times.count(), 0, "it had acknowledged already");
        pushes.lost(at(40), 0, &mut times);
        assert_eq!(times.count(), 1);
        let pushed = pushes.of_revision(1).unwrap();
        assert_eq!((pushed.acked, pushed.total), (1, 2));
    }

    #[test]
    fn it_is_bounded() {
        let mut pushes = PushLog::default();
        for revision in 1..=10_100 {
            push(&mut pushes, revision, 1);
        }
        assert_eq!((pushes.len(), pushes.samples()), (MAX_PUSHES, MAX_SAMPLES));
        assert!(pushes.of_revision(100).is_none(), "forgotten");
        assert_eq!(pushes.of_revision(101).unwrap().revision, 101);
    }
}
