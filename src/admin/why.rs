//! What happened to a node, who was told of it, and who is late.

use std::time::Duration;

use serde::Serialize;

use super::answer::Answer;
use super::events::Told;
use crate::distributor::{Distributor, Pushed, UnacknowledgedSessions};

/// What looking through the whole ring, and at all sessions, takes, about.
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
    /// There are older ones beyond the limit.
    more: bool,
}

#[derive(Serialize)]
struct Explained<'a> {
    #[serde(flatten)]
    event: Told<'a>,
    /// Absent for what changed nothing in the list, `null` while nobody is told yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    push: Option<Option<Push<'a>>>,
}

#[derive(Serialize)]
struct Push<'a> {
    /// The revision that was sent; it may hold later changes, too.
    rev: u64,
    /// How many were sent it at once.
    told: u64,
    /// Peers that can't say what they have applied.
    blind: u64,
    /// Sessions that say it, and how many did.
    of: u64,
    acked: u64,
    /// Whether they were to say it at once, and not with their next heartbeat.
    ack_asked: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_ack_after_ms: Option<f64>,
    /// Who had not read the one before, and got the newest later. Some names.
    backlogged: u64,
    backlogged_names: Vec<&'a str>,
    /// Who is connected and has not said it yet. Some names.
    late: usize,
    late_names: Vec<&'a str>,
}

impl<'a> Push<'a> {
    fn new(pushed: &'a Pushed, late: &'a UnacknowledgedSessions<'_>) -> Push<'a> {
        let (late, late_names) = match pushed.acked >= pushed.total {
            true => (0, Vec::new()),
            false => {
                let (late, names) = late.of(pushed.revision);
                (late, names.collect())
            }
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

/// The last events, of the node with this name or of all.
pub(super) fn answer(
    distributor: &Distributor,
    name: Option<&str>,
    limit: Option<usize>,
) -> Answer {
    let Some(journal) = distributor.journal() else {
        return Answer::text(503, "nothing is journal");
    };
    let limit = limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
    let late = distributor.unacknowledged();
    let is_wanted = |of: &str| name.is_none_or(|name| name == of);
    let mut matching = journal
        .records()
        .rev()
        .filter(|event| is_wanted(&event.name));
    let mut events: Vec<Explained<'_>> = matching
        .by_ref()
        .take(limit)
        .map(|event| Explained {
            event: Told::new(event, journal),
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
    Answer::json(serde_json::to_vec(&why).unwrap_or_default())
}
