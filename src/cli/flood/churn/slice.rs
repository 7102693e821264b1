//! Some time of churn against one server. It begins with single changes, one after the other, for what
//! one change costs; then joins follow a schedule that waits for nobody.

use std::time::{Duration, Instant};

use super::frames::Frames;
use super::load::{Load, SHORTEST_STAY};
use super::outcome::Outcome;
use crate::cli::failure::Failure;
use crate::cli::flood::client::{Client, Waited, pause_after, to_wait};
use crate::cli::flood::herd::Herd;
use crate::cli::flood::usage::Process;

/// Single changes at the beginning of a slice.
const SINGLES: u32 = 8;
/// Members that connect at a time before churn begins. Their coming is not what is measured.
const CONNECTING_AT_ONCE: usize = 512;

pub(super) struct Slice<'a> {
    client: &'a mut Client,
    load: &'a Load,
    process: Option<Process>,
}

impl<'a> Slice<'a> {
    pub(super) fn new(
        client: &'a mut Client,
        load: &'a Load,
        process: Option<Process>,
    ) -> Slice<'a> {
        Slice {
            client,
            load,
            process,
        }
    }

    pub(super) fn run(
        &mut self,
        mut herd: Herd,
        outcome: &mut Outcome,
        frames: &mut Option<Frames>,
    ) -> Result<Waited, Failure> {
        let herd = &mut herd;
        let start = Instant::now();
        let waited = self.gather(herd)?;
        let gathering = start.elapsed();
        if waited == Waited::Stopped {
            return Ok(waited);
        }
        for number in 0..self.load.stuck {
            herd.make_stuck(self.client.net(), number);
        }
        if self.singles(herd, outcome)? == Waited::Stopped {
            return Ok(Waited::Stopped);
        }
        if frames.is_none() {
            *frames = Frames::of(herd, &self.load.names);
        }
        let waited = self.schedule(herd, outcome)?;
        if let Some(memory) = self.process.and_then(|process| process.memory().ok()) {
            outcome.resident_bytes = outcome.resident_bytes.max(memory.resident_bytes);
        }
        outcome.to_each.add(&herd.joins.to_each).ok();
        outcome.to_last.add(&herd.joins.to_last).ok();
        outcome.gaps += herd.gaps;
        if self.load.stuck > 0 {
            herd.resume_stuck(self.client.net());
            self.client.pass(herd, pause_after(gathering))?;
            outcome.cut += herd.stuck_and_cut();
        }
        herd.close_all(self.client.net());
        let until = Instant::now() + self.load.timeout;
        self.client
            .run_until(herd, until, |herd, _| herd.connections() == 0)?;
        self.client.pass(herd, pause_after(Duration::ZERO))?;
        Ok(waited)
    }

    /// All watchers come, some at a time, until each holds all, and somebody a list of all.
    fn gather(&mut self, herd: &mut Herd) -> Result<Waited, Failure> {
        let all = self.load.watchers + self.load.stuck;
        let listed = if self.load.manners.unlisted { 0 } else { all };
        herd.set_goal(listed);
        herd.joins.watchers = self.load.watchers;
        let until = Instant::now() + self.load.timeout;
        let waited = self.client.run_until(herd, until, |herd, net| {
            while herd.members.len() < all && herd.members.len() < herd.heard + CONNECTING_AT_ONCE {
                herd.add_member(net);
            }
            herd.reached() == all || herd.lost > 0 || herd.refusal.is_some()
        })?;
        if waited != Waited::Stopped && herd.reached() < all {
            return Err(herd.failure("watch", herd.reached(), all, self.load.timeout));
        }
        if waited == Waited::Stopped || herd.is_last_list_of(listed) {
            return Ok(waited);
        }
        // To those who follow changes, an older list may have come after the newest one.
        herd.ask(self.client.net(), 0);
        let waited = self.client.run_until(herd, until, |herd, _| {
            herd.is_last_list_of(listed) || herd.lost > 0
        })?;
        if waited != Waited::Stopped && !herd.is_last_list_of(listed) {
            return Err(herd.failure("was sent the list of all", 0, 1, self.load.timeout));
        }
        Ok(waited)
    }

    /// What the server has used so far, when it rests: nothing is sent meanwhile.
    fn cpu(&mut self, herd: &mut Herd) -> Result<Option<Duration>, Failure> {
        let before = std::mem::replace(&mut herd.heartbeats.are_held_back, true);
        let cpu = self.client.settled_cpu(herd, self.process);
        herd.heartbeats.are_held_back = before;
        cpu
    }

    /// Changes, one after the other, with a pause between two: after a push a Distributor waits
    /// for some time before the next one.
    fn singles(&mut self, herd: &mut Herd, outcome: &mut Outcome) -> Result<Waited, Failure> {
        let mut waited = Waited::Done;
        for _ in 0..SINGLES {
            let last = outcome.alone.last().copied().unwrap_or_default();
            self.client.pass(herd, pause_after(last))?;
            herd.heartbeats.are_held_back = true;
            waited = self.single(herd, outcome)?;
            herd.heartbeats.are_held_back = false;
            if waited == Waited::Stopped {
                break;
            }
        }
        Ok(waited)
    }

    /// One node joins and leaves while nothing else happens.
    fn single(&mut self, herd: &mut Herd, outcome: &mut Outcome) -> Result<Waited, Failure> {
        let number = herd.add_joiner(self.client.net());
        // It is there, and has been sent what everybody is who connects.
        let before = self.cpu(herd)?;
        herd.join(self.client.net(), number, Instant::now());
        let until = Instant::now() + self.load.timeout;
        let waited = self.client.run_until(herd, until, |herd, _| {
            herd.joins.is_complete(number) || herd.lost > 0 || herd.refusal.is_some()
        })?;
        if waited == Waited::Stopped {
            return Ok(waited);
        }
        if !herd.joins.is_complete(number) {
            return Err(herd.failure("joins reached all watchers", 0, 1, self.load.timeout));
        }
        let joined = self.cpu(herd)?;
        if let Some((_, took)) = herd.joins.time_line.last() {
            outcome.alone.push(*took);
        }

        let updates = herd.updates + self.load.watchers as u64;
        herd.close_joiner(self.client.net(), number);
        let waited = self.client.run_until(herd, until, |herd, _| {
            herd.updates >= updates || herd.lost > 0
        })?;
        if waited == Waited::TooLong {
            return Err(herd.failure("leaves reached all watchers", 0, 1, self.load.timeout));
        }
        let left = self.cpu(herd)?;
        let least = |so_far: Option<Duration>, from: Option<Duration>, to: Option<Duration>| {
            // A server that is busy with something else is not always counted in between.
            let now = to.zip(from).map(|(to, from)| to.saturating_sub(from));
            let now = now.filter(|used| !used.is_zero());
            so_far.into_iter().chain(now).min()
        };
        outcome.join_cpu = least(outcome.join_cpu, before, joined);
        outcome.leave_cpu = least(outcome.leave_cpu, joined, left);
        Ok(waited)
    }

    /// Joins when they are due, whatever has become of those before.
    fn schedule(&mut self, herd: &mut Herd, outcome: &mut Outcome) -> Result<Waited, Failure> {
        let joins = self.load.joins();
        herd.joins.forget_times();
        let first = herd.joins.added();
        let complete_before = herd.joins.complete;
        let (updates, bytes) = (herd.updates, herd.bytes());
        let cpu = self.cpu(herd)?;
        let start = Instant::now();
        let give_up = self.load.due(start, joins) + self.load.timeout;
        let mut begun = 0;
        let mut present: Vec<(usize, Instant)> = Vec::new();
        let waited = loop {
            let now = Instant::now();
            while begun < joins && self.load.due(start, begun) <= now {
                let due = self.load.due(start, begun);
                let number = herd.add_joiner(self.client.net());
                herd.join(self.client.net(), number, due);
                present.push((number, due + self.load.stay(begun)));
                begun += 1;
            }
            present.retain(|(number, leaves_at)| {
                let leaves = *leaves_at <= now && herd.joins.is_complete(*number);
                if leaves {
                    herd.close_joiner(self.client.net(), *number);
                }
                !leaves
            });
            if begun == joins && present.is_empty() {
                break Waited::Done;
            }
            if self.client.is_stopped() {
                break Waited::Stopped;
            }
            if now >= give_up || herd.lost > 0 || herd.refusal.is_some() {
                break Waited::TooLong;
            }
            let next = match begun < joins {
                true => self.load.due(start, begun),
                false => now + SHORTEST_STAY,
            };
            let leaving = present.iter().map(|(_, at)| *at).filter(|at| *at > now);
            let next = leaving.min().map_or(next, |leaving| leaving.min(next));
            self.client.turn(to_wait(next), herd)?;
        };
        let complete = herd.joins.complete - complete_before;
        if waited == Waited::TooLong {
            let what = "joins reached all watchers";
            return Err(herd.failure(what, complete, joins as usize, self.load.timeout));
        }
        let time = start.elapsed();
        // The last leave is told of as late as any other change.
        let (_, slowest) = herd
            .joins
            .time_line
            .last()
            .copied()
            .unwrap_or((start, Duration::ZERO));
        self.client.pass(herd, pause_after(slowest))?;
        let cpu_after = self.cpu(herd)?;
        if let (Some(before), Some(after)) = (cpu, cpu_after) {
            outcome.cpu += after.saturating_sub(before);
        }
        outcome.joins += herd.joins.added() - first;
        outcome.told_of_all += complete;
        outcome.updates += herd.updates - updates;
        outcome.bytes += herd.bytes() - bytes;
        let before = outcome.time;
        let points = herd.joins.time_line.iter().map(|(due, took)| {
            let at = before + due.saturating_duration_since(start);
            (at.as_secs_f64(), took.as_secs_f64())
        });
        outcome.time_line.extend(points);
        outcome.time += time;
        Ok(waited)
    }
}
