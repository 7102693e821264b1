//! The app of the HTTP server: queues requests, and answers a few at the end of each turn, so that
//! they never cost the nodes more than a fifth of the time.

use std::net::SocketAddr;
use std::time::Duration;

use super::config::Config;
use super::context::Context;
use super::handlers::Handlers;
use super::queue::{MAX_PER_TURN, RequestQueue, TimeBudget};
use super::request::PendingRequest;
use crate::http::{App, EventStream, Http, Request, ResponseTo};
use crate::reactor::{Handler, Net, Owner, TimerId};

/// The requests that wait, and the handlers that answer them.
#[derive(Debug)]
pub(super) struct AdminApp {
    queue: RequestQueue,
    budget: TimeBudget,
    /// Armed while requests wait for the budget.
    timer: Option<TimerId>,
    pub(super) handlers: Handlers,
    /// The owner of its timers. Allocated with the first listener.
    owner: Option<Owner>,
}

/// The approximate cost of every response.
const COST_PER_ANSWER: Duration = Duration::from_micros(10);

impl App for AdminApp {
    fn on_request(&mut self, http: &mut Http<'_>, request: &Request<'_>, to: ResponseTo) {
        self.handlers.counts.requests += 1;
        let request = PendingRequest::new(request, http.peer_addr(&to));
        self.queue.push(to, request);
    }

    fn on_refused(&mut self, _: &mut Http<'_>, _: Option<SocketAddr>, _: u16, _: &str) {
        self.handlers.counts.refused += 1;
    }

    fn on_unwanted(&mut self, _: &mut Http<'_>, to: ResponseTo) {
        self.queue.remove(&to);
        self.handlers.forget(&to);
    }

    fn on_stream_closed(&mut self, _: &mut Http<'_>, stream: EventStream) {
        self.handlers.stream_closed(stream);
    }
}

impl Handler for AdminApp {
    fn owns(&mut self, owner: Owner) -> bool {
        self.owner == Some(owner)
    }

    fn on_timer(&mut self, _: &mut Net, timer: TimerId, _: u64) {
        self.timer.take_if(|armed| *armed == timer);
        self.handlers.followers.on_timer(timer);
    }
}

impl AdminApp {
    pub(super) fn new(config: Config) -> AdminApp {
        AdminApp {
            queue: RequestQueue::default(),
            budget: TimeBudget::default(),
            timer: None,
            handlers: Handlers::new(config),
            owner: None,
        }
    }

    pub(super) fn claim_owner(&mut self, net: &mut Net) -> Owner {
        *self.owner.get_or_insert_with(|| net.new_owner())
    }

    /// Answers some of the requests that wait. To be called at the end of a turn, before the
    /// Distributor pushes: what is changed here is pushed in this turn.
    pub(super) fn answer_requests(&mut self, cx: &mut Context<'_>) {
        let turn_time = cx.net.counters().turn_time;
        self.budget.correct(turn_time);
        if !self.has_work() || self.timer.is_some() {
            return;
        }
        let now = cx.net.now();
        if now >= self.budget.free_at {
            let mut cost = Duration::ZERO;
            while cost < MAX_PER_TURN
                && let Some(more) = self.answer_next(cx)
            {
                cost += COST_PER_ANSWER + more;
            }
            self.budget.charge(now, turn_time, cost);
        }
        if self.has_work() {
            self.timer = Some(cx.arm(self.budget.free_at));
        }
    }

    fn has_work(&self) -> bool {
        self.queue.len() > 0 || self.handlers.is_listing()
    }

    /// Answers one request, or writes more of a list. Returns the cost of it, about.
    fn answer_next(&mut self, cx: &mut Context<'_>) -> Option<Duration> {
        let next = match self.queue.probes.pop_front() {
            Some(probe) => Some(probe),
            None if self.handlers.is_listing() => return Some(self.handlers.continue_list(cx)),
            None => self.queue.others.pop_front(),
        };
        let (to, request) = next?;
        let queued = self.queue.len();
        Some(self.handlers.answer(cx, to, &request, queued))
    }
}
