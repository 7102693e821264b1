//! The connections of one round, and the requests on them.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Write};
use std::time::{Duration, Instant};

use serde_json::value::RawValue;

use crate::cli::flood::record::{Point, Times};
use crate::cli::flood::round::Round;
use crate::cli::flood::stop::Halt;
use crate::protocol::{Reply, Route, write_request};
use crate::reactor::{Close, CloseReason, ConnId, ConnectOptions, Handler, Net, Origin};

const MAX_FRAME_BYTES: usize = 1 << 20;
const TIME_LINE_STEP: Duration = Duration::from_millis(50);
/// All keys of a run have as many digits, so that all requests are of the same length.
const FIRST_KEY: u64 = 1_000_000_000;

#[derive(Debug)]
pub(super) struct Request {
    route: Route<'static>,
    params: Box<RawValue>,
}

impl Request {
    pub(super) fn new(path: &str, params: &str) -> Result<Request, Halt> {
        let route = Route::parse(path).into_owned();
        if route.method.is_empty() || route.path.is_empty() {
            let what = format!("--path {path}: no method; use METHOD/path, as in GET/echo");
            return Err(Halt::usage(what));
        }
        let invalid = |error| Halt::usage(format!("--params: invalid JSON: {error}"));
        let params = RawValue::from_string(params.to_owned()).map_err(invalid)?;
        Ok(Request { route, params })
    }

    fn write(&self, out: impl Write, key: u64) -> io::Result<()> {
        write_request(out, &self.route, key, None, &self.params)
    }

    pub(super) fn len(&self) -> usize {
        let mut out = Vec::new();
        self.write(&mut out, FIRST_KEY).map_or(0, |()| out.len())
    }
}

#[derive(Default, Debug)]
pub(super) struct Counts {
    pub(super) sent: u64,
    pub(super) replied: u64,
    pub(super) refused: u64,
    pub(super) lost: u64,
    pub(super) unexpected: u64,
}

#[derive(Clone, Copy, Debug)]
struct Call {
    conn: ConnId,
    /// When it was to be sent: waiting after that counts.
    due: Instant,
}

pub(super) struct Callers<'a> {
    request: &'a Request,
    depth: usize,
    /// A reply is followed by the next request.
    is_closed_loop: bool,
    connections: Vec<ConnId>,
    opened: usize,
    /// Each connection as often as it has room for a request.
    room: VecDeque<ConnId>,
    next_key: u64,
    calls: HashMap<u64, Call>,
    /// Requests that are due and have no room on any connection.
    pub(super) waiting: VecDeque<Instant>,
    pub(super) failed: Option<CloseReason>,
    started: Instant,
    pub(super) counts: Counts,
    pub(super) times: Times,
    /// The slowest reply of each step.
    pub(super) time_line: Vec<Point>,
    pub(super) refusal: Option<String>,
}

impl<'a> Callers<'a> {
    pub(super) fn new(request: &'a Request, depth: usize, is_closed_loop: bool) -> Self {
        Callers {
            request,
            depth,
            is_closed_loop,
            connections: Vec::new(),
            opened: 0,
            room: VecDeque::new(),
            next_key: FIRST_KEY,
            calls: HashMap::new(),
            waiting: VecDeque::new(),
            failed: None,
            started: Instant::now(),
            counts: Counts::default(),
            times: Times::default(),
            time_line: Vec::new(),
            refusal: None,
        }
    }

    pub(super) fn connect(&mut self, round: &mut Round, count: usize) -> Result<(), Halt> {
        let (to, sources) = (round.to, round.sources.clone());
        for source in sources.iter().cycle().take(count) {
            let options = ConnectOptions {
                max_frame_bytes: Some(MAX_FRAME_BYTES),
                source: *source,
                ..ConnectOptions::default()
            };
            let conn = round.net().connect(to, options);
            self.connections.push(conn);
        }
        let connections = self.connections.iter().copied().cycle();
        self.room = connections.take(count * self.depth).collect();
        round.run_for(round.timeout, self, |callers, _| {
            callers.opened == count || callers.failed.is_some()
        })?;
        let opened = self.opened;
        if opened == count {
            return Ok(());
        }
        let why = self
            .failed
            .map_or("too late".to_owned(), |why| format!("{why:?}"));
        let what = format!("only {opened} of {count} connections were established: {why}");
        Err(Halt::failed(what))
    }

    /// Returns the time from which the time line counts.
    pub(super) fn start(&mut self) -> Instant {
        self.started = Instant::now();
        self.started
    }

    /// Fills all connections, and then sends a request for each reply.
    pub(super) fn call_in_turn(&mut self, round: &mut Round, length: Duration) -> Result<(), Halt> {
        while !self.room.is_empty() {
            self.call_or_wait(round.net(), Instant::now());
        }
        let failed = |callers: &mut Self, _: &mut Net| callers.failed.is_some();
        round.run_for(length, self, failed).map(drop)
    }

    fn call(&mut self, net: &mut Net, conn: ConnId, due: Instant) {
        let key = self.next_key;
        if !net.send_with(conn, |out| self.request.write(out, key)) {
            return;
        }
        self.next_key += 1;
        self.counts.sent += 1;
        self.calls.insert(key, Call { conn, due });
    }

    /// Sends a request on the next connection that has room.
    pub(super) fn call_or_wait(&mut self, net: &mut Net, due: Instant) {
        match self.room.pop_front() {
            Some(conn) => self.call(net, conn, due),
            None => self.waiting.push_back(due),
        }
    }

    /// Requests that never had room are lost. They have waited at least this long: without them the
    /// percentiles would be those of the lucky ones.
    pub(super) fn give_up_waiting(&mut self) {
        for due in self.waiting.drain(..) {
            self.counts.lost += 1;
            self.times.record(due.elapsed());
        }
    }

    /// Waits for all replies. A run that is stopped does not, and counts no call without one.
    pub(super) fn drain(&mut self, round: &mut Round) -> Result<(), Halt> {
        self.is_closed_loop = false;
        self.waiting.clear();
        let timeout = round.timeout;
        let drained = round.run_for(round.timeout, self, |callers, _| callers.calls.is_empty());
        let calls = std::mem::take(&mut self.calls).len() as u64;
        match &drained {
            Err(Halt::Stopped) => self.counts.sent -= calls,
            _ => self.counts.lost += calls,
        }
        if drained? {
            return Ok(());
        }
        let lost = self.counts.lost;
        let what = format!("{lost} requests had no answer within {timeout:?} (--timeout)");
        Err(Halt::failed(what))
    }

    /// Closes all connections. What was measured until then is complete, even if the run is stopped.
    pub(super) fn close_all(&mut self, round: &mut Round) -> Result<(), Halt> {
        for conn in std::mem::take(&mut self.connections) {
            round.net().close(conn, Close::Now);
        }
        match round.run_for(round.timeout, self, |_, net| net.connections() == 0) {
            Err(Halt::Failed(failure)) => Err(Halt::Failed(failure)),
            Ok(_) | Err(Halt::Stopped) => Ok(()),
        }
    }

    /// Returns `None` if it is not the reply to a request.
    fn on_reply(&mut self, net: &mut Net, conn: ConnId, frame: &[u8]) -> Option<()> {
        let reply = Reply::parse(frame)?;
        let key = reply.key()?;
        let due = self.calls.get(&key).filter(|call| call.conn == conn)?.due;
        self.calls.remove(&key);
        let now = Instant::now();
        if reply.errorcode == 0 {
            let time = now.saturating_duration_since(due);
            self.counts.replied += 1;
            self.times.record(time);
            self.add_to_time_line(now, time);
        } else {
            self.counts.refused += 1;
            let refusal = || format!("errorcode {}: {}", reply.errorcode, reply.message());
            self.refusal.get_or_insert_with(refusal);
        }
        let next = match self.is_closed_loop {
            true => Some(now),
            false => self.waiting.pop_front(),
        };
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
        match self.time_line.last_mut() {
            Some((last, slowest)) if *last >= at => *slowest = slowest.max(seconds),
            _ => self.time_line.push((at, seconds)),
        }
    }
}

impl Handler for Callers<'_> {
    fn on_open(&mut self, _: &mut Net, _: ConnId, _: Origin) {
        self.opened += 1;
    }

    fn on_frame(&mut self, net: &mut Net, conn: ConnId, frame: &[u8]) {
        if self.on_reply(net, conn, frame).is_none() {
            self.counts.unexpected += 1;
        }
    }

    fn on_close(&mut self, _: &mut Net, conn: ConnId, why: CloseReason) {
        if why != CloseReason::Local {
            self.failed = Some(why);
        }
        let before = self.calls.len();
        self.calls.retain(|_, call| call.conn != conn);
        self.counts.lost += (before - self.calls.len()) as u64;
    }
}
