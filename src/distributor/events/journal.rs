//! The event journal, for an administrator: what happened, which peers were sent it, and how long
//! that took. All of it is bounded.

use std::collections::BTreeMap;
use std::time::Duration;

use super::event::Subject;
use super::histogram::Histogram;
use super::push_log::{PushLog, Pushed};
use super::record::{Record, RecordKind, Ring};
use crate::registry::{EntryId, Registry};
use crate::time::Time;

/// The last events and pushes of a [`Distributor`](super::super::Distributor).
#[derive(Debug, Default)]
pub struct Journal {
    ring: Ring,
    /// The revision after the last record.
    recorded_revision: u64,
    pub(super) pushes: PushLog,
    joined_at: BTreeMap<EntryId, Time>,
    join_to_last_ack: Histogram,
    pub(super) push_writing: Histogram,
    turns: Histogram,
    /// The total of the turns in it, and of those before the journal.
    turn_time: Duration,
    /// The time of day at [`Time::ZERO`].
    unix_time_at_zero: Duration,
}

impl Journal {
    pub(in crate::distributor) fn new(unix_time_at_zero: Duration, turn_time: Duration) -> Journal {
        Journal {
            unix_time_at_zero,
            turn_time,
            ..Journal::default()
        }
    }

    /// Returns the time of day at `at` as the time since 1970 in UTC. It is always the same for the
    /// same moment, however the clock was set since.
    pub fn unix_time_of(&self, at: Time) -> Duration {
        self.unix_time_at_zero + at.saturating_since(Time::ZERO)
    }

    /// Returns the last 10,000 records, the oldest first.
    pub fn records(&self) -> impl DoubleEndedIterator<Item = &Record> {
        self.ring.iter()
    }

    /// Returns the records after this number, the oldest first. `None` if some of them are
    /// forgotten, or if there is no such number yet.
    pub fn records_since(&self, number: u64) -> Option<impl DoubleEndedIterator<Item = &Record>> {
        self.ring.since(number)
    }

    /// Returns the number of the last record, 0 if there is none.
    pub fn last_number(&self) -> u64 {
        self.ring.last_number()
    }

    /// Returns the number of events that were not recorded, because clients cause too many of
    /// their kind.
    pub fn suppressed(&self) -> u64 {
        self.ring.suppressed
    }

    /// Returns the push that contained the change which made this revision. `None` if it is not
    /// pushed yet, or forgotten.
    pub fn push_of(&self, revision: u64) -> Option<&Pushed> {
        self.pushes.of_revision(revision)
    }

    /// Returns when the node joined.
    pub fn joined_at(&self, entry: EntryId) -> Option<Time> {
        self.joined_at.get(&entry).copied()
    }

    /// Returns the times from a change until the last session had applied it, of at most one change
    /// per second.
    pub fn join_to_last_ack(&self) -> &Histogram {
        &self.join_to_last_ack
    }

    /// Returns the time that writing each push took.
    pub fn push_writing(&self) -> &Histogram {
        &self.push_writing
    }

    /// Returns the times that turns of the loop took, without waiting.
    pub fn turns(&self) -> &Histogram {
        &self.turns
    }

    /// Returns how many records, pushes, samples and times of joining are kept.
    pub(in crate::distributor) fn sizes(&self) -> [usize; 4] {
        let (pushes, samples) = (self.pushes.len(), self.pushes.samples());
        [self.ring.len(), pushes, samples, self.joined_at.len()]
    }

    /// Records a turn, given the time of all turns so far.
    pub(in crate::distributor) fn record_turn(&mut self, turn_time: Duration) {
        let before = std::mem::replace(&mut self.turn_time, turn_time);
        self.turns.record(turn_time.saturating_sub(before));
    }

    /// Records an event. The registry has the change already.
    pub(super) fn record(
        &mut self,
        now: Time,
        registry: &Registry,
        subject: Subject<'_>,
        kind: RecordKind,
    ) {
        match (kind, subject.entry) {
            (RecordKind::Joined, Some(id)) => {
                self.joined_at.insert(id, now);
            }
            (RecordKind::Left(..), Some(id)) => {
                self.joined_at.remove(&id);
            }
            (RecordKind::Restored(_), _) => {
                self.joined_at
                    .extend(registry.iter().map(|(id, _)| (id, now)));
            }
            _ => {}
        }
        let revision = registry.revision();
        let changed_list = kind.is_change() && revision > self.recorded_revision;
        self.recorded_revision = revision;
        if changed_list {
            self.pushes.changed(now);
        }
        self.ring.push(Record {
            number: 0,
            at: now,
            kind,
            peer: subject.peer,
            name: subject.name.into(),
            entry: subject.entry,
            revision,
            changed_list,
        });
    }

    pub(super) fn acknowledged(&mut self, now: Time, from: u64, to: u64) {
        self.pushes.acked(now, from, to, &mut self.join_to_last_ack);
    }

    pub(super) fn session_ended(&mut self, now: Time, from: u64) {
        self.pushes.lost(now, from, &mut self.join_to_last_ack);
    }
}
