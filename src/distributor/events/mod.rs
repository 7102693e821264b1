//! Events: each is emitted once, and counted, recorded and logged here.

mod escaped;
mod event;
mod histogram;
mod journal;
mod push_log;
mod record;
mod stats;

use std::collections::BTreeMap;

use tracing::{debug, info, warn};

pub(crate) use escaped::Escaped;
pub(super) use event::{Event, Subject, describe};
pub use histogram::Histogram;
pub use journal::Journal;
pub(super) use push_log::MAX_NAMES;
pub use push_log::Pushed;
pub use record::{Record, RecordKind};
pub use stats::Stats;

use crate::rate_limit::RateLimit;
use crate::registry::Registry;
use crate::time::Time;

/// What becomes of events: counters, the journal if there is one, and the rate-limited log.
#[derive(Debug, Default)]
pub(super) struct Events {
    pub(super) stats: Stats,
    pub(super) journal: Option<Box<Journal>>,
    /// By phrase, or a reason in one, and by errorcode where each has a limit of its own.
    log_limits: BTreeMap<(&'static str, u8), RateLimit>,
}

/// Warnings per second of one phrase: peers can cause them at will.
const WARNINGS_PER_SECOND: u32 = 1;
/// Lines per second of other phrases: each join is a line, unless there are very many.
const LINES_PER_SECOND: u32 = 200;

impl Events {
    /// Counts, records and logs an event. The registry has the change already.
    pub(super) fn emit(
        &mut self,
        now: Time,
        registry: &Registry,
        subject: Subject<'_>,
        event: Event<'_>,
    ) {
        let (entries, revision) = (registry.len(), registry.revision());
        let peer = subject.peer.map(tracing::field::display);
        /// Logs a constant phrase with the subject and more fields, within the limit of its key.
        macro_rules! log {
            (warn $key:expr => $phrase:literal $($fields:tt)*) => {
                log!(warn, WARNINGS_PER_SECOND, $key, $phrase $($fields)*)
            };
            (warn $phrase:literal $($fields:tt)*) => {
                log!(warn, WARNINGS_PER_SECOND, ($phrase, 0), $phrase $($fields)*)
            };
            (info $phrase:literal $($fields:tt)*) => {
                log!(info, LINES_PER_SECOND, ($phrase, 0), $phrase $($fields)*)
            };
            ($level:ident, $per_second:expr, $key:expr, $phrase:literal $(; $($fields:tt)*)?) => {
                let new = || RateLimit::per_second($per_second);
                let limit = self.log_limits.entry($key).or_insert_with(new);
                if limit.allow(now) {
                    let name = Some(subject.name).filter(|name| !name.is_empty());
                    $level!(
                        peer,
                        name = name.map(|name| Escaped::text(name).to_string()),
                        $($($fields)*,)?
                        suppressed = Some(limit.take_suppressed()).filter(|count| *count > 0),
                        $phrase
                    );
                }
            };
        }
        let mut record = |kind| {
            if let Some(journal) = &mut self.journal {
                journal.record(now, registry, subject, kind);
            }
        };
        match event {
            Event::Connected => debug!(peer, "connection accepted"),
            Event::WrongProtocol { protocol, bytes } => {
                self.stats.wrong_protocol += 1;
                record(RecordKind::WrongProtocol(protocol));
                let bytes = || Escaped::frame(bytes).to_string();
                log!(warn "connection closed: wrong protocol"; protocol, bytes = bytes());
            }
            Event::Rejected {
                refusal,
                frame,
                is_unadmitted,
            } => {
                self.stats.rejected_packets += 1;
                self.stats.not_admitted += u64::from(is_unadmitted);
                record(RecordKind::Rejected(refusal.code));
                let errorcode = refusal.code as u8;
                let key = ("packet rejected", errorcode);
                let frame = || Escaped::frame(frame).to_string();
                let error = &*refusal.message;
                log!(warn key => "packet rejected"; errorcode, error, frame = frame());
            }
            Event::CapacityExceeded => self.stats.capacity_exceeded += 1,
            Event::Closed(reason) => match self.stats.limit(reason) {
                Some(count) => {
                    *count += 1;
                    let limit = describe(reason);
                    record(RecordKind::LimitExceeded(limit));
                    log!(warn (limit, 0) => "connection closed: limit exceeded"; limit);
                }
                None => debug!(peer, reason = describe(reason), "connection closed"),
            },
            Event::OldListsCut => {
                self.stats.old_lists_cut += 1;
                let limit = "old lists";
                record(RecordKind::LimitExceeded(limit));
                log!(warn (limit, 0) => "connection closed: limit exceeded"; limit);
            }
            Event::ConnectionsRefused {
                limit,
                refused,
                shed,
            } => {
                log!(warn "connections refused"; limit, refused, shed);
            }
            Event::AcceptFailed { failures } => {
                log!(warn "failed to accept connections, retrying"; failures);
            }
            Event::Joined { host } => {
                self.stats.registrations += 1;
                record(RecordKind::Joined);
                log!(info "node joined"; %host, entries, revision);
            }
            Event::Changed { host } => {
                self.stats.registrations += 1;
                record(RecordKind::Changed);
                log!(info "node changed"; %host, revision);
            }
            Event::Unchanged => self.stats.registrations += 1,
            Event::NotListed => {
                log!(warn "node not listed: invalid port");
            }
            Event::Claimed => {
                record(RecordKind::Claimed);
                log!(info "entry claimed");
            }
            Event::Superseded { before } => {
                record(RecordKind::Superseded);
                log!(info "connection superseded"; %before);
            }
            Event::Left { cause, reason } => {
                record(RecordKind::Left(cause, reason));
                log!(info "node left"; cause = %cause.as_str(), reason, entries, revision);
            }
            Event::Suspected => {
                self.stats.suspects_held += 1;
                record(RecordKind::Suspect);
                log!(info "node suspect");
            }
            Event::Recovered => {
                record(RecordKind::Recovered);
                log!(info "suspect recovered");
            }
            Event::SelfPreservationEntered { silent, late } => {
                log!(warn "mass heartbeat loss: entering self-preservation"; silent, late, entries);
            }
            Event::Stalled(stalled) => {
                warn!(?stalled, "process stalled: waiting for nodes to reconnect");
            }
            Event::WarmUpBegan => record(RecordKind::WarmUpBegan),
            Event::WarmUpEnded => record(RecordKind::WarmUpEnded),
            Event::Restored { entries } => record(RecordKind::Restored(entries)),
            Event::PushOversized { bytes } => {
                self.stats.oversized_pushes += 1;
                if self.stats.oversized_pushes == 1 {
                    warn!(
                        bytes,
                        "list exceeds 64 KiB: plain Node.js peers may lose it"
                    );
                }
            }
            Event::Pushed(pushed) => {
                self.stats.pushes += 1;
                self.in_journal(|journal| journal.pushes.begin(pushed));
            }
            Event::PushWritten(took) => {
                self.in_journal(|journal| journal.push_writing.record(took));
            }
            Event::Acknowledged { from, to } => {
                self.in_journal(|journal| journal.acknowledged(now, from, to));
            }
            Event::SessionEnded { from } => {
                self.in_journal(|journal| journal.session_ended(now, from));
            }
        }
    }

    fn in_journal(&mut self, record: impl FnOnce(&mut Journal)) {
        if let Some(journal) = &mut self.journal {
            record(journal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{ErrorCode, Refusal};

    #[test]
    fn each_errorcode_has_a_log_limit_of_its_own() {
        let mut events = Events::default();
        for code in [ErrorCode::NotFound, ErrorCode::Busy, ErrorCode::Busy] {
            let refusal = &Refusal::new(code, "");
            let rejected = Event::Rejected {
                refusal,
                frame: b"",
                is_unadmitted: false,
            };
            let registry = Registry::default();
            events.emit(Time::ZERO, &registry, Subject::default(), rejected);
        }
        let allowed = |code: ErrorCode| {
            let limit = events.log_limits.get_mut(&("packet rejected", code as u8));
            limit.unwrap().take_suppressed()
        };
        assert_eq!([ErrorCode::NotFound, ErrorCode::Busy].map(allowed), [0, 1]);
    }
}
