//! Drains of nodes by request.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use super::context::{Answer, Context};
use super::request::PendingRequest;
use crate::distributor::{DrainId, MAX_DRAIN_WAIT};
use crate::http::ResponseTo;
use crate::registry::EntryId;

/// Requests that wait for the end of a drain.
#[derive(Debug, Default)]
pub(super) struct Drains(Vec<(Drain, ResponseTo)>);

/// A drain that has begun.
#[derive(Debug)]
pub(super) struct Drain {
    id: DrainId,
    entries: Vec<u64>,
}

const DEFAULT_WAIT_MILLIS: u64 = 1000;

impl Drain {
    /// Removes the requested nodes from the list.
    pub(super) fn begin(cx: &mut Context<'_>, request: &PendingRequest) -> Result<Drain, Answer> {
        // If a parameter were ignored, other nodes than intended would be removed.
        request.allow_params(&["name", "id", "wait_ms"])?;
        let millis = request.number("wait_ms")?.unwrap_or(DEFAULT_WAIT_MILLIS);
        let wait = Duration::from_millis(millis).min(MAX_DRAIN_WAIT);
        let (name, id) = (request.param("name"), request.number::<u64>("id")?);
        if name.is_none() && id.is_none() {
            let why = "missing parameter: use ?name=NAME for all nodes with this name, or \
                       ?id=NUMBER for one entry";
            return Err(Answer::text(400, why));
        }
        let registry = cx.distributor.registry();
        let entries: Vec<EntryId> = registry
            .iter()
            .filter(|(_, entry)| name.is_none_or(|name| *entry.keys.name == *name))
            .filter(|(other, _)| id.is_none_or(|id| other.number() == id))
            .map(|(id, _)| id)
            .collect();
        if entries.is_empty() {
            return Err(Answer::text(
                404,
                "no matching node: see /nodes for names and ids",
            ));
        }
        let id = cx.distributor.drain_entries(cx.net, &entries, wait);
        let entries = entries.iter().map(|id| id.number()).collect();
        Ok(Drain { id, entries })
    }
}

impl Drains {
    /// Responds to a request when its drain has ended.
    pub(super) fn wait(&mut self, drain: Drain, to: ResponseTo) {
        self.0.push((drain, to));
    }

    /// Responds to the requests whose drains have ended.
    pub(super) fn answer(&mut self, cx: &mut Context<'_>) {
        let done = cx.distributor.take_drained();
        // There may be as many late sessions as nodes.
        let is_any_late = done
            .iter()
            .any(|(_, drained)| !drained.unacknowledged.is_empty());
        let mut names = BTreeMap::new();
        if is_any_late {
            let entries = cx.distributor.registry().iter();
            names.extend(entries.map(|(id, entry)| (id.number(), &*entry.keys.name)));
        }
        let mut answers = Vec::new();
        for (id, drained) in done {
            let Some(place) = self.0.iter().position(|(drain, _)| drain.id == id) else {
                continue;
            };
            let (drain, to) = self.0.swap_remove(place);
            let late = drained.unacknowledged.iter().map(|id| {
                let name = names.get(id).copied().unwrap_or_default();
                json!({"id": id, "name": name})
            });
            let answer = Answer::json(&json!({
                "drained": drain.entries,
                "rev": drained.rev,
                "acked": drained.acked,
                "of": drained.total,
                "blind": drained.untracked,
                "late": late.collect::<Vec<_>>(),
            }));
            answers.push((to, answer));
        }
        for (to, answer) in answers {
            cx.respond(to, &answer);
        }
    }

    pub(super) fn forget(&mut self, to: &ResponseTo) {
        self.0.retain(|(_, waiting)| waiting != to);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
