//! The record of all calls and their outcomes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pilcrow::Time;
use pilcrow::node::CallId;

use crate::forger::FORGER;
use crate::model::ActorId;

/// The calls of all nodes: those that are open, and the peers that have served each.
#[derive(Default)]
pub struct Calls {
    open: BTreeMap<(ActorId, CallKey), Call>,
    served_by: BTreeMap<u64, Vec<ActorId>>,
    idempotent: BTreeSet<u64>,
    forged: BTreeSet<u64>,
    /// The deadlines of tasks, by the number of their request.
    pub tasks: BTreeMap<(ActorId, u64), Time>,
    /// Nothing happens that could close a connection.
    pub is_quiet: bool,
    drawn: u64,
    pub replies: u64,
    pub others: u64,
}

/// A call of a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum CallKey {
    Id(CallId),
    /// A call of a task, by the number of its request.
    Task(u64),
}

struct Call {
    nonce: u64,
    until: Time,
}

type Checked = Result<(), String>;

impl Calls {
    /// Returns a number that no other request has.
    pub fn draw(&mut self) -> u64 {
        self.drawn += 1;
        self.drawn
    }

    pub fn began(
        &mut self,
        actor: ActorId,
        call: CallKey,
        nonce: u64,
        until: Time,
        is_idempotent: bool,
    ) {
        if is_idempotent {
            self.idempotent.insert(nonce);
        }
        self.open.insert((actor, call), Call { nonce, until });
    }

    /// Records a request that a forger received.
    pub fn received_by_forger(&mut self, nonce: u64) {
        self.served_by.entry(nonce).or_default().push(FORGER);
    }

    /// Records a request that a node received.
    pub fn executed(&mut self, nonce: u64, by: ActorId) -> Checked {
        let served_by = self.served_by.entry(nonce).or_default();
        served_by.push(by);
        if self.forged.contains(&nonce) && !self.idempotent.contains(&nonce) {
            return Err(format!("request {nonce} of {by} was answered by a forger"));
        }
        if served_by.len() > 1 && !self.idempotent.contains(&nonce) {
            return Err(format!("request {nonce} was sent to {served_by:?}"));
        }
        Ok(())
    }

    pub fn replied(&mut self, actor: ActorId, call: CallKey, nonce: u64, by: ActorId) -> Checked {
        self.replies += 1;
        let open = self.end(actor, call)?;
        let has_served = self
            .served_by
            .get(&nonce)
            .is_some_and(|all| all.contains(&by));
        if open.nonce != nonce || !has_served {
            return Err(format!(
                "node {actor} called {} and received the results of {nonce} from {by}",
                open.nonce
            ));
        }
        Ok(())
    }

    /// Records the reply of a forger.
    pub fn forged(&mut self, actor: ActorId, call: CallKey, results: &str) -> Checked {
        let open = self.end(actor, call)?;
        match self.served_by.get(&open.nonce) {
            Some(by) if !by.contains(&FORGER) && !self.idempotent.contains(&open.nonce) => {
                Err(format!(
                    "node {actor} called {}, which {by:?} served, and received {results}",
                    open.nonce
                ))
            }
            // Its key may have been guessed before it was sent; then it must not be sent any more.
            _ => {
                self.forged.insert(open.nonce);
                Ok(())
            }
        }
    }

    pub fn ended(&mut self, actor: ActorId, call: CallKey) -> Checked {
        self.others += 1;
        self.end(actor, call).map(drop)
    }

    /// Records that the connection of a call was lost.
    pub fn lost(&mut self, actor: ActorId, call: CallKey) -> Checked {
        self.others += 1;
        let open = self.end(actor, call)?;
        let is_idempotent = self.idempotent.contains(&open.nonce);
        match self.served_by.get(&open.nonce) {
            Some(by) if self.is_quiet && !is_idempotent && !by.contains(&FORGER) => Err(format!(
                "{by:?} served request {} of node {actor}, which lost its connection for no reason",
                open.nonce
            )),
            _ => Ok(()),
        }
    }

    pub fn late(&mut self, actor: ActorId, call: CallKey, now: Time) -> Checked {
        self.others += 1;
        let open = self.end(actor, call)?;
        if now < open.until {
            return Err(format!(
                "request {} expired before its deadline",
                open.nonce
            ));
        }
        Ok(())
    }

    pub fn unavailable(&mut self, actor: ActorId, call: CallKey) -> Checked {
        self.others += 1;
        let open = self.end(actor, call)?;
        let is_idempotent = self.idempotent.contains(&open.nonce);
        match self.served_by.get(&open.nonce) {
            Some(by) if !is_idempotent => Err(format!(
                "request {} of node {actor} was unavailable, and served by {by:?}",
                open.nonce
            )),
            _ => Ok(()),
        }
    }

    /// Records the end of a call whose task was ended, or did not wait. It may have had its result.
    pub fn cancelled(&mut self, actor: ActorId, call: CallKey) {
        self.open.remove(&(actor, call));
    }

    fn end(&mut self, actor: ActorId, call: CallKey) -> Result<Call, String> {
        let open = self.open.remove(&(actor, call));
        open.ok_or_else(|| format!("a call of node {actor} ended twice: {call:?}"))
    }

    /// Drops the calls of a node that was killed.
    pub fn forget(&mut self, actor: ActorId) {
        self.open.retain(|(other, _), _| *other != actor);
        self.tasks.retain(|(other, _), _| *other != actor);
    }

    pub fn open_of(&self, actor: ActorId) -> usize {
        self.open
            .keys()
            .filter(|(other, _)| *other == actor)
            .count()
    }

    /// Returns the number of a call that should have ended.
    pub fn overdue(&self, actor: ActorId, now: Time, grace: Duration) -> Option<u64> {
        let of_actor = self.open.iter().filter(|((other, _), _)| *other == actor);
        of_actor
            .map(|(_, call)| call)
            .find(|call| now.saturating_since(call.until) > grace)
            .map(|call| call.nonce)
    }

    /// Returns the request of a task that should have ended with its deadline.
    pub fn overdue_task(&self, actor: ActorId, now: Time, grace: Duration) -> Option<u64> {
        let of_actor = self.tasks.range((actor, 0)..=(actor, u64::MAX));
        of_actor
            .filter(|(_, until)| now.saturating_since(**until) > grace)
            .map(|((_, nonce), _)| *nonce)
            .next()
    }
}
