//! The handlers of requests.

use std::time::Duration;

use super::access::Access;
use super::answer::{Answer, HEADERS};
use super::config::Config;
use super::context::Context;
use super::drain::Drains;
use super::events::Followers;
use super::metrics::{Cache, Counts, Figures};
use super::nodes::{Filter, Listing, Nodes};
use super::request::PendingRequest;
use super::router::Route;
use super::why;
use crate::http::{EventStream, ResponseTo};

/// Answers requests, and keeps what it takes to do so.
#[derive(Debug)]
pub(super) struct Handlers {
    pub(super) access: Access,
    max_streams: usize,
    nodes: Nodes,
    /// The list that is being written. Later ones wait for it.
    listing: Option<(ResponseTo, Listing)>,
    pub(super) followers: Followers,
    drains: Drains,
    metrics: Cache,
    pub(super) counts: Counts,
}

impl Handlers {
    pub(super) fn new(config: Config) -> Handlers {
        Handlers {
            access: Access {
                hosts: config.hosts,
                admin_token: config.admin_token,
            },
            max_streams: config.max_streams,
            nodes: Nodes::default(),
            listing: None,
            followers: Followers::default(),
            drains: Drains::default(),
            metrics: Cache::default(),
            counts: Counts::default(),
        }
    }

    /// Drops a request whose client is gone.
    pub(super) fn forget(&mut self, to: &ResponseTo) {
        self.listing.take_if(|(waiting, _)| waiting == to);
        self.drains.forget(to);
    }

    pub(super) fn stream_closed(&mut self, stream: EventStream) {
        self.counts.streams_closed += 1;
        self.followers.remove(stream);
    }

    /// Answers a request, now or later. `queued` is the number of those that wait. Returns the cost of
    /// it, about.
    pub(super) fn answer(
        &mut self,
        cx: &mut Context<'_>,
        to: ResponseTo,
        request: &PendingRequest,
        queued: usize,
    ) -> Duration {
        if let Err(answer) = self.access.check(cx.distributor, request) {
            self.counts.not_admitted += 1;
            return cx.respond(to, &answer);
        }
        match request.route {
            Route::Page => cx.respond(to, &page()),
            Route::Healthz => cx.respond(to, &Answer::text(200, "ok")),
            Route::Readyz => cx.respond(to, &readiness(cx)),
            Route::Metrics => {
                let figures = self.metrics.get(&Figures {
                    net: cx.net,
                    server: cx.server,
                    distributor: cx.distributor,
                    registry: cx.distributor.registry(),
                    stats: cx.distributor.stats(),
                    counters: cx.net.counters(),
                    counts: self.counts,
                    streams: self.followers.len(),
                    waiting: queued + usize::from(self.is_listing()) + self.drains.len(),
                    node_texts: self.nodes.len(),
                });
                cx.respond(to, &figures)
            }
            Route::Why => {
                let cost = why::cost(cx.distributor);
                let answer = why::answer(cx.distributor, request).unwrap_or_else(|error| error);
                cost + cx.respond(to, &answer)
            }
            Route::Nodes | Route::ServiceDiscovery => match Filter::new(request) {
                Ok(filter) => self.begin_list(cx, to, filter),
                Err(answer) => cx.respond(to, &answer),
            },
            Route::Events => self.follow(cx, to, request),
            Route::Drain => match self.drains.begin(cx, request) {
                Ok(drain) => {
                    self.drains.wait(drain, to);
                    Duration::ZERO
                }
                Err(answer) => cx.respond(to, &answer),
            },
            Route::WrongMethod(allow) => {
                cx.respond(to, &Answer::text(405, "method not allowed").with(allow))
            }
            Route::Unknown => cx.respond(
                to,
                &Answer::text(
                    404,
                    "unknown path: use /, /nodes, /events, /why, /metrics, /sd, /healthz, /readyz \
                     or /drain",
                ),
            ),
        }
    }

    pub(super) fn is_listing(&self) -> bool {
        self.listing.is_some()
    }

    fn begin_list(&mut self, cx: &Context<'_>, to: ResponseTo, filter: Filter) -> Duration {
        let (listing, cost) = Listing::begin(filter, cx.net.now(), cx.distributor);
        self.listing = Some((to, listing));
        cost
    }

    /// Writes more of a list, and sends it once it is complete. Returns the cost of it, about.
    pub(super) fn continue_list(&mut self, cx: &mut Context<'_>) -> Duration {
        let Some((to, mut listing)) = self.listing.take() else {
            return Duration::ZERO;
        };
        let cost = self.nodes.write_some(&mut listing, cx.net, cx.distributor);
        if !listing.is_complete() {
            self.listing = Some((to, listing));
            return cost;
        }
        cost + cx.respond(to, &listing.finish())
    }

    fn follow(
        &mut self,
        cx: &mut Context<'_>,
        to: ResponseTo,
        request: &PendingRequest,
    ) -> Duration {
        if self.followers.len() >= self.max_streams {
            self.counts.streams_refused += 1;
            return cx.respond(to, &Answer::text(503, "too many event streams: try later"));
        }
        // `Cache-Control` is set already.
        let [_, headers @ ..] = HEADERS;
        if let Some(stream) = cx.server.http(cx.net).stream_events(to, &headers) {
            self.counts.streams_opened += 1;
            let header = request.last_event_id.as_deref();
            let last_id = header.or_else(|| request.param("last_event_id"));
            self.followers
                .add(cx, stream, last_id.filter(|id| !id.is_empty()));
        }
        Duration::ZERO
    }

    /// Sends the results of drains that have ended, and events to those that follow them. To be called
    /// at the end of a turn, after the Distributor.
    pub(super) fn send_events(&mut self, cx: &mut Context<'_>) {
        self.drains.answer(cx);
        self.counts.events_sent += self.followers.send(cx);
    }
}

/// The content security policy of the page: its own script, and requests to this server.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; \
    script-src 'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";

fn page() -> Answer {
    Answer {
        status: 200,
        content_type: "text/html; charset=utf-8",
        more: &[("Content-Security-Policy", PAGE_POLICY)],
        body: include_bytes!("page.html").to_vec(),
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
