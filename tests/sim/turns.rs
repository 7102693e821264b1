//! Schedule: turns of each process, and the passing of time.

use std::time::Duration;

use pilcrow::Time;
use pilcrow::testing::sim::{HostId, ProcessId};

use crate::fleet::{Actor, Fleet, Running};
use crate::model::ActorId;

/// The most turns of one seed: more are a loop that makes no progress.
const TURNS: u64 = 1_000_000;
/// The most turns at one point in time: more are a loop that never waits.
const TURNS_AT_ONCE: u32 = 20_000;

impl Fleet {
    fn host_runs(&self, host: HostId, process: ProcessId) -> bool {
        !self.dark.contains(&host) && !self.paused.contains_key(&process)
    }

    /// Returns when a reactor is to be turned next, if it may run.
    fn wake_time(
        &self,
        process: ProcessId,
        next_deadline: Option<Time>,
        rests_until: Time,
    ) -> Option<Time> {
        if self.world().is_ready(process) {
            return Some(rests_until);
        }
        let ahead = self.world().ahead(process);
        let deadline = next_deadline?.saturating_since(Time::ZERO + ahead);
        Some((Time::ZERO + deadline).max(rests_until))
    }

    fn wake_time_of(&self, actor: &Actor) -> Option<Time> {
        match &actor.running {
            Running::Node(node) if self.host_runs(actor.host, node.id) => {
                self.wake_time(node.id, node.reactor.next_deadline(), actor.rests_until)
            }
            Running::Raw(raw) if self.host_runs(actor.host, raw.process.id()) => {
                if self.world().is_ready(raw.process.id()) {
                    return Some(actor.rests_until);
                }
                raw.due.map(|due| due.max(actor.rests_until))
            }
            _ => None,
        }
    }

    fn distributor_wake_time(&self) -> Option<Time> {
        let distributor = self.distributor.as_ref()?;
        if !self.host_runs(self.distributor_host, distributor.id) {
            return None;
        }
        let deadline = distributor.reactor.next_deadline();
        self.wake_time(distributor.id, deadline, self.distributor_rests_until)
    }

    /// Returns when the thread that writes the state file has work.
    fn state_file_wake_time(&self) -> Option<Time> {
        let distributor = self.distributor.as_ref()?;
        let state_file = distributor.state_file.as_ref()?;
        if !self.host_runs(self.distributor_host, distributor.id) {
            return None;
        }
        let times = [state_file.next_at(), state_file.ends_at()];
        times.into_iter().flatten().min()
    }

    /// Runs the thread that writes the state file, and ends a Distributor that has stopped.
    fn keep_state(&mut self) {
        let now = self.now();
        let Some(distributor) = &mut self.distributor else {
            return;
        };
        if self.dark.contains(&self.distributor_host) || self.paused.contains_key(&distributor.id) {
            return;
        }
        if let Some(file) = &mut distributor.state_file {
            file.work(now);
        }
        if distributor.has_stopped(now) {
            self.log("the Distributor has stopped");
            self.distributor = None;
        }
    }

    /// Runs everything that is due before `end`.
    pub fn run_until(&mut self, end: Time) {
        let mut turns_at_once = 0;
        let mut last = self.now();
        loop {
            self.world().advance(self.now());
            self.do_later();
            self.keep_state();
            let now = self.now();
            if self.is_broken() || now >= end {
                return;
            }
            turns_at_once = if now > last { 0 } else { turns_at_once + 1 };
            last = now;
            if turns_at_once > TURNS_AT_ONCE || self.turns > TURNS {
                return self.broken(7, "a process is turned without end and makes no progress");
            }
            let mut next = end;
            let mut due: Vec<Option<ActorId>> = Vec::new();
            let mut consider = |actor, at: Option<Time>| match at {
                Some(at) if at <= now => due.push(actor),
                Some(at) => next = next.min(at),
                None => {}
            };
            consider(None, self.distributor_wake_time());
            for (id, actor) in self.actors.iter().enumerate() {
                consider(Some(id), self.wake_time_of(actor));
            }
            if due.is_empty() {
                let next = next.min(self.state_file_wake_time().unwrap_or(next));
                let next = next.min(self.world().next_event().unwrap_or(next));
                let next = next.min(self.later.first_key_value().map_or(next, |(at, _)| at.0));
                self.world().advance(next);
                continue;
            }
            self.random.shuffle(&mut due);
            for actor in due {
                self.turn(actor);
            }
        }
    }

    pub fn run_for(&mut self, time: Duration) {
        self.run_until(self.now() + time);
    }

    fn turn(&mut self, actor: Option<ActorId>) {
        self.turns += 1;
        let now = self.now();
        let rest = Duration::from_micros(self.random.between(1, 200));
        let Some(id) = actor else {
            self.distributor_rests_until = now + rest;
            let Some(distributor) = &mut self.distributor else {
                return;
            };
            if let Err(error) = distributor.turn() {
                self.broken(7, format!("the Distributor's loop ends: {error}"));
            }
            return;
        };
        let Some(actor) = self.actors.get_mut(id) else {
            return;
        };
        actor.rests_until = now + rest;
        match &mut actor.running {
            Running::Node(node) => {
                if let Err(error) = node.turn() {
                    self.broken(7, format!("the loop of node {id} ends: {error}"));
                }
            }
            Running::Raw(raw) => {
                let mut model = self.shared.model.borrow_mut();
                let mut calls = self.shared.calls.borrow_mut();
                raw.poke(now, &mut model, &mut calls, &mut self.random);
            }
            Running::Not => {}
        }
    }
}
