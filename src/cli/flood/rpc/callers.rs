//! The connections of one round, and the requests on them.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::{FIRST_KEY, Outcome, Request};
use crate::cli::flood::args::RpcArgs;
use crate::cli::flood::driver::Round;
use crate::cli::flood::stop::Halt;
use crate::protocol::Reply;
use crate::reactor::conn_map::ConnMap;
use crate::reactor::{Close, CloseReason, ConnId, ConnectOptions, Handler, Net, Origin};

const MAX_FRAME_BYTES: usize = 1 << 20;
/// Points of the time line are this far apart.
const TIME_LINE_STEP: Duration = Duration::from_millis(50);

/// A request without a reply.
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
    /// No more requests are sent.
    is_over: bool,
    connections: Vec<ConnId>,
    in_flight: ConnMap<usize>,
    /// The connection that was used last.
    last: usize,
    next_key: u64,
    calls: HashMap<u64, Call>,
    /// Requests that are due and have no room on any connection.
    waiting: VecDeque<Instant>,
    /// Why a connection was lost.
    pub(super) failed: Option<CloseReason>,
    started: Instant,
    outcome: &'a mut Outcome,
}

impl<'a> Callers<'a> {
    pub(super) fn new(request: &'a Request, args: &RpcArgs, outcome: &'a mut Outcome) -> Self {
        Callers {
            request,
            depth: args.depth,
            is_closed_loop: args.rate.is_none(),
            is_over: false,
            connections: Vec::new(),
            in_flight: ConnMap::default(),
            last: 0,
            next_key: FIRST_KEY,
            calls: HashMap::new(),
            waiting: VecDeque::new(),
            failed: None,
            started: Instant::now(),
            outcome,
        }
    }

    pub(super) fn connect(&mut self, round: &mut Round<'_>, count: usize) -> Result<(), Halt> {
        for source in round.sources.iter().cycle().take(count) {
            let options = ConnectOptions {
                max_frame_bytes: Some(MAX_FRAME_BYTES),
                source: *source,
                ..ConnectOptions::default()
            };
            let conn = round.events.net().connect(round.to, options);
            self.connections.push(conn);
        }
        let timeout = round.events.timeout;
        round.events.run_for(timeout, self, |callers, _| {
            callers.in_flight.len() == count || callers.failed.is_some()
        })?;
        let opened = self.in_flight.len();
        if opened == count {
            return Ok(());
        }
        let why = self
            .failed
            .map_or("too late".to_owned(), |why| format!("{why:?}"));
        Err(Halt::failed(format!(
            "only {opened} of {count} connections were established: {why}"
        )))
    }

    /// The time line counts from now on.
    pub(super) fn start(&mut self) {
        self.started = Instant::now();
    }

    /// Fills all connections, and then sends a request for each reply.
    pub(super) fn call_in_turn(
        &mut self,
        round: &mut Round<'_>,
        length: Duration,
    ) -> Result<(), Halt> {
        for conn in self.connections.clone() {
            for _ in 0..self.depth {
                self.call(round.events.net(), conn, Instant::now());
            }
        }
        let events = &mut round.events;
        events.run_for(length, self, |callers, _| callers.failed.is_some())?;
        Ok(())
    }

    fn call(&mut self, net: &mut Net, conn: ConnId, due: Instant) {
        let key = self.next_key;
        if !net.send_with(conn, |out| self.request.write(out, key)) {
            return;
        }
        self.next_key += 1;
        self.outcome.sent += 1;
        self.calls.insert(key, Call { conn, due });
        if let Some(in_flight) = self.in_flight.get_mut(conn) {
            *in_flight += 1;
        }
    }

    /// Sends a request on the next connection that has room.
    pub(super) fn call_or_wait(&mut self, net: &mut Net, due: Instant) {
        for _ in 0..self.connections.len() {
            self.last = (self.last + 1) % self.connections.len();
            let conn = self.connections.get(self.last).copied();
            let has_room = |conn: &ConnId| {
                let in_flight = self.in_flight.get(*conn);
                in_flight.is_some_and(|calls| *calls < self.depth)
            };
            if let Some(conn) = conn.filter(has_room) {
                return self.call(net, conn, due);
            }
        }
        self.waiting.push_back(due);
    }

    pub(super) fn are_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Requests that never had room are lost. They have waited at least this long: without them the
    /// percentiles would be those of the lucky ones.
    pub(super) fn give_up_waiting(&mut self) {
        for due in self.waiting.drain(..) {
            self.outcome.lost += 1;
            self.outcome.times.record(due.elapsed());
        }
    }

    pub(super) fn finish(&mut self) {
        self.is_over = true;
    }

    pub(super) fn is_drained(&self) -> bool {
        self.calls.is_empty()
    }

    /// Counts calls without a reply as if they had not been sent.
    pub(super) fn forget_calls(&mut self) {
        self.outcome.sent -= self.calls.len() as u64;
        self.calls.clear();
    }

    /// Counts calls without a reply as lost, and returns how many all are.
    pub(super) fn lose_calls(&mut self) -> u64 {
        self.outcome.lost += self.calls.len() as u64;
        self.calls.clear();
        self.outcome.lost
    }

    pub(super) fn close_all(&mut self, round: &mut Round<'_>) -> Result<(), Halt> {
        for conn in std::mem::take(&mut self.connections) {
            round.events.net().close(conn, Close::Now);
        }
        let timeout = round.events.timeout;
        let closed = |_: &mut Self, net: &mut Net| net.connections() == 0;
        match round.events.run_for(timeout, self, closed) {
            Err(Halt::Failed(failure)) => Err(Halt::Failed(failure)),
            // What was measured until then is complete.
            Ok(_) | Err(Halt::Stopped) => Ok(()),
        }
    }

    fn on_reply(&mut self, net: &mut Net, conn: ConnId, frame: &[u8]) -> Option<()> {
        let reply = Reply::parse(frame)?;
        let key = reply.key()?;
        let call = self.calls.get(&key).filter(|call| call.conn == conn);
        let due = call?.due;
        self.calls.remove(&key);
        if let Some(in_flight) = self.in_flight.get_mut(conn) {
            *in_flight -= 1;
        }
        let now = Instant::now();
        if reply.errorcode == 0 {
            let time = now.saturating_duration_since(due);
            self.outcome.replied += 1;
            self.outcome.times.record(time);
            self.add_to_time_line(now, time);
        } else {
            self.outcome.refused += 1;
            let refusal = || format!("errorcode {}: {}", reply.errorcode, reply.message());
            self.outcome.refusal.get_or_insert_with(refusal);
        }
        if !self.is_over {
            let due = if self.is_closed_loop {
                Some(now)
            } else {
                self.waiting.pop_front()
            };
            due.into_iter().for_each(|due| self.call(net, conn, due));
        }
        Some(())
    }

    fn add_to_time_line(&mut self, now: Instant, time: Duration) {
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
        self.in_flight.insert(conn, 0);
    }

    fn on_frame(&mut self, net: &mut Net, conn: ConnId, frame: &[u8]) {
        if self.on_reply(net, conn, frame).is_none() {
            self.outcome.unexpected += 1;
        }
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
