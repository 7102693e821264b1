//! Requests to a node: as fast as replies come, or by a schedule.

use std::collections::{HashMap, VecDeque};
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::protocol::{Reply, write_request};
use crate::reactor::conn_map::ConnMap;
use crate::reactor::{Close, CloseReason, ConnId, ConnectOptions, Handler, Net, Origin};
use serde_json::value::RawValue;

use crate::cli::failure::Failure;
use crate::cli::flood::args::RpcArgs;
use crate::cli::flood::child::Role;
use crate::cli::flood::client::{Client, Waited, to_wait};
use crate::cli::flood::format::Unit;
use crate::cli::flood::progress::Progress;
use crate::cli::flood::report::{Line, Report, TimeLine, Times, record, times};
use crate::cli::flood::target::Target;
use crate::cli::flood::usage::Process;

/// One frame from a node.
const MAX_FRAME_BYTES: usize = 1 << 20;
/// Points of the time line are so far apart.
const TIME_LINE_STEP: Duration = Duration::from_millis(50);

/// What all slices against one server came to.
#[derive(Debug)]
struct Outcome {
    times: Times,
    sent: u64,
    replied: u64,
    refused: u64,
    lost: u64,
    unexpected: u64,
    /// The most of a slice.
    per_second: f64,
    /// The least of a slice.
    cpu_a_request: Option<Duration>,
    time: Duration,
    time_line: Vec<(f64, f64)>,
    refusal: Option<String>,
}

impl Default for Outcome {
    fn default() -> Outcome {
        Outcome {
            times: times(),
            sent: 0,
            replied: 0,
            refused: 0,
            lost: 0,
            unexpected: 0,
            per_second: 0.0,
            cpu_a_request: None,
            time: Duration::ZERO,
            time_line: Vec::new(),
            refusal: None,
        }
    }
}

pub(crate) fn run(args: &RpcArgs) -> Result<Report, Failure> {
    let request = Request::new(args)?;
    let mut target = Target::reach_as(Role::EchoNode, &args.server, args.connections, 1)?;
    let connections = target.plan.connections;
    let mut client = Client::new(connections, args.server.timeout)?;
    if let Some(server) = &mut target.bare {
        server.command("echo", &[])?;
    }
    let mut ours = Outcome::default();
    let mut bare = target.bare.is_some().then(Outcome::default);
    let progress = Progress::of_rounds("rpc", args.rounds);
    let mut done = 0;
    for _ in 0..args.rounds {
        let mut slice = Slice {
            client: &mut client,
            args,
            request: &request,
            connections,
            sources: &target.plan.sources,
        };
        let mut waited = slice.run(target.addr, target.process, &mut ours)?;
        if let (Some(server), Some(outcome), Waited::Done) = (&target.bare, &mut bare, waited) {
            waited = slice.run(server.addr, Some(server.process()), outcome)?;
        }
        if waited == Waited::Stopped {
            break;
        }
        done += 1;
        progress.round_done();
    }
    drop(progress);
    // Nothing is no figure.
    let bare = bare.filter(|bare| bare.replied > 0);
    if ours.replied + ours.refused == 0 {
        return Err(Failure::stopped());
    }
    let mut report = Report::new("rpc");
    report.setting("connections", connections);
    report.setting("depth", args.depth);
    match args.rate {
        Some(rate) => report.setting("requests a second", rate),
        None => report.setting("requests", "as replies come"),
    }
    report.setting("of", format!("{} bytes", request.bytes()));
    report.setting("for", humantime::format_duration(args.duration));
    report.setting("rounds", args.rounds);
    report.baseline = bare.is_some().then_some("bare echo");
    figures(&mut report, &ours, bare.as_ref());
    report.rounds_done(done, args.rounds);
    target.report(&mut report);
    Ok(report)
}

/// What is asked for, but for the key.
#[derive(Debug)]
struct Request {
    method: String,
    path: String,
    params: Box<RawValue>,
}

impl Request {
    fn new(args: &RpcArgs) -> Result<Request, Failure> {
        let method_ends = args.path.find('/').filter(|at| *at > 0);
        let Some((method, path)) = method_ends.and_then(|at| args.path.split_at_checked(at)) else {
            return Err(Failure::usage("--path: METHOD/path, as in GET/echo"));
        };
        let params = RawValue::from_string(args.params.clone())
            .map_err(|error| Failure::usage(format!("--params: no JSON: {error}")))?;
        Ok(Request {
            method: method.to_owned(),
            path: path.to_owned(),
            params,
        })
    }

    fn write(&self, out: impl Write, key: u64) -> std::io::Result<()> {
        write_request(out, &self.method, &self.path, key, None, &self.params)
    }

    fn bytes(&self) -> usize {
        let mut out = Vec::new();
        // Writing to memory does not fail.
        let _ = self.write(&mut out, FIRST_KEY);
        out.len()
    }
}

/// All keys of a run have as many digits, so that all requests are of one length.
const FIRST_KEY: u64 = 1_000_000_000;

/// A request without an outcome.
#[derive(Clone, Copy, Debug)]
struct Call {
    conn: ConnId,
    /// When it was to be sent: what it waits after that counts.
    due: Instant,
}

/// All connections of one slice, and what is asked on them.
struct Callers<'a> {
    request: &'a Request,
    depth: usize,
    /// A reply is followed by the next request.
    is_closed_loop: bool,
    /// No more requests.
    is_over: bool,
    in_flight: ConnMap<usize>,
    connections: Vec<ConnId>,
    next: usize,
    next_key: u64,
    calls: HashMap<u64, Call>,
    /// Requests that are due and have no room on any connection.
    waiting: VecDeque<Instant>,
    opened: usize,
    failed: Option<CloseReason>,
    started: Instant,
    outcome: &'a mut Outcome,
    replies: u64,
}

impl Callers<'_> {
    fn call(&mut self, net: &mut Net, conn: ConnId, due: Instant) {
        let key = self.next_key;
        let Some(mut out) = net.send(conn) else {
            return;
        };
        // Writing to a queue does not fail.
        let _ = self.request.write(&mut out, key);
        out.finish();
        self.next_key += 1;
        self.outcome.sent += 1;
        self.calls.insert(key, Call { conn, due });
        if let Some(in_flight) = self.in_flight.get_mut(conn) {
            *in_flight += 1;
        }
    }

    /// A request of the schedule goes to the next connection that has room.
    fn call_or_wait(&mut self, net: &mut Net, due: Instant) {
        for _ in 0..self.connections.len() {
            self.next = (self.next + 1) % self.connections.len();
            let conn = self.connections.get(self.next).copied();
            if let Some(conn) = conn
                && self
                    .in_flight
                    .get(conn)
                    .is_some_and(|calls| *calls < self.depth)
            {
                return self.call(net, conn, due);
            }
        }
        self.waiting.push_back(due);
    }

    fn replied(&mut self, net: &mut Net, conn: ConnId, frame: &[u8]) {
        let Some(reply) = Reply::parse(frame) else {
            self.outcome.unexpected += 1;
            return;
        };
        let call = reply
            .key()
            .and_then(|key| Some((key, *self.calls.get(&key)?)));
        let Some((key, call)) = call.filter(|(_, call)| call.conn == conn) else {
            self.outcome.unexpected += 1;
            return;
        };
        self.calls.remove(&key);
        if let Some(in_flight) = self.in_flight.get_mut(conn) {
            *in_flight -= 1;
        }
        let now = Instant::now();
        if reply.errorcode == 0 {
            let time = now.saturating_duration_since(call.due);
            self.outcome.replied += 1;
            self.replies += 1;
            record(&mut self.outcome.times, time);
            self.note(now, time);
        } else {
            self.outcome.refused += 1;
            self.outcome.refusal.get_or_insert_with(|| {
                format!("errorcode {}: {}", reply.errorcode, reply.message())
            });
        }
        if self.is_over {
            return;
        }
        if self.is_closed_loop {
            self.call(net, conn, now);
        } else if let Some(due) = self.waiting.pop_front() {
            self.call(net, conn, due);
        }
    }

    /// Requests that never had room are lost. They have waited so long at least: without them the
    /// percentiles would be those of the lucky ones.
    fn give_up_waiting(&mut self) {
        for due in self.waiting.drain(..) {
            self.outcome.lost += 1;
            record(&mut self.outcome.times, due.elapsed());
        }
    }

    /// The slowest reply of each step of the time line.
    fn note(&mut self, now: Instant, time: Duration) {
        let step = TIME_LINE_STEP.as_secs_f64();
        let at = self.outcome.time + now.saturating_duration_since(self.started);
        let at = (at.as_secs_f64() / step).floor() * step;
        let seconds = time.as_secs_f64();
        match self.outcome.time_line.last_mut() {
            Some((last, slowest)) if *last >= at => *slowest = slowest.max(seconds),
            _ => self.outcome.time_line.push((at, seconds)),
        }
    }
}

impl Handler for Callers<'_> {
    fn on_open(&mut self, _: &mut Net, conn: ConnId, _: Origin) {
        self.opened += 1;
        self.in_flight.insert(conn, 0);
    }

    fn on_frame(&mut self, net: &mut Net, conn: ConnId, frame: &[u8]) {
        self.replied(net, conn, frame);
    }

    fn on_close(&mut self, _: &mut Net, conn: ConnId, why: CloseReason) {
        self.in_flight.remove(conn);
        if why != CloseReason::Local {
            self.failed = Some(why);
        }
        let before = self.calls.len();
        self.calls.retain(|_, call| call.conn != conn);
        self.outcome.lost += (before - self.calls.len()) as u64;
    }
}

struct Slice<'a> {
    client: &'a mut Client,
    args: &'a RpcArgs,
    request: &'a Request,
    connections: usize,
    sources: &'a [Option<IpAddr>],
}

impl Slice<'_> {
    fn run(
        &mut self,
        to: SocketAddr,
        process: Option<Process>,
        outcome: &mut Outcome,
    ) -> Result<Waited, Failure> {
        let sent_before = outcome.sent;
        let mut callers = Callers {
            request: self.request,
            depth: self.args.depth,
            is_closed_loop: self.args.rate.is_none(),
            is_over: false,
            in_flight: ConnMap::default(),
            connections: Vec::new(),
            next: 0,
            next_key: FIRST_KEY,
            calls: HashMap::new(),
            waiting: VecDeque::new(),
            opened: 0,
            failed: None,
            started: Instant::now(),
            outcome,
            replies: 0,
        };
        let callers = &mut callers;
        for number in 0..self.connections {
            let source = self.sources.get(number % self.sources.len().max(1));
            let options = ConnectOptions {
                max_frame_bytes: Some(MAX_FRAME_BYTES),
                source: source.copied().flatten(),
                ..ConnectOptions::default()
            };
            let conn = self.client.net().connect(to, options);
            callers.connections.push(conn);
        }
        let timeout = self.args.server.timeout;
        let until = Instant::now() + timeout;
        let all = self.connections;
        let waited = self.client.run_until(callers, until, |callers, _| {
            callers.opened == all || callers.failed.is_some()
        })?;
        if waited == Waited::Stopped {
            return Ok(waited);
        }
        if callers.opened < all {
            return Err(Failure::failed(format!(
                "only {} of {all} connections were established: {}",
                callers.opened,
                callers
                    .failed
                    .map_or_else(|| "too late".to_owned(), |why| format!("{why:?}"))
            )));
        }

        let cpu = self.client.settled_cpu(callers, process)?;
        callers.started = Instant::now();
        let length = self.args.duration / self.args.rounds;
        let waited = match self.args.rate {
            None => self.as_replies_come(callers, length)?,
            Some(rate) => self.by_schedule(callers, length, rate)?,
        };
        let time = callers.started.elapsed();
        let replies = callers.replies;
        callers.is_over = true;
        let until = Instant::now() + timeout;
        let drained = self
            .client
            .run_until(callers, until, |callers, _| callers.calls.is_empty())?;
        let cpu_after = self.client.settled_cpu(callers, process)?;
        match drained {
            // Who stops the run does not wait for the last replies.
            Waited::Stopped => callers.outcome.sent -= callers.calls.len() as u64,
            _ => callers.outcome.lost += callers.calls.len() as u64,
        }
        callers.calls.clear();
        let failed = callers.failed;
        for conn in std::mem::take(&mut callers.connections) {
            self.client.net().close(conn, Close::Now);
        }
        let until = Instant::now() + timeout;
        self.client
            .run_until(callers, until, |_, net| net.connections() == 0)?;

        let outcome = &mut *callers.outcome;
        outcome.time += time;
        outcome.per_second = outcome.per_second.max(replies as f64 / time.as_secs_f64());
        let sent = u32::try_from(outcome.sent - sent_before).unwrap_or(u32::MAX);
        let used = cpu_after.zip(cpu).map(|(to, from)| to.saturating_sub(from));
        let each = used.and_then(|used| used.checked_div(sent));
        outcome.cpu_a_request = outcome.cpu_a_request.into_iter().chain(each).min();
        if let Some(why) = failed {
            return Err(Failure::failed(format!(
                "the server ended a connection ({why:?}); {} requests were answered until then",
                outcome.replied
            )));
        }
        if drained == Waited::TooLong {
            return Err(Failure::failed(format!(
                "{} requests had no answer within {timeout:?} (--timeout)",
                outcome.lost
            )));
        }
        Ok(waited)
    }

    fn as_replies_come(
        &mut self,
        callers: &mut Callers<'_>,
        length: Duration,
    ) -> Result<Waited, Failure> {
        let net = self.client.net();
        for conn in callers.connections.clone() {
            for _ in 0..callers.depth {
                callers.call(net, conn, Instant::now());
            }
        }
        let until = Instant::now() + length;
        let waited = self
            .client
            .run_until(callers, until, |callers, _| callers.failed.is_some())?;
        Ok(went_on(waited))
    }

    fn by_schedule(
        &mut self,
        callers: &mut Callers<'_>,
        length: Duration,
        rate: f64,
    ) -> Result<Waited, Failure> {
        let start = Instant::now();
        let mut begun = 0_u32;
        let due = |number: u32| start + Duration::from_secs_f64(f64::from(number) / rate);
        loop {
            let now = Instant::now();
            while due(begun) <= now && due(begun) < start + length {
                callers.call_or_wait(self.client.net(), due(begun));
                begun += 1;
            }
            if self.client.is_stopped() {
                return Ok(Waited::Stopped);
            }
            let is_late = now >= start + length + self.args.server.timeout;
            let all_sent = due(begun) >= start + length && callers.waiting.is_empty();
            if all_sent || is_late || callers.failed.is_some() {
                callers.give_up_waiting();
                return Ok(Waited::Done);
            }
            self.client.turn(to_wait(due(begun)), callers)?;
        }
    }
}

/// The end of a slice's time is no delay.
fn went_on(waited: Waited) -> Waited {
    match waited {
        Waited::Stopped => Waited::Stopped,
        Waited::Done | Waited::TooLong => Waited::Done,
    }
}

fn figures(report: &mut Report, ours: &Outcome, bare: Option<&Outcome>) {
    report.figure(
        "replies a second, best round",
        Unit::PerSecond,
        Some(ours.per_second),
        bare.map(|bare| bare.per_second),
    );
    report.latencies(
        "request to reply",
        &ours.times,
        bare.map(|bare| &bare.times),
    );
    report.time(
        "server CPU a request, best round",
        ours.cpu_a_request,
        bare.and_then(|bare| bare.cpu_a_request),
    );
    let mut count = |name: &str, of: &dyn Fn(&Outcome) -> u64| {
        let value = |outcome: &Outcome| of(outcome) as f64;
        report.figure(name, Unit::Count, Some(value(ours)), bare.map(value));
    };
    count("requests", &|outcome| outcome.sent);
    count("replies", &|outcome| outcome.replied);
    count("errors", &|outcome| outcome.refused);
    count("lost", &|outcome| outcome.lost);
    count("answers to no request", &|outcome| outcome.unexpected);
    if ours.lost > 0 {
        report.notes.push(format!(
            "{} requests had no room within --timeout and were given up: they count with the time that \
             they had waited",
            ours.lost
        ));
    }
    if let Some(refusal) = &ours.refusal {
        report.notes.push(format!("the first error: {refusal}"));
    }
    let lines = [("node", Some(ours)), ("bare", bare)];
    report.time_line = Some(TimeLine {
        what: "the slowest reply of each 50 ms",
        unit: Some(Unit::Seconds),
        lines: lines
            .into_iter()
            .filter_map(|(name, outcome)| {
                Some(Line {
                    name: name.to_owned(),
                    points: outcome?.time_line.clone(),
                })
            })
            .collect(),
    });
}
