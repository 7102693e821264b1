//! Requests to a node: as fast as replies arrive, or by a schedule.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Write};
use std::mem;
use std::time::{Duration, Instant};

use super::args::{Role, RpcArgs};
use super::bare::Task;
use super::record::Merge::{Least, Most};
use super::record::Unit::Seconds;
use super::record::{Point, Record, Times};
use super::report::Report;
use super::run::{Run, Scenario, due_at, time_until};
use crate::cli::failure::{Failure, failed};
use crate::protocol::{Reply, write_request};
use crate::reactor::{CloseReason, ConnId, ConnectOptions, Handler, Net, Origin};

const TIME_LINE_STEP: Duration = Duration::from_millis(50);
/// First key. All keys of a run have the same number of digits, so that all requests have the same
/// length.
const FIRST_KEY: u64 = 1_000_000_000;

pub(crate) fn run(args: &RpcArgs) -> Result<Report, Failure> {
    let run = Run::start(Role::EchoNode, &args.server, None, args.connections, 1)?;
    let mut request = Vec::new();
    write(args, &mut request, FIRST_KEY).map_err(failed("cannot write a request"))?;
    let scenario = Scenario {
        name: "rpc",
        settings: vec![
            ("connections", run.capacity.connections.to_string()),
            ("depth", args.depth.to_string()),
            match args.rate {
                Some(rate) => ("requests per second", rate.to_string()),
                None => ("requests", "as replies arrive".to_owned()),
            },
            ("of", format!("{} bytes", request.len())),
            ("for", humantime::format_duration(args.duration).to_string()),
            ("rounds", args.rounds.to_string()),
        ],
        rounds: args.rounds,
        bare: "bare echo",
        relieved: None,
        time_line: ("the slowest reply of each 50 ms", Seconds),
    };
    run.drive(scenario, |run, record| round(args, run, record))
}

fn write(args: &RpcArgs, out: impl Write, key: u64) -> io::Result<()> {
    write_request(out, &args.path, key, None, &args.params)
}

fn round(args: &RpcArgs, run: &mut Run, record: &mut Record) -> Result<(), Failure> {
    let callers = &mut Callers::new(args);
    callers.connect(run, run.capacity.connections)?;
    run.cpu_used(callers)?;
    callers.started = Instant::now();
    let ended = match args.rate {
        None => callers.call_in_turn(run),
        Some(rate) => callers.call_by_schedule(run, rate),
    };
    let time = callers.started.elapsed();
    let drained = callers.drain(run);
    let cpu = run.cpu_used(callers)?;
    run.close_all()?;

    let results = &callers.results;
    if results.replied + results.refused > 0 {
        let rate = results.replied as f64 / time.as_secs_f64();
        record.rate("replies per second, best round", Most, rate);
        record.times("request to reply", &results.times);
        let sent = u32::try_from(results.sent).unwrap_or(u32::MAX);
        let each = cpu.and_then(|cpu| cpu.checked_div(sent));
        record.cpu("server CPU per request, best round", Least, each);
        record.count("requests", results.sent);
        record.count("replies", results.replied);
        record.count("errors", results.refused);
        record.count("lost", results.lost);
        record.count("replies without a request", results.unexpected);
        record.extend_time_line(&results.time_line, time);
    }
    if results.lost > 0 {
        record.note(
            "lost requests could not be sent within --timeout and were abandoned: the percentiles \
             include the time that they waited",
        );
    }
    if let Some(refusal) = &results.refusal {
        record.note(format!("the first error: {refusal}"));
    }
    record.bare_task = Some(Task {
        echo: true,
        ..Task::default()
    });
    if let Some(reason) = callers.failed {
        let replied = results.replied;
        let what = format!(
            "a connection ended after {replied} replies: {reason}; see that --to is the address of a node"
        );
        return Err(Failure::failed(what));
    }
    ended.and(drained)
}

#[derive(Default)]
struct Results {
    sent: usize,
    replied: usize,
    refused: usize,
    lost: usize,
    unexpected: usize,
    times: Times,
    /// Slowest reply of each step.
    time_line: Vec<Point>,
    refusal: Option<String>,
}

/// The connections of one round, and the requests on them.
struct Callers<'a> {
    args: &'a RpcArgs,
    /// Each reply is followed by the next request.
    is_closed_loop: bool,
    opened: usize,
    /// Connections with room for more requests. Each occurs once per request that it can take.
    room: VecDeque<ConnId>,
    next_key: u64,
    /// Requests without a reply, by key. Each has its connection, and the time at which it was due:
    /// its latency begins then.
    calls: HashMap<u64, (ConnId, Instant)>,
    /// Due times of the requests that found no room on any connection.
    waiting: VecDeque<Instant>,
    failed: Option<CloseReason>,
    started: Instant,
    results: Results,
}

impl<'a> Callers<'a> {
    fn new(args: &'a RpcArgs) -> Self {
        Callers {
            args,
            is_closed_loop: args.rate.is_none(),
            opened: 0,
            room: VecDeque::new(),
            next_key: FIRST_KEY,
            calls: HashMap::new(),
            waiting: VecDeque::new(),
            failed: None,
            started: Instant::now(),
            results: Results::default(),
        }
    }

    fn connect(&mut self, run: &mut Run, count: usize) -> Result<(), Failure> {
        let to = run.server().addr;
        let sources = run.capacity.sources.clone();
        let connections = sources.iter().cycle().take(count).map(|source| {
            let options = ConnectOptions {
                source: *source,
                ..ConnectOptions::default()
            };
            run.net().connect(to, options)
        });
        let connections: Vec<ConnId> = connections.collect();
        self.room = connections.repeat(self.args.depth).into();
        let is_done = |callers: &Self| callers.opened == count || callers.failed.is_some();
        run.run_for(run.timeout, self, |callers, _| is_done(callers))?;
        let opened = self.opened;
        if opened == count {
            return Ok(());
        }
        let reason = self.failed.map(|reason| reason.to_string());
        let reason = reason.unwrap_or("--timeout".to_owned());
        let what = format!("only {opened} of {count} connections were established: {reason}");
        Err(Failure::failed(what))
    }

    /// Fills all connections, and then sends a request for each reply.
    fn call_in_turn(&mut self, run: &mut Run) -> Result<(), Failure> {
        let length = self.args.duration / self.args.rounds;
        while !self.room.is_empty() {
            self.call_or_wait(run.net(), Instant::now());
        }
        let failed = |callers: &Self, _: &Net| callers.failed.is_some();
        run.run_for(length, self, failed).map(drop)
    }

    /// Sends requests when they are due, independent of the state of earlier ones.
    fn call_by_schedule(&mut self, run: &mut Run, rate: f64) -> Result<(), Failure> {
        let start = Instant::now();
        let end = start + self.args.duration / self.args.rounds;
        let mut begun = 0;
        loop {
            let now = Instant::now();
            let mut due = due_at(start, begun, rate);
            while due <= now && due < end {
                self.call_or_wait(run.net(), due);
                begun += 1;
                due = due_at(start, begun, rate);
            }
            let all_sent = due >= end && self.waiting.is_empty();
            let is_late = now >= end + run.timeout;
            if all_sent || is_late || self.failed.is_some() {
                self.abandon_waiting();
                return Ok(());
            }
            run.turn(time_until(due), self)?;
        }
    }

    fn call(&mut self, net: &mut Net, conn: ConnId, due: Instant) {
        let key = self.next_key;
        if net.send_with(conn, |out| write(self.args, out, key)) {
            self.next_key += 1;
            self.results.sent += 1;
            self.calls.insert(key, (conn, due));
        }
    }

    /// Sends a request on the next connection that has room.
    fn call_or_wait(&mut self, net: &mut Net, due: Instant) {
        match self.room.pop_front() {
            Some(conn) => self.call(net, conn, due),
            None => self.waiting.push_back(due),
        }
    }

    /// Counts requests that never had room as lost. Records the time that they have waited so far:
    /// without them, percentiles would be too low.
    fn abandon_waiting(&mut self) {
        for due in self.waiting.drain(..) {
            self.results.lost += 1;
            self.results.times.record(due.elapsed());
        }
    }

    /// Waits for all replies. If the run is stopped, requests without one are not counted.
    fn drain(&mut self, run: &mut Run) -> Result<(), Failure> {
        self.is_closed_loop = false;
        self.waiting.clear();
        let timeout = run.timeout;
        let drained = run.run_for(timeout, self, |callers, _| callers.calls.is_empty());
        let calls = mem::take(&mut self.calls).len();
        if run.is_stopped() {
            self.results.sent -= calls;
        } else {
            self.results.lost += calls;
        }
        if drained? {
            return Ok(());
        }
        let lost = self.results.lost;
        let what = format!("{lost} requests had no reply within {timeout:?} (--timeout)");
        Err(Failure::failed(what))
    }

    /// Handles a reply. Returns `None` if the frame is not the reply to a request.
    fn on_reply(&mut self, net: &mut Net, conn: ConnId, frame: &[u8]) -> Option<()> {
        let reply = Reply::parse(frame)?;
        let key = reply.key()?;
        let call = self.calls.get(&key).copied();
        let (_, due) = call.filter(|(sent_on, _)| *sent_on == conn)?;
        self.calls.remove(&key);
        let now = Instant::now();
        if reply.errorcode == 0 {
            let time = now.saturating_duration_since(due);
            self.results.replied += 1;
            self.results.times.record(time);
            self.add_to_time_line(now, time);
        } else {
            self.results.refused += 1;
            let refusal = || format!("errorcode {}: {}", reply.errorcode, reply.message());
            self.results.refusal.get_or_insert_with(refusal);
        }
        let next = self.is_closed_loop.then_some(now);
        let next = next.or_else(|| self.waiting.pop_front());
        match next {
            Some(due) => self.call(net, conn, due),
            None => self.room.push_back(conn),
        }
        Some(())
    }

    fn add_to_time_line(&mut self, now: Instant, time: Duration) {
        let step = TIME_LINE_STEP.as_secs_f64();
        let at = now.saturating_duration_since(self.started);
        let at = (at.as_secs_f64() / step).floor() * step;
        let seconds = time.as_secs_f64();
        match self.results.time_line.last_mut() {
            Some((last, slowest)) if *last >= at => *slowest = slowest.max(seconds),
            _ => self.results.time_line.push((at, seconds)),
        }
    }
}

impl Handler for Callers<'_> {
    fn on_open(&mut self, _: &mut Net, _: ConnId, _: Origin) {
        self.opened += 1;
    }

    fn on_frame(&mut self, net: &mut Net, conn: ConnId, frame: &[u8]) {
        if self.on_reply(net, conn, frame).is_none() {
            self.results.unexpected += 1;
        }
    }

    fn on_close(&mut self, _: &mut Net, conn: ConnId, reason: CloseReason) {
        if reason != CloseReason::Local {
            self.failed = Some(reason);
        }
        let before = self.calls.len();
        self.calls.retain(|_, (sent_on, _)| *sent_on != conn);
        self.results.lost += before - self.calls.len();
    }
}
