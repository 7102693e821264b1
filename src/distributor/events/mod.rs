//! Events: each is emitted once, and counted, recorded and logged here.

mod escaped;
mod event;
mod journal;
mod push_log;

use std::collections::BTreeMap;

use tracing::{info, warn};

pub(crate) use escaped::{escaped, escaped_frame};
pub use event::{Event, Record};
pub(super) use event::{Subject, describe};
pub use journal::Journal;
pub(super) use push_log::MAX_NAMES;
pub use push_log::Pushed;

use crate::rate_limit::RateLimit;
use crate::reactor::CloseReason;
use crate::registry::Registry;
use crate::time::Time;

/// The subscribers of events: counters, the journal if there is one, and the rate-limited log.
#[derive(Debug, Default)]
pub(super) struct Events {
    pub(super) stats: Stats,
    pub(super) journal: Option<Box<Journal>>,
    /// Rate limits of log lines, by the phrase or a reason in it, and for some by errorcode.
    log_limits: BTreeMap<(&'static str, u8), RateLimit>,
}

/// Warnings per second of one phrase: peers can cause them at any rate.
const WARNINGS_PER_SECOND: u32 = 1;
/// Lines per second of other phrases: each join is a line, unless there are very many.
const LINES_PER_SECOND: u32 = 200;

impl Events {
    /// Counts, records and logs an event. Call it after the change of the registry.
    pub(super) fn emit(
        &mut self,
        now: Time,
        registry: &Registry,
        subject: Subject<'_>,
        event: Event,
    ) {
        let (entries, revision) = (registry.len(), registry.revision());
        let Subject { host, error, .. } = subject;
        let peer = subject.peer.map(tracing::field::display);
        let frame = || escaped_frame(subject.frame);
        /// Logs a constant phrase with fields, within the rate limit of its key.
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
            ($level:ident, $per_second:expr, $key:expr, $phrase:literal $(; $($fields:tt)*)?) => {{
                let new = || RateLimit::per_second($per_second);
                let limit = self.log_limits.entry($key).or_insert_with(new);
                if limit.allow(now) {
                    let name = Some(subject.name).filter(|name| !name.is_empty());
                    $level!(
                        peer,
                        name = name.map(escaped),
                        $($($fields)*,)?
                        suppressed = Some(limit.take_suppressed()).filter(|count| *count > 0),
                        $phrase
                    );
                }
            }};
        }
        if let Some(journal) = &mut self.journal
            && !event.as_str().is_empty()
        {
            journal.record(now, registry, subject, event);
        }
        match event {
            Event::Joined => log!(info "node joined"; %host, entries, revision),
            Event::Changed => log!(info "node changed"; %host, revision),
            Event::Claimed => log!(info "entry claimed"),
            Event::Superseded(before) => log!(info "connection superseded"; %before),
            Event::Left(cause, reason) => {
                let cause = cause.as_str();
                log!(info "node left"; %cause, reason, entries, revision);
            }
            Event::Suspected => {
                self.stats.suspects_held += 1;
                log!(info "node suspect");
            }
            Event::Recovered => log!(info "suspect recovered"),
            Event::Rejected(code) => {
                self.stats.rejected_packets += 1;
                let errorcode = code as u8;
                let key = ("packet rejected", errorcode);
                log!(warn key => "packet rejected"; errorcode, error, frame = frame());
            }
            Event::WrongProtocol(protocol) => {
                self.stats.wrong_protocol += 1;
                log!(warn "connection closed: wrong protocol"; protocol, bytes = frame());
            }
            Event::LimitExceeded(limit) => {
                log!(warn (limit, 0) => "connection closed: limit exceeded"; limit);
            }
            Event::WarmUpBegan | Event::WarmUpEnded | Event::Restored(_) => {}
            Event::NotListed => log!(warn "node not listed: invalid port"),
            Event::ConnectionsRefused {
                limit,
                refused,
                shed,
            } => log!(warn "connections refused"; limit, refused, shed),
            Event::AcceptFailed(failures) => {
                log!(warn "failed to accept connections, retrying"; failures);
            }
            Event::SelfPreservationEntered { silent, overdue } => {
                let late = overdue;
                log!(warn "mass heartbeat loss: entering self-preservation"; silent, late, entries);
            }
        }
    }
}

/// Counters of a [`Distributor`](super::Distributor). They only grow. Departures are counted by the
/// [`Registry`], by cause.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Accepted registrations, of new nodes and in place of old ones.
    pub registrations: u64,
    /// Packets rejected with an errorcode.
    pub rejected_packets: u64,
    /// Connections closed because they are not admitted: see [`Access`](super::Access).
    pub not_admitted: u64,
    /// Connections closed because they speak another protocol.
    pub wrong_protocol: u64,
    /// Pushes of one or several changes to all watching peers.
    pub pushes: u64,
    /// Pushes that waited because pushing takes too large a share of the time.
    pub folds_by_budget: u64,
    /// Pushes that waited for that reason as long as a push may, and then began.
    pub folds_by_debt: u64,
    /// Pushes to plain peers that waited for the minimum time between two lists to them.
    pub folds_by_plain_pause: u64,
    /// Lists and deltas queued for peers.
    pub lists_sent: u64,
    /// Pushes of a list that exceeds the read buffer of plain peers.
    pub oversized_pushes: u64,
    /// Nodes held as suspects, because they fell silent together with many others.
    pub suspects_held: u64,
    /// Registrations rejected because there are too many entries, or the list is too long.
    pub capacity_exceeded: u64,
    /// Connections that sent a frame of more than `Limits::max_frame_bytes`.
    pub frames_too_large: u64,
    /// Connections that did not end a frame within `Limits::frame_timeout`.
    pub frame_timeouts: u64,
    /// Connections that sent nothing within `Limits::first_byte_timeout`.
    pub first_byte_timeouts: u64,
    /// Connections that exceeded `Limits::max_unsent_bytes`, since they read too slowly.
    pub unsent_overflows: u64,
    /// Connections that read nothing within `Limits::write_timeout`.
    pub write_timeouts: u64,
    /// Connections closed because the unread old lists were too large in total.
    pub old_lists_cut: u64,
}

impl Stats {
    /// Returns the counter of the limit that a connection exceeded, if that is why it was closed.
    pub(super) fn limit(&mut self, reason: CloseReason) -> Option<&mut u64> {
        Some(match reason {
            CloseReason::FrameTooLarge => &mut self.frames_too_large,
            CloseReason::FrameTimeout => &mut self.frame_timeouts,
            CloseReason::NoFirstByte => &mut self.first_byte_timeouts,
            CloseReason::TooMuchUnsent => &mut self.unsent_overflows,
            CloseReason::WriteTimeout => &mut self.write_timeouts,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ErrorCode;

    #[test]
    fn limits_the_log_of_each_errorcode_separately() {
        let mut events = Events::default();
        for code in [ErrorCode::NotFound, ErrorCode::Busy, ErrorCode::Busy] {
            let (registry, subject) = (Registry::default(), Subject::default());
            events.emit(Time::ZERO, &registry, subject, Event::Rejected(code));
        }
        let allowed = |code: ErrorCode| {
            let limit = events.log_limits.get_mut(&("packet rejected", code as u8));
            limit.unwrap().take_suppressed()
        };
        assert_eq!([ErrorCode::NotFound, ErrorCode::Busy].map(allowed), [0, 1]);
    }
}
