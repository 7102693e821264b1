//! Taking nodes out of the list by hand.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::answer::{Answer, JSON};
use super::desk::Asked;
use crate::distributor::{Distributor, DrainId};
use crate::http::{ResponseTo, Server};
use crate::reactor::Net;
use crate::registry::EntryId;

/// Who waits for what came of a drain.
#[derive(Debug, Default)]
pub(super) struct Drains(Vec<Waiting>);

#[derive(Debug)]
struct Waiting {
    id: DrainId,
    to: ResponseTo,
    entries: Vec<u64>,
}

/// What came of it.
#[derive(Serialize)]
struct Results<'a> {
    /// The entries that left.
    drained: &'a [u64],
    rev: u64,
    acked: u64,
    of: u64,
    blind: u64,
    late: Vec<Late<'a>>,
}

#[derive(Serialize)]
struct Late<'a> {
    id: u64,
    name: &'a str,
}

/// No answer waits longer than this for others.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(60);

impl Drains {
    /// Takes the nodes out of the list. Who asked is answered when everybody knows.
    pub(super) fn begin(
        &mut self,
        net: &mut Net,
        distributor: &mut Distributor,
        to: ResponseTo,
        asked: &Asked,
    ) -> Result<(), (ResponseTo, Answer)> {
        // Another node than was meant would leave.
        if let Err(answer) = asked.knows_only(&["name", "id", "wait_ms"]) {
            return Err((to, answer));
        }
        let wait = match asked.pair("wait_ms").unwrap_or("1000").parse() {
            Ok(millis) => Duration::from_millis(millis).min(LONGEST_WAIT),
            Err(_) => return Err((to, Answer::text(400, "wait_ms is a number of milliseconds"))),
        };
        let id = match asked.pair("id").map(str::parse) {
            Some(Err(_)) => return Err((to, Answer::text(400, "id is the number of an entry"))),
            Some(Ok(id)) => Some(id),
            None => None,
        };
        let name = asked.pair("name");
        if name.is_none() && id.is_none() {
            let why = "whom? ?name=NAME is all nodes with this name, ?id=NUMBER one entry";
            return Err((to, Answer::text(400, why)));
        }
        let entries: Vec<EntryId> = distributor
            .registry()
            .iter()
            .filter(|(_, entry)| name.is_none_or(|name| *entry.name == *name))
            .filter(|(other, _)| id.is_none_or(|id: u64| other.number() == id))
            .map(|(id, _)| id)
            .collect();
        if entries.is_empty() {
            return Err((to, Answer::text(404, "there is no such node")));
        }
        let id = distributor.drain_entries(net, &entries, wait);
        let entries = entries.iter().map(|id| id.number()).collect();
        self.0.push(Waiting { id, to, entries });
        Ok(())
    }

    /// Answers those whose drain is over.
    pub(super) fn answer(
        &mut self,
        net: &mut Net,
        server: &mut Server,
        distributor: &mut Distributor,
    ) {
        let done = distributor.take_drained();
        // They may be as many as there are nodes.
        let names: BTreeMap<u64, &str> =
            match done.iter().any(|(_, drained)| !drained.late.is_empty()) {
                true => {
                    let entries = distributor.registry().iter();
                    entries
                        .map(|(id, entry)| (id.number(), &*entry.name))
                        .collect()
                }
                false => BTreeMap::new(),
            };
        for (id, drained) in done {
            let Some(place) = self.0.iter().position(|waiting| waiting.id == id) else {
                continue;
            };
            let waiting = self.0.swap_remove(place);
            let late = drained.late.iter().map(|id| Late {
                id: *id,
                name: names.get(id).copied().unwrap_or_default(),
            });
            let results = Results {
                drained: &waiting.entries,
                rev: drained.rev,
                acked: drained.acked,
                of: drained.of,
                blind: drained.blind,
                late: late.collect(),
            };
            let answer = Answer {
                status: 200,
                content_type: JSON,
                more: &[],
                body: serde_json::to_vec(&results).unwrap_or_default(),
            };
            answer.give(|response| server.http(net).respond(waiting.to, response));
        }
    }

    pub(super) fn forget(&mut self, to: &ResponseTo) {
        self.0.retain(|waiting| waiting.to != *to);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
