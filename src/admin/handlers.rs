//! The handlers of requests.

use super::access;
use super::app::AdminApp;
use super::context::{Answer, Context, HEADERS};
use super::drain::Drain;
use super::metrics::Figures;
use super::nodes::{Filter, Listing};
use super::page;
use super::request::PendingRequest;
use super::status;
use super::why;
use crate::http::ResponseTo;

/// The result of a handler.
enum Reply {
    Answer(Answer),
    /// A list, written over several turns.
    List(Filter),
    /// A stream of events.
    Events,
    /// The result of a drain, when it has ended.
    Drain(Drain),
}

const PATHS: [&str; 10] = [
    "/", "/nodes", "/events", "/why", "/status", "/metrics", "/sd", "/healthz", "/readyz", "/drain",
];

impl AdminApp {
    /// Responds to a request, now or later.
    pub(super) fn answer(
        &mut self,
        cx: &mut Context<'_>,
        to: ResponseTo,
        request: &PendingRequest,
    ) {
        if let Err(answer) = access::check(&self.config, cx.distributor, request) {
            self.counts.not_admitted += 1;
            return cx.respond(to, &answer);
        }
        match self.handle(cx, request) {
            Ok(Reply::Answer(answer)) | Err(answer) => cx.respond(to, &answer),
            Ok(Reply::List(filter)) => self.listing = Some((to, Listing::begin(cx, filter))),
            Ok(Reply::Events) => self.follow(cx, to, request),
            Ok(Reply::Drain(drain)) => self.drains.wait(drain, to),
        }
    }

    fn handle(&mut self, cx: &mut Context<'_>, request: &PendingRequest) -> Result<Reply, Answer> {
        let answer = match request.route() {
            ("GET", "/") => page::answer(),
            ("GET", "/healthz") => Answer::text(200, "ok"),
            ("GET", "/readyz") => readiness(cx),
            ("GET", "/metrics") => {
                let figures = self.figures(cx);
                self.metrics.get(&figures)
            }
            ("GET", "/status") => {
                cx.cost += status::cost(cx.distributor);
                let can_drain = self.config.admin_token.is_some();
                status::answer(&self.figures(cx), &self.history, can_drain, request)?
            }
            ("GET", "/why") => why::answer(cx, request)?,
            ("GET", "/nodes") => return Filter::nodes(request).map(Reply::List),
            ("GET", "/sd") => return Ok(Reply::List(Filter::Targets)),
            ("GET", "/events") => return Ok(Reply::Events),
            ("POST", "/drain") => return Drain::begin(cx, request).map(Reply::Drain),
            (_, "/drain") => wrong_method(&[("Allow", "POST")]),
            (_, path) if PATHS.contains(&path) => wrong_method(&[("Allow", "GET, HEAD")]),
            _ => Answer::text(
                404,
                format!("unknown path: use one of {}", PATHS.join(", ")),
            ),
        };
        Ok(Reply::Answer(answer))
    }

    fn figures<'c>(&self, cx: &'c Context<'_>) -> Figures<'c> {
        Figures {
            net: cx.net,
            server: cx.server,
            distributor: cx.distributor,
            counts: self.counts,
            streams: self.followers.len(),
            waiting: self.queue.len() + usize::from(self.listing.is_some()) + self.drains.len(),
            node_texts: self.nodes.len(),
            samples: self.history.len(),
        }
    }

    /// Writes more of a list, and sends it when it is complete.
    pub(super) fn continue_list(&mut self, cx: &mut Context<'_>) {
        let Some((to, mut listing)) = self.listing.take() else {
            return;
        };
        self.nodes.write_some(&mut listing, cx);
        if listing.is_complete() {
            cx.respond(to, &listing.finish());
        } else {
            self.listing = Some((to, listing));
        }
    }

    fn follow(&mut self, cx: &mut Context<'_>, to: ResponseTo, request: &PendingRequest) {
        if self.followers.len() >= self.config.max_streams {
            self.counts.streams_refused += 1;
            let answer = Answer::text(503, "too many event streams: try again later");
            return cx.respond(to, &answer);
        }
        // `Cache-Control` is set already.
        let [_, headers @ ..] = HEADERS;
        if let Some(stream) = cx.server.http(cx.net).stream_events(to, &headers) {
            self.counts.streams_opened += 1;
            let header = request.last_event_id.as_deref();
            let last_id = header.or_else(|| request.param("last_event_id"));
            let last_id = last_id.filter(|id| !id.is_empty());
            self.followers.add(cx, stream, last_id);
        }
    }

    /// Sends the results of completed drains, and events to their followers.
    ///
    /// Call it at the end of a turn, after the Distributor.
    pub(super) fn send_events(&mut self, cx: &mut Context<'_>) {
        self.drains.answer(cx);
        self.counts.events_sent += self.followers.send(cx);
    }

    /// Records a sample of figures if one is due. Call it at the end of a turn.
    pub(super) fn record_history(&mut self, cx: &mut Context<'_>) {
        if self.history.is_due(cx.net.now()) {
            let figures = self.figures(cx);
            let next = self.history.record(&figures);
            // The timer only ends the wait of a turn.
            cx.arm(next);
        }
    }
}

fn readiness(cx: &Context<'_>) -> Answer {
    if cx.distributor.is_stopping() {
        return Answer::text(503, "stopping");
    }
    let left = cx.distributor.warms_up_for(cx.net.now());
    if left.is_zero() {
        return Answer::text(200, "ready");
    }
    let seconds = left.as_secs_f64();
    let text = format!("warming up: the list may be incomplete for another {seconds:.1} s");
    Answer::text(503, text).with(&[("Retry-After", "1")])
}

fn wrong_method(allow: &'static [(&'static str, &'static str); 1]) -> Answer {
    let [(_, methods)] = allow;
    Answer::text(405, format!("method not allowed: use {methods}")).with(allow)
}
