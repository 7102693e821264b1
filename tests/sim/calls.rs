//! Every call, and what has become of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pilcrow::Time;
use pilcrow::node::CallId;

use crate::forger::FORGER;
use crate::model::ActorId;

/// The calls of all nodes: those that are open, and who has served what.
#[derive(Default)]
pub struct Calls {
    open: BTreeMap<(ActorId, CallId), Call>,
    served_by: BTreeMap<u64, Vec<ActorId>>,
    idempotent: BTreeSet<u64>,
    forged: BTreeSet<u64>,
    drawn: u64,
    pub replies: u64,
    pub others: u64,
}

struct Call {
    nonce: u64,
    until: Time,
}

type Ended = Result<(), String>;

impl Calls {
    /// A number that no other request has.
    pub fn draw(&mut self) -> u64 {
        self.drawn += 1;
        self.drawn
    }

    pub fn began(
        &mut self,
        actor: ActorId,
        call: CallId,
        nonce: u64,
        until: Time,
        is_idempotent: bool,
    ) {
        if is_idempotent {
            self.idempotent.insert(nonce);
        }
        self.open.insert((actor, call), Call { nonce, until });
    }

    /// The one that answers everything was given a request.
    pub fn forger_asked(&mut self, nonce: u64) {
        self.served_by.entry(nonce).or_default().push(FORGER);
    }

    /// A node was given a request.
    pub fn executed(&mut self, nonce: u64, by: ActorId) -> Ended {
        let served_by = self.served_by.entry(nonce).or_default();
        served_by.push(by);
        if self.forged.contains(&nonce) && !self.idempotent.contains(&nonce) {
            return Err(format!("request {nonce} was answered by another than {by}"));
        }
        if served_by.len() > 1 && !self.idempotent.contains(&nonce) {
            return Err(format!("request {nonce} was given to {served_by:?}"));
        }
        Ok(())
    }

    pub fn replied(&mut self, actor: ActorId, call: CallId, nonce: u64, by: ActorId) -> Ended {
        self.replies += 1;
        let asked = self.end(actor, call)?;
        let has_served = self
            .served_by
            .get(&nonce)
            .is_some_and(|all| all.contains(&by));
        if asked.nonce != nonce || !has_served {
            return Err(format!(
                "node {actor} asked {} and was answered {nonce} by {by}",
                asked.nonce
            ));
        }
        Ok(())
    }

    /// An answer that no node gives.
    pub fn forged(&mut self, actor: ActorId, call: CallId, results: &str) -> Ended {
        let asked = self.end(actor, call)?;
        match self.served_by.get(&asked.nonce) {
            Some(by) if !by.contains(&FORGER) && !self.idempotent.contains(&asked.nonce) => {
                Err(format!(
                    "node {actor} asked {}, which {by:?} served, and was answered {results}",
                    asked.nonce
                ))
            }
            // It may have been guessed before it came, and then nobody else is given it.
            _ => {
                self.forged.insert(asked.nonce);
                Ok(())
            }
        }
    }

    pub fn ended(&mut self, actor: ActorId, call: CallId) -> Ended {
        self.others += 1;
        self.end(actor, call).map(drop)
    }

    pub fn late(&mut self, actor: ActorId, call: CallId, now: Time) -> Ended {
        self.others += 1;
        let asked = self.end(actor, call)?;
        if now < asked.until {
            return Err(format!(
                "the time of {} was over before it was",
                asked.nonce
            ));
        }
        Ok(())
    }

    pub fn nobody(&mut self, actor: ActorId, call: CallId) -> Ended {
        self.others += 1;
        let asked = self.end(actor, call)?;
        let is_idempotent = self.idempotent.contains(&asked.nonce);
        match self.served_by.get(&asked.nonce) {
            Some(by) if !is_idempotent => Err(format!(
                "request {} of node {actor} was given to nobody, and served by {by:?}",
                asked.nonce
            )),
            _ => Ok(()),
        }
    }

    fn end(&mut self, actor: ActorId, call: CallId) -> Result<Call, String> {
        let asked = self.open.remove(&(actor, call));
        asked.ok_or_else(|| format!("a call of node {actor} ended that was not open: {call:?}"))
    }

    /// A node is gone, and its calls with it.
    pub fn forget(&mut self, actor: ActorId) {
        self.open.retain(|(other, _), _| *other != actor);
    }

    pub fn open_of(&self, actor: ActorId) -> usize {
        self.open
            .keys()
            .filter(|(other, _)| *other == actor)
            .count()
    }

    /// A call that should have ended.
    pub fn overdue(&self, actor: ActorId, now: Time, grace: Duration) -> Option<u64> {
        let of_actor = self.open.iter().filter(|((other, _), _)| *other == actor);
        of_actor
            .map(|(_, call)| call)
            .find(|call| now.saturating_since(call.until) > grace)
            .map(|call| call.nonce)
    }
}
