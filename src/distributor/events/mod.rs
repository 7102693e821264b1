//! Events: each is emitted once, and counted, recorded and logged here.

mod escaped;
mod event;
mod histogram;
mod journal;
mod log_limiter;
mod push_log;
mod record;
mod stats;

use tracing::{debug, info, warn};

pub(crate) use escaped::Escaped;
pub(super) use event::{Event, Subject, describe};
pub use histogram::Histogram;
pub use journal::Journal;
pub(super) use push_log::MAX_NAMES;
pub use push_log::Pushed;
pub use record::{Record, RecordKind};
pub use stats::Stats;

use crate::registry::Registry;
use crate::time::Time;
use log_limiter::LogLimiter;

/// What becomes of events: counters, the journal if there is one, and the rate-limited log.
#[derive(Debug, Default)]
pub(super) struct Events {
    pub(super) stats: Stats,
    pub(super) journal: Option<Box<Journal>>,
    log: LogLimiter,
}

/// Lines per second of phrases that peers can cause at will.
const FEW: u32 = 1;
/// Lines per second of phrases about nodes: each join is a line, unless there are very many.
const MANY: u32 = 200;

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
        /// Logs a constant phrase with the subject and more fields, within its limit.
        macro_rules! log {
            ($level:ident, $limit:expr, $key:expr, $phrase:literal $(, $($field:tt)*)?) => {
                if let Some(line) = self.log.allow(now, $key, $limit) {
                    let name = Some(subject.name).filter(|name| !name.is_empty());
                    $level!(
                        peer = subject.peer.map(tracing::field::display),
                        name = name.map(|name| Escaped::text(name).to_string()),
                        $($($field)*,)?
                        suppressed = line.suppressed,
                        $phrase
                    );
                }
            };
            ($level:ident, $limit:expr, $phrase:literal $(, $($field:tt)*)?) => {
                log!($level, $limit, ($phrase, 0), $phrase $(, $($field)*)?)
            };
        }
        let mut record = |kind| {
            if let Some(journal) = &mut self.journal {
                journal.record(now, registry, subject, kind);
            }
        };
        match event {
            Event::Connected => {
                debug!(
                    peer = subject.peer.map(tracing::field::display),
                    "connection accepted"
                );
            }
            Event::WrongProtocol { protocol, bytes } => {
                self.stats.wrong_protocol += 1;
                record(RecordKind::WrongProtocol(protocol));
                let bytes = || Escaped::frame(bytes).to_string();
                log!(
                    warn,
                    FEW,
                    "connection closed: wrong protocol",
                    protocol,
                    bytes = bytes()
                );
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
                log!(
                    warn,
                    FEW,
                    key,
                    "packet rejected",
                    errorcode,
                    error = &*refusal.message,
                    frame = frame()
                );
            }
            Event::CapacityExceeded => self.stats.capacity_exceeded += 1,
            Event::Closed(reason) => {
                let limit = describe(reason);
                let Some(count) = self.stats.limit(reason) else {
                    let peer = subject.peer.map(tracing::field::display);
                    return debug!(peer, reason = limit, "connection closed");
                };
                *count += 1;
                record(RecordKind::LimitExceeded(limit));
                log!(
                    warn,
                    FEW,
                    (limit, 0),
                    "connection closed: limit exceeded",
                    limit
                );
            }
            Event::OldListsCut => {
                self.stats.old_lists_cut += 1;
                let limit = "old lists";
                record(RecordKind::LimitExceeded(limit));
                log!(
                    warn,
                    FEW,
                    (limit, 0),
                    "connection closed: limit exceeded",
                    limit
                );
            }
            Event::ConnectionsRefused {
                limit,
                refused,
                shed,
            } => log!(warn, FEW, "connections refused", limit, refused, shed),
            Event::AcceptFailed { failures } => {
                log!(
                    warn,
                    FEW,
                    "failed to accept connections, retrying",
                    failures
                );
            }
            Event::Joined { host } => {
                self.stats.registrations += 1;
                record(RecordKind::Joined);
                log!(info, MANY, "node joined", %host, entries, revision);
            }
            Event::Changed { host } => {
                self.stats.registrations += 1;
                record(RecordKind::Changed);
                log!(info, MANY, "node changed", %host, revision);
            }
            Event::Unchanged => self.stats.registrations += 1,
            Event::NotListed => log!(warn, FEW, "node not listed: invalid port"),
            Event::Claimed => {
                record(RecordKind::Claimed);
                log!(info, MANY, "entry claimed");
            }
            Event::Superseded { before } => {
                record(RecordKind::Superseded);
                log!(info, MANY, "connection superseded", %before);
            }
            Event::Left { cause, reason } => {
                record(RecordKind::Left(cause, reason));
                log!(info, MANY, "node left", %cause, reason, entries, revision);
            }
            Event::Suspected => {
                self.stats.suspects_held += 1;
                record(RecordKind::Suspect);
                log!(info, MANY, "node suspect");
            }
            Event::Recovered => {
                record(RecordKind::Recovered);
                log!(info, MANY, "suspect recovered");
            }
            Event::SelfPreservationEntered { silent, late } => {
                log!(
                    warn,
                    FEW,
                    "mass heartbeat loss: entering self-preservation",
                    silent,
                    late,
                    entries
                );
            }
            Event::Stalled(stalled) => {
                warn!(?stalled, "process stalled: waiting for nodes to reconnect");
            }
            Event::WarmUpBegan => record(RecordKind::WarmUpBegan),
            Event::WarmUpEnded => record(RecordKind::WarmUpEnded),
            Event::Restored { entries } => record(RecordKind::Restored(entries)),
            Event::Pushed(pushed) => {
                self.stats.pushes += 1;
                if let Some(journal) = &mut self.journal {
                    journal.pushes.begin(pushed);
                }
            }
            Event::PushOversized { bytes } => {
                self.stats.oversized_pushes += 1;
                if self.stats.oversized_pushes == 1 {
                    warn!(
                        bytes,
                        "list exceeds 64 KiB: plain Node.js peers may lose it"
                    );
                }
            }
            Event::PushWritten(took) => {
                if let Some(journal) = &mut self.journal {
                    journal.push_writing.record(took);
                }
            }
            Event::Acknowledged { from, to } => {
                if let Some(journal) = &mut self.journal {
                    journal.acknowledged(now, from, to);
                }
            }
            Event::SessionEnded { from } => {
                if let Some(journal) = &mut self.journal {
                    journal.session_ended(now, from);
                }
            }
        }
    }
}
