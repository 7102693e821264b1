//! The app of the HTTP server: queues requests, and responds to a few at the end of each turn,
//! within 20 % of the time.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use super::config::Config;
use super::context::Context;
use super::drain::Drains;
use super::events::Followers;
use super::history::History;
use super::metrics::{Cache, Counts};
use super::nodes::{Listing, Nodes};
use super::request::PendingRequest;
use crate::http::{App, EventStream, Http, Request, ResponseTo};
use crate::reactor::{Handler, Net, Owner, TimerId};
use crate::time::Time;

/// Pending requests, and the state that their responses depend on.
#[derive(Debug, Default)]
pub(super) struct AdminApp {
    pub(super) config: Config,
    /// Pending requests, health checks first.
    pub(super) queue: VecDeque<(ResponseTo, PendingRequest)>,
    budget: TimeBudget,
    /// Armed while requests wait for the budget.
    timer: Option<TimerId>,
    /// Owner of its timers. Allocated with the first listener.
    owner: Option<Owner>,
    pub(super) nodes: Nodes,
    /// The list that is being written. Further lists wait for it.
    pub(super) listing: Option<(ResponseTo, Listing)>,
    pub(super) followers: Followers,
    pub(super) drains: Drains,
    pub(super) metrics: Cache,
    pub(super) history: History,
    pub(super) counts: Counts,
}

impl App for AdminApp {
    fn on_request(&mut self, http: &mut Http<'_>, request: &Request<'_>, to: ResponseTo) {
        self.counts.requests += 1;
        let request = PendingRequest::new(request, http.peer_addr(&to));
        let place = if request.is_probe() {
            self.queue.partition_point(|(_, other)| other.is_probe())
        } else {
            self.queue.len()
        };
        self.queue.insert(place, (to, request));
    }

    fn on_refused(&mut self, _: &mut Http<'_>, _: Option<SocketAddr>, _: u16, _: &str) {
        self.counts.refused += 1;
    }

    fn on_unwanted(&mut self, _: &mut Http<'_>, to: ResponseTo) {
        self.queue.retain(|(queued, _)| *queued != to);
        self.listing.take_if(|(waiting, _)| *waiting == to);
        self.drains.forget(&to);
    }

    fn on_stream_closed(&mut self, _: &mut Http<'_>, stream: EventStream) {
        self.counts.streams_closed += 1;
        self.followers.remove(stream);
    }
}

impl Handler for AdminApp {
    fn owns(&mut self, owner: Owner) -> bool {
        self.owner == Some(owner)
    }

    fn on_timer(&mut self, _: &mut Net, timer: TimerId, _: u64) {
        self.timer.take_if(|armed| *armed == timer);
        self.followers.on_timer(timer);
    }
}

/// Maximum time for the responses of one turn.
const MAX_PER_TURN: Duration = Duration::from_millis(1);
/// Approximate cost of each response, and of each part of a list.
const COST_PER_ANSWER: Duration = Duration::from_micros(10);

impl AdminApp {
    pub(super) fn new(config: Config) -> AdminApp {
        AdminApp {
            config,
            ..AdminApp::default()
        }
    }

    pub(super) fn claim_owner(&mut self, net: &mut Net) -> Owner {
        *self.owner.get_or_insert_with(|| net.new_owner())
    }

    /// Responds to some of the pending requests.
    ///
    /// Call it at the end of a turn, before the Distributor pushes: their changes are pushed in
    /// this turn.
    pub(super) fn answer_requests(&mut self, cx: &mut Context<'_>) {
        let turn_time = cx.net.counters().turn_time;
        self.budget.correct(turn_time);
        if !self.has_work() || self.timer.is_some() {
            return;
        }
        let now = cx.net.now();
        if now >= self.budget.free_at {
            while cx.cost < MAX_PER_TURN && self.has_work() {
                cx.cost += COST_PER_ANSWER;
                self.answer_next(cx);
            }
            self.budget.charge(now, turn_time, cx.cost);
        }
        if self.has_work() {
            self.timer = Some(cx.arm(self.budget.free_at));
        }
    }

    fn has_work(&self) -> bool {
        !self.queue.is_empty() || self.listing.is_some()
    }

    /// Responds to one request, or writes more of a list.
    fn answer_next(&mut self, cx: &mut Context<'_>) {
        let is_probe = |(_, request): &(ResponseTo, PendingRequest)| request.is_probe();
        if self.listing.is_some() && !self.queue.front().is_some_and(is_probe) {
            self.continue_list(cx);
        } else if let Some((to, request)) = self.queue.pop_front() {
            self.answer(cx, to, &request);
        }
    }
}

/// Limits responses to 20 % of the time: each turn with responses is followed by a pause of four
/// times their cost.
#[derive(Debug, Default)]
struct TimeBudget {
    /// Time from which requests may be served again.
    free_at: Time,
    /// Time of the last turn with responses, and the time spent in all turns before it.
    last: Option<(Time, Duration)>,
}

const PAUSE_FACTOR: u32 = 4;

impl TimeBudget {
    /// Replaces the estimate for the last turn by its real time, if that is longer.
    ///
    /// Call it in each turn, with the time spent in all turns.
    fn correct(&mut self, turn_time: Duration) {
        if let Some((at, before)) = self.last.take() {
            let took = turn_time.saturating_sub(before);
            self.free_at = self.free_at.max(at + took * PAUSE_FACTOR);
        }
    }

    /// Charges the estimated cost of the responses of this turn.
    fn charge(&mut self, now: Time, turn_time: Duration, cost: Duration) {
        self.last = Some((now, turn_time));
        self.free_at = now + cost * PAUSE_FACTOR;
    }
}
