//! The events of a node, which sessions were notified of them, and which have not acknowledged.

use std::time::Duration;

use serde::Serialize;

use super::answer::Answer;
use super::event_json::EventJson;
use super::request::PendingRequest;
use crate::distributor::{Distributor, Pushed, UnacknowledgedSessions};

/// Returns the cost of looking through all events and at all sessions, about.
pub(super) fn cost(distributor: &Distributor) -> Duration {
    let entries = u32::try_from(distributor.registry().len()).unwrap_or(u32::MAX);
    Duration::from_micros(200) + Duration::from_nanos(50) * entries
}

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;

#[derive(Serialize)]
struct Why<'a> {
    rev: u64,
    /// The newest last.
    events: Vec<Explained<'a>>,
    /// Older events were left out because of the limit.
    more: bool,
}

#[derive(Serialize)]
struct Explained<'a> {
    #[serde(flatten)]
    event: EventJson<'a>,
    /// Absent for an event that did not change the list, `null` while the change is not pushed yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    push: Option<Option<Push<'a>>>,
}

#[derive(Serialize)]
struct Push<'a> {
    /// The revision that was sent; it may include later changes.
    rev: u64,
    /// Peers that were sent it at once.
    told: u64,
    /// Peers without a session, which do not acknowledge.
    blind: u64,
    /// Sessions that acknowledge, and how many did.
    of: u64,
    acked: u64,
    /// Whether they were asked to do so at once, and not with their next heartbeat.
    ack_asked: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_ack_after_ms: Option<f64>,
    /// Peers that had not read the one before, and were sent the newest later. Some names.
    backlogged: u64,
    backlogged_names: Vec<&'a str>,
    /// Connected sessions that have not acknowledged it yet. Some names.
    late: usize,
    late_names: Vec<&'a str>,
}

impl<'a> Push<'a> {
    fn new(pushed: &'a Pushed, late: &'a UnacknowledgedSessions<'_>) -> Push<'a> {
        let (late, late_names) = if pushed.acked >= pushed.total {
            (0, Vec::new())
        } else {
            let (late, names) = late.of(pushed.revision);
            (late, names.collect())
        };
        Push {
            rev: pushed.revision,
            told: pushed.sent,
            blind: pushed.untracked,
            of: pushed.total,
            acked: pushed.acked,
            ack_asked: pushed.asks_for_ack,
            last_ack_after_ms: pushed
                .last_ack_after()
                .map(|after| after.as_secs_f64() * 1000.0),
            backlogged: pushed.backlogged,
            backlogged_names: pushed.backlogged_names.iter().map(|name| &**name).collect(),
            late,
            late_names,
        }
    }
}

/// Returns the last events, of the node with this name or of all.
pub(super) fn answer(
    distributor: &Distributor,
    request: &PendingRequest,
) -> Result<Answer, Answer> {
    request.allow_params(&["name", "limit"])?;
    let limit = request.number("limit")?.unwrap_or(DEFAULT_LIMIT);
    let limit = limit.min(MAX_LIMIT);
    Ok(explain(distributor, request.param("name"), limit))
}

pub(super) fn explain(distributor: &Distributor, name: Option<&str>, limit: usize) -> Answer {
    let Some(journal) = distributor.journal() else {
        return Answer::text(503, "no journal is kept");
    };
    let late = distributor.view().unacknowledged();
    let is_of_node = |other: &str| name.is_none_or(|name| name == other);
    let mut matching = journal
        .records()
        .rev()
        .filter(|event| is_of_node(&event.name));
    let mut events: Vec<Explained<'_>> = matching
        .by_ref()
        .take(limit)
        .map(|event| Explained {
            event: EventJson::new(event, journal),
            push: event.changed_list.then(|| {
                let pushed = journal.push_of(event.revision);
                pushed.map(|pushed| Push::new(pushed, &late))
            }),
        })
        .collect();
    events.reverse();
    let why = Why {
        rev: distributor.registry().revision(),
        events,
        more: matching.next().is_some(),
    };
    Answer::encoded(&why)
}
