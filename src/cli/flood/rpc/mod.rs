//! Requests to a node: as fast as replies come, or by a schedule.

mod callers;

use std::time::{Duration, Instant};

use super::args::RpcArgs;
use super::bare::Task;
use super::child::Role;
use super::driver::{self, Description, Scenario};
use super::format::Unit;
use super::record::Record;
use super::report::Report;
use super::round::{Round, Subject, time_until};
use super::stop::Halt;
use super::target::Target;
use super::usage::used;
use callers::{Callers, Request};

pub(crate) fn run(args: &RpcArgs) -> Result<Report, Halt> {
    let request = Request::new(&args.path, &args.params)?;
    let target = Target::reach(Role::EchoNode, &args.server, None, args.connections, 1)?;
    let connections = target.plan.connections;
    let rpc = Rpc {
        args,
        request,
        connections,
        lost: 0,
        refusal: None,
    };
    driver::run(rpc, target, connections, args.rounds)
}

struct Rpc<'a> {
    args: &'a RpcArgs,
    request: Request,
    connections: usize,
    /// Requests to the server that were given up.
    lost: u64,
    refusal: Option<String>,
}

impl Scenario for Rpc<'_> {
    fn describe(&self) -> Description {
        let requests = match self.args.rate {
            Some(rate) => ("requests a second", rate.to_string()),
            None => ("requests", "as replies come".to_owned()),
        };
        let duration = humantime::format_duration(self.args.duration);
        Description {
            name: "rpc",
            bare: "bare echo",
            relieved: None,
            time_line: ("the slowest reply of each 50 ms", Unit::Seconds),
            settings: vec![
                ("connections", self.connections.to_string()),
                ("depth", self.args.depth.to_string()),
                requests,
                ("of", format!("{} bytes", self.request.len())),
                ("for", duration.to_string()),
                ("rounds", self.args.rounds.to_string()),
            ],
        }
    }

    fn run(&mut self, round: &mut Round, record: &mut Record) -> Result<(), Halt> {
        let callers = &mut Callers::new(&self.request, self.args.depth, self.args.rate.is_none());
        callers.connect(round, self.connections)?;
        let before = round.cpu(callers)?;
        let start = callers.start();
        let length = self.args.duration / self.args.rounds;
        let mut ended = match self.args.rate {
            None => callers.call_in_turn(round, length),
            Some(rate) => call_by_schedule(callers, round, length, rate),
        };
        let time = start.elapsed();
        let drained = callers.drain(round);
        let cpu = used(before, round.cpu(callers)?);
        callers.close_all(round)?;

        let counts = &callers.counts;
        if counts.replied + counts.refused > 0 {
            let rate = counts.replied as f64 / time.as_secs_f64();
            record.most("replies a second, best round", Unit::PerSecond, rate);
            record.times("request to reply", &callers.times);
            let sent = u32::try_from(counts.sent).unwrap_or(u32::MAX);
            let each = cpu.and_then(|cpu| cpu.checked_div(sent));
            record.least("server CPU a request, best round", each);
            record.count("requests", counts.sent);
            record.count("replies", counts.replied);
            record.count("errors", counts.refused);
            record.count("lost", counts.lost);
            record.count("answers to no request", counts.unexpected);
            let before = record.elapsed.as_secs_f64();
            let points = callers.time_line.iter();
            let points = points.map(|(at, slowest)| (before + at, *slowest));
            record.time_line.extend(points);
            record.elapsed += time;
        }
        if round.subject == Subject::Server {
            self.lost += counts.lost;
            self.refusal = self.refusal.take().or(callers.refusal.take());
        }
        if let Some(why) = callers.failed {
            let replied = callers.counts.replied;
            let what = format!("the server ended a connection ({why:?}) after {replied} replies");
            ended = Err(Halt::failed(what));
        }
        ended.and(drained)
    }

    fn bare_task(&self) -> Result<Task, Halt> {
        Ok(Task::Echo)
    }

    fn notes(&self) -> Vec<String> {
        let given_up = format!(
            "{} requests had no room within --timeout and were given up: they count with the time \
             that they had waited",
            self.lost
        );
        let refusal = self.refusal.iter();
        let refusal = refusal.map(|refusal| format!("the first error: {refusal}"));
        let given_up = Some(given_up).filter(|_| self.lost > 0);
        given_up.into_iter().chain(refusal).collect()
    }
}

/// Sends requests when they are due, whatever has become of those before.
fn call_by_schedule(
    callers: &mut Callers<'_>,
    round: &mut Round,
    length: Duration,
    rate: f64,
) -> Result<(), Halt> {
    let start = Instant::now();
    let end = start + length;
    let due = |number: u32| start + Duration::from_secs_f64(f64::from(number) / rate);
    let mut begun = 0;
    loop {
        let now = Instant::now();
        while due(begun) <= now && due(begun) < end {
            callers.call_or_wait(round.net(), due(begun));
            begun += 1;
        }
        let all_sent = due(begun) >= end && callers.waiting.is_empty();
        let is_late = now >= end + round.timeout;
        if all_sent || is_late || callers.failed.is_some() {
            callers.give_up_waiting();
            return Ok(());
        }
        round.turn(time_until(due(begun)), callers)?;
    }
}
