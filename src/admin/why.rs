//! The events of a node, and the sessions that received and acknowledged them.

use std::time::Duration;

use serde::Serialize;

use super::context::{Answer, Context};
use super::event_json::EventJson;
use super::request::PendingRequest;
use crate::distributor::{Distributor, Pushed, UnacknowledgedSessions};

/// Approximate cost of iterating over all events, and over all sessions.
const COST: Duration = Duration::from_micros(200);
const COST_PER_ENTRY: Duration = Duration::from_nanos(50);

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;

#[derive(Serialize)]
struct Why<'a> {
    rev: u64,
    /// Events, the newest last.
    events: Vec<Explained<'a>>,
    /// The limit excluded older events.
    more: bool,
}

#[derive(Serialize)]
struct Explained<'a> {
    #[serde(flatten)]
    event: EventJson<'a>,
    /// Absent if the event did not change the list, `null` until the change is pushed.
    #[serde(skip_serializing_if = "Option::is_none")]
    push: Option<Option<Push<'a>>>,
}

#[derive(Serialize)]
struct Push<'a> {
    /// The revision that was sent; it may include later changes.
    rev: u64,
    /// Peers that received it at once.
    told: u64,
    /// Peers without a session, which do not acknowledge.
    blind: u64,
    /// Number of sessions that are to acknowledge it.
    of: u64,
    /// Number of sessions that have acknowledged it.
    acked: u64,
    /// True if the acknowledgement was requested at once, and not with the next heartbeat.
    ack_asked: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_ack_after_ms: Option<f64>,
    /// Number of backlogged peers, which receive a newer revision once they have read the last one.
    backlogged: u64,
    /// Some of their names.
    backlogged_names: Vec<&'a str>,
    /// Number of connected sessions that have not acknowledged it yet.
    late: usize,
    /// Some of their names.
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
pub(super) fn answer(cx: &mut Context<'_>, request: &PendingRequest) -> Result<Answer, Answer> {
    request.allow_params(&["name", "limit"])?;
    let limit = request.number("limit")?.unwrap_or(DEFAULT_LIMIT);
    let entries = u32::try_from(cx.distributor.registry().len()).unwrap_or(u32::MAX);
    cx.cost += COST + COST_PER_ENTRY * entries;
    let name = request.param("name");
    Ok(explain(cx.distributor, name, limit.min(MAX_LIMIT)))
}

pub(super) fn explain(distributor: &Distributor, name: Option<&str>, limit: usize) -> Answer {
    let Some(journal) = distributor.journal() else {
        return Answer::text(503, "no journal: the admin API does not listen yet");
    };
    let late = distributor.view().unacknowledged();
    let records = journal.records().rev();
    let mut matching = records.filter(|event| name.is_none_or(|name| name == &*event.name));
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
    Answer::json(&why)
}
