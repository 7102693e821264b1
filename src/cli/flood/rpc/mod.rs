//! Requests to a node: as fast as replies come, or by a schedule.

mod callers;

use std::io::{self, Write};
use std::time::{Duration, Instant};

use serde_json::value::RawValue;

use super::args::RpcArgs;
use super::bare::Task;
use super::child::Role;
use super::driver::{Driver, Round, Scenario};
use super::event_loop::time_until;
use super::format::Unit;
use super::report::{Columns, Point, Report, Times};
use super::stop::{Halt, StopSignal};
use super::target::Target;
use super::usage::used;
use crate::protocol::write_request;
use callers::Callers;

/// All keys of a run have as many digits, so that all requests are of the same length.
const FIRST_KEY: u64 = 1_000_000_000;

pub(crate) fn run(args: &RpcArgs, stop: StopSignal) -> Result<Report, Halt> {
    let request = Request::new(args)?;
    let target = Target::reach(Role::EchoNode, &args.server, args.connections, 1)?;
    let connections = target.plan.connections;
    let driver = Driver::new(target, connections, args.server.timeout, stop)?;
    let rpc = Rpc {
        args,
        request,
        connections,
    };
    driver.run(rpc, args.rounds)
}

struct Rpc<'a> {
    args: &'a RpcArgs,
    request: Request,
    connections: usize,
}

/// What all rounds against one server came to.
#[derive(Default)]
struct Outcome {
    times: Times,
    sent: u64,
    replied: u64,
    refused: u64,
    lost: u64,
    unexpected: u64,
    /// Of the best round.
    per_second: f64,
    cpu_per_request: Option<Duration>,
    time: Duration,
    /// The slowest reply of each step.
    time_line: Vec<Point>,
    refusal: Option<String>,
}

impl Scenario for Rpc<'_> {
    type Outcome = Outcome;

    fn name(&self) -> &'static str {
        "rpc"
    }

    fn bare_name(&self) -> &'static str {
        "bare echo"
    }

    fn run(&mut self, round: &mut Round<'_>, outcome: &mut Outcome) -> Result<(), Halt> {
        let (sent, replied) = (outcome.sent, outcome.replied);
        let callers = &mut Callers::new(&self.request, self.args, outcome);
        callers.connect(round, self.connections)?;
        let before = round.cpu(callers)?;
        callers.start();
        let start = Instant::now();
        let length = self.args.duration / self.args.rounds;
        let mut ended = match self.args.rate {
            None => callers.call_in_turn(round, length),
            Some(rate) => call_by_schedule(callers, round, length, rate),
        };
        let time = start.elapsed();
        callers.finish();
        let timeout = round.events.timeout;
        let drained = round
            .events
            .run_for(timeout, callers, |callers, _| callers.is_drained());
        let after = round.cpu(callers)?;
        if let Err(Halt::Stopped) = drained {
            // A run that is stopped does not wait for the last replies.
            callers.forget_calls();
            ended = Err(Halt::Stopped);
        } else if !drained? {
            let lost = callers.lose_calls();
            let what = format!("{lost} requests had no answer within {timeout:?} (--timeout)");
            ended = Err(Halt::failed(what));
        }
        let failed = callers.failed;
        callers.close_all(round)?;
        outcome.time += time;
        let per_second = (outcome.replied - replied) as f64 / time.as_secs_f64();
        outcome.per_second = outcome.per_second.max(per_second);
        let sent = u32::try_from(outcome.sent - sent).unwrap_or(u32::MAX);
        let each = used(before, after).and_then(|used| used.checked_div(sent));
        outcome.cpu_per_request = outcome.cpu_per_request.into_iter().chain(each).min();
        if let Some(why) = failed {
            return Err(Halt::failed(format!(
                "the server ended a connection ({why:?}) after {} replies",
                outcome.replied
            )));
        }
        ended
    }

    fn bare_task(&self) -> Result<Task, Halt> {
        Ok(Task::Echo)
    }

    fn has_figures(outcome: &Outcome) -> bool {
        outcome.replied + outcome.refused > 0
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        let requests = match self.args.rate {
            Some(rate) => ("requests a second", rate.to_string()),
            None => ("requests", "as replies come".to_owned()),
        };
        let duration = humantime::format_duration(self.args.duration);
        vec![
            ("connections", self.connections.to_string()),
            ("depth", self.args.depth.to_string()),
            requests,
            ("of", format!("{} bytes", self.request.len())),
            ("for", duration.to_string()),
            ("rounds", self.args.rounds.to_string()),
        ]
    }

    fn report(&self, columns: &mut Columns<'_, Outcome>) {
        columns.figure("replies a second, best round", Unit::PerSecond, |outcome| {
            Some(outcome.per_second)
        });
        columns.latencies("request to reply", |outcome| &outcome.times);
        let cpu = "server CPU a request, best round";
        columns.time(cpu, |outcome| outcome.cpu_per_request);
        columns.count("requests", |outcome| outcome.sent);
        columns.count("replies", |outcome| outcome.replied);
        columns.count("errors", |outcome| outcome.refused);
        columns.count("lost", |outcome| outcome.lost);
        columns.count("answers to no request", |outcome| outcome.unexpected);
        let measured = columns.measured;
        if measured.lost > 0 {
            columns.report.notes.push(format!(
                "{} requests had no room within --timeout and were given up: they count with the \
                 time that they had waited",
                measured.lost
            ));
        }
        let refusal = measured.refusal.iter();
        let refusal = refusal.map(|refusal| format!("the first error: {refusal}"));
        columns.report.notes.extend(refusal);
        let what = "the slowest reply of each 50 ms";
        columns.time_line(what, Unit::Seconds, |outcome| outcome.time_line.clone());
    }
}

/// Sends requests when they are due, whatever has become of those before.
fn call_by_schedule(
    callers: &mut Callers<'_>,
    round: &mut Round<'_>,
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
            callers.call_or_wait(round.events.net(), due(begun));
            begun += 1;
        }
        let all_sent = due(begun) >= end && !callers.are_waiting();
        let is_late = now >= end + round.events.timeout;
        if all_sent || is_late || callers.failed.is_some() {
            callers.give_up_waiting();
            return Ok(());
        }
        round.events.turn(time_until(due(begun)), callers)?;
    }
}

/// A request without its key.
#[derive(Debug)]
struct Request {
    method: String,
    path: String,
    params: Box<RawValue>,
}

impl Request {
    fn new(args: &RpcArgs) -> Result<Request, Halt> {
        let slash = args.path.find('/').filter(|at| *at > 0);
        let Some((method, path)) = slash.and_then(|at| args.path.split_at_checked(at)) else {
            let path = &args.path;
            let what = format!("--path {path}: no method; use METHOD/path, as in GET/echo");
            return Err(Halt::usage(what));
        };
        let params = RawValue::from_string(args.params.clone())
            .map_err(|error| Halt::usage(format!("--params: invalid JSON: {error}")))?;
        Ok(Request {
            method: method.to_owned(),
            path: path.to_owned(),
            params,
        })
    }

    fn write(&self, out: impl Write, key: u64) -> io::Result<()> {
        write_request(out, &self.method, &self.path, key, None, &self.params)
    }

    fn len(&self) -> usize {
        let mut out = Vec::new();
        // Writing to memory does not fail.
        let _ = self.write(&mut out, FIRST_KEY);
        out.len()
    }
}
