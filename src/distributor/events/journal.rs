//! The event journal, for the admin API: events, the peers that each change was sent to, and the
//! time that this took. All collections are bounded.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::event::{Event, Record, Subject};
use super::push_log::{MAX_PUSHES, PushLog, Pushed};
use crate::histogram::Histogram;
use crate::rate_limit::RateLimit;
use crate::registry::{EntryId, Registry};
use crate::time::Time;

/// The last events and pushes of a [`Distributor`](super::super::Distributor).
#[derive(Debug, Default)]
pub struct Journal {
    /// Records, the oldest first.
    records: VecDeque<Record>,
    last_number: u64,
    noise: Option<RateLimit>,
    /// Number of events that were not recorded, because clients cause too many of their kind.
    pub suppressed: u64,
    /// Revision after the last record.
    recorded_revision: u64,
    pub(in crate::distributor) pushes: PushLog,
    joined_at: BTreeMap<EntryId, Time>,
    /// Time that writing each push took.
    pub push_writing: Histogram,
    /// Time that each turn of the loop took, without waiting.
    pub turns: Histogram,
    /// Total of all turns, including those before the journal.
    turn_time: Duration,
    /// Time of day at [`Time::ZERO`].
    unix_time_at_zero: Duration,
}

/// Maximum number of records.
const MAX_RECORDS: usize = MAX_PUSHES;
/// Maximum rate of events that any client can cause: they must not evict events of nodes.
const MAX_NOISE_PER_SECOND: u32 = 20;

impl Journal {
    pub(in crate::distributor) fn new(unix_time_at_zero: Duration, turn_time: Duration) -> Journal {
        Journal {
            turn_time,
            unix_time_at_zero,
            ..Journal::default()
        }
    }

    /// Returns the time of day at `at`, as the time since 1970 in UTC. Clock changes after the
    /// start have no effect.
    pub fn unix_time_of(&self, at: Time) -> Duration {
        self.unix_time_at_zero + at.saturating_since(Time::ZERO)
    }

    /// Returns the last 10,000 records, the oldest first.
    pub fn records(&self) -> impl DoubleEndedIterator<Item = &Record> {
        self.records.iter()
    }

    /// Returns the records after this number, the oldest first. `None` if some of them are evicted,
    /// or if there is no such number yet.
    pub fn records_since(&self, number: u64) -> Option<impl DoubleEndedIterator<Item = &Record>> {
        let count = usize::try_from(self.last_number.checked_sub(number)?).ok()?;
        let begin = self.records.len().checked_sub(count)?;
        Some(self.records.range(begin..))
    }

    /// Returns the number of the last record, 0 if there is none.
    pub fn last_number(&self) -> u64 {
        self.last_number
    }

    /// Returns the push that contained the change of this revision. `None` if the change is not
    /// pushed yet, or evicted.
    pub fn push_of(&self, revision: u64) -> Option<&Pushed> {
        self.pushes.of_revision(revision)
    }

    /// Returns the time at which the node joined.
    pub fn joined_at(&self, entry: EntryId) -> Option<Time> {
        self.joined_at.get(&entry).copied()
    }

    /// Returns the times from a change to its last acknowledgement. At most one change per second
    /// is sampled.
    pub fn join_to_last_ack(&self) -> &Histogram {
        &self.pushes.ack_times
    }

    /// Returns the number of records, pushes, samples and join times.
    pub(in crate::distributor) fn sizes(&self) -> [usize; 4] {
        let [pushes, samples] = self.pushes.sizes();
        [self.records.len(), pushes, samples, self.joined_at.len()]
    }

    /// Records a turn. `turn_time` is the total of all turns so far.
    pub(in crate::distributor) fn record_turn(&mut self, turn_time: Duration) {
        let before = std::mem::replace(&mut self.turn_time, turn_time);
        self.turns.record(turn_time.saturating_sub(before));
    }

    /// Records an event. Call it after the change of the registry.
    pub(super) fn record(
        &mut self,
        now: Time,
        registry: &Registry,
        subject: Subject<'_>,
        event: Event,
    ) {
        match (event, subject.entry) {
            (Event::Joined, Some(id)) => {
                self.joined_at.insert(id, now);
            }
            (Event::Left(..), Some(id)) => {
                self.joined_at.remove(&id);
            }
            (Event::Restored(_), _) => {
                self.joined_at
                    .extend(registry.iter().map(|(id, _)| (id, now)));
            }
            _ => {}
        }
        let is_change = matches!(event, Event::Joined | Event::Changed | Event::Left(..));
        // Any client that reaches the port can cause these at any rate.
        let is_noise = matches!(
            event,
            Event::Rejected(_) | Event::WrongProtocol(_) | Event::LimitExceeded(_)
        );
        let revision = registry.revision();
        let changed_list = is_change && revision > self.recorded_revision;
        self.recorded_revision = revision;
        if changed_list {
            self.pushes.changed(now);
        }
        let new = || RateLimit::per_second(MAX_NOISE_PER_SECOND);
        if is_noise && !self.noise.get_or_insert_with(new).allow(now) {
            self.suppressed += 1;
            return;
        }
        if self.records.len() >= MAX_RECORDS {
            self.records.pop_front();
        }
        self.last_number += 1;
        self.records.push_back(Record {
            number: self.last_number,
            at: now,
            event,
            peer: subject.peer,
            name: subject.name.into(),
            entry: subject.entry,
            revision,
            changed_list,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(journal: &mut Journal, event: Event, millis: u64) {
        let (now, registry) = (Time::from_millis(millis), Registry::default());
        journal.record(now, &registry, Subject::default(), event);
    }

    fn journal() -> Journal {
        Journal::new(Duration::ZERO, Duration::ZERO)
    }

    #[test]
    fn keeps_the_last_records_and_reports_a_gap() {
        let mut journal = journal();
        assert_eq!(journal.records_since(0).unwrap().count(), 0);
        assert!(journal.records_since(1).is_none());
        for _ in 0..MAX_RECORDS + 5 {
            record(&mut journal, Event::Joined, 0);
        }
        assert_eq!(journal.records().count(), MAX_RECORDS);
        let last = journal.last_number();
        let since = |number| Some(journal.records_since(number)?.map(|record| record.number));
        assert_eq!(since(last).unwrap().count(), 0);
        assert_eq!(since(last - 2).unwrap().next(), Some(last - 1));
        assert_eq!(since(5).unwrap().count(), MAX_RECORDS);
        assert!(since(4).is_none());
        assert!(since(last + 1).is_none());
    }

    #[test]
    fn limits_events_that_clients_cause() {
        let mut journal = journal();
        record(&mut journal, Event::Joined, 0);
        let noise = Event::WrongProtocol("HTTP");
        for number in 0..100_000 {
            record(&mut journal, noise, number / 100);
        }
        assert_eq!(journal.records().count(), 21);
        assert_eq!(journal.suppressed, 100_000 - 20);
        record(&mut journal, noise, 1000);
        record(&mut journal, Event::Joined, 1000);
        assert_eq!(journal.records().count(), 23);
    }
}
