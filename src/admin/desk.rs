//! Requests, and when each is answered: a few at the end of each turn, so that asking never costs the
//! nodes more than a fifth of the time.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use super::access::{AdminToken, Shown, is_our_host};
use super::answer::{Answer, EVERYWHERE};
use super::drain::Drains;
use super::events::Followers;
use super::metrics;
use super::nodes::{Listing, Nodes, Wanted};
use super::{Config, why};
use crate::distributor::Distributor;
use crate::http::{App, EventStream, Http, Request, ResponseTo, Server};
use crate::reactor::{Handler, Net, Owner, TimerId};
use crate::time::Time;

/// Where requests wait, and what is kept to answer them.
#[derive(Debug)]
pub(super) struct Desk {
    config: Config,
    /// Of the timers. Allocated with the first listener.
    owner: Option<Owner>,
    waiting: VecDeque<(ResponseTo, Asked)>,
    /// Who only asks whether it runs or is ready: they are answered before all others.
    probes: VecDeque<(ResponseTo, Asked)>,
    /// Until when what was answered takes up the time.
    taken_until: Time,
    /// When something was answered in the last turn, and what all turns before had taken.
    answered: Option<(Time, Duration)>,
    timer: Option<TimerId>,
    nodes: Nodes,
    /// The list that is being written. Who comes later waits for it.
    listing: Option<(ResponseTo, Listing)>,
    followers: Followers,
    drains: Drains,
    figures: metrics::Shared,
    counts: Counts,
}

/// What was done so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) requests: u64,
    pub(super) not_admitted: u64,
    pub(super) refused: u64,
    pub(super) streams_opened: u64,
    pub(super) streams_ended: u64,
    pub(super) streams_refused: u64,
    pub(super) events_sent: u64,
}

/// A request, as far as it matters.
#[derive(Debug)]
pub(super) struct Asked {
    route: Route,
    pairs: Vec<(String, String)>,
    last_event_id: Option<String>,
    host: Option<String>,
    shown: Shown,
    peer: Option<SocketAddr>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Route {
    Page,
    Nodes,
    Events,
    Healthz,
    Readyz,
    Metrics,
    Sd,
    Why,
    Drain,
    WrongMethod(&'static [(&'static str, &'static str)]),
    Unknown,
}

impl Route {
    fn of(method: &str, path: &str) -> Route {
        let route = match path {
            "/" => Route::Page,
            "/nodes" => Route::Nodes,
            "/events" => Route::Events,
            "/healthz" => Route::Healthz,
            "/readyz" => Route::Readyz,
            "/metrics" => Route::Metrics,
            "/sd" => Route::Sd,
            "/why" => Route::Why,
            "/drain" => Route::Drain,
            _ => return Route::Unknown,
        };
        match (route, method) {
            (Route::Drain, "POST") => route,
            (Route::Drain, _) => Route::WrongMethod(&[("Allow", "POST")]),
            (_, "GET" | "HEAD") => route,
            _ => Route::WrongMethod(&[("Allow", "GET, HEAD")]),
        }
    }
}

impl Asked {
    /// The value of a parameter, if it is there.
    pub(super) fn pair(&self, name: &str) -> Option<&str> {
        let found = self.pairs.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Refuses what would be overlooked: parameters that are none here, and a second value.
    pub(super) fn knows_only(&self, names: &[&str]) -> Result<(), Answer> {
        let mut seen: Vec<&str> = Vec::new();
        for (name, _) in &self.pairs {
            if !names.contains(&name.as_str()) || seen.contains(&name.as_str()) {
                return Err(Answer::text(
                    400,
                    format!("the parameters here are, each once: {}", names.join(", ")),
                ));
            }
            seen.push(name);
        }
        Ok(())
    }
}

/// How long what is answered in one turn may take.
const LONGEST_IN_TURN: Duration = Duration::from_millis(1);
/// What it took, several times, is how long the next answer waits.
const TIMES_AS_LONG: u32 = 4;
/// An answer costs at least about this,
const PER_ANSWER: Duration = Duration::from_micros(10);
/// and this for each byte: it is made, copied and given to the kernel.
const NANOS_PER_BYTE: u64 = 2;

fn cost_of_bytes(bytes: usize) -> Duration {
    Duration::from_nanos(bytes as u64 * NANOS_PER_BYTE)
}

impl App for Desk {
    fn on_request(&mut self, http: &mut Http<'_>, request: &Request<'_>, to: ResponseTo) {
        self.counts.requests += 1;
        let asked = Asked {
            route: Route::of(request.method(), request.path()),
            pairs: request.query_pairs().into_owned().collect(),
            last_event_id: request.header("last-event-id").map(ToOwned::to_owned),
            host: request.host().map(ToOwned::to_owned),
            shown: Shown::read(request.header("authorization")),
            peer: http.peer_addr(&to),
        };
        match asked.route {
            Route::Healthz | Route::Readyz => self.probes.push_back((to, asked)),
            _ => self.waiting.push_back((to, asked)),
        }
    }

    fn on_refused(&mut self, _: &mut Http<'_>, _: Option<SocketAddr>, _: u16, _: &str) {
        self.counts.refused += 1;
    }

    fn on_unwanted(&mut self, _: &mut Http<'_>, to: ResponseTo) {
        self.waiting.retain(|(waiting, _)| *waiting != to);
        self.probes.retain(|(waiting, _)| *waiting != to);
        self.listing.take_if(|(waiting, _)| *waiting == to);
        self.drains.forget(&to);
    }

    fn on_stream_closed(&mut self, _: &mut Http<'_>, stream: EventStream) {
        self.counts.streams_ended += 1;
        self.followers.remove(stream);
    }
}

impl Handler for Desk {
    fn owns(&self, owner: Owner) -> bool {
        self.owner == Some(owner)
    }

    fn on_timer(&mut self, _: &mut Net, timer: TimerId, _: u64) {
        if self.timer == Some(timer) {
            self.timer = None;
        }
        self.followers.timer_rang(timer);
    }
}

impl Desk {
    pub(super) fn new(config: Config) -> Desk {
        Desk {
            config,
            owner: None,
            waiting: VecDeque::new(),
            probes: VecDeque::new(),
            taken_until: Time::ZERO,
            answered: None,
            timer: None,
            nodes: Nodes::default(),
            listing: None,
            followers: Followers::default(),
            drains: Drains::default(),
            figures: metrics::Shared::default(),
            counts: Counts::default(),
        }
    }

    pub(super) fn set_admin_token(&mut self, token: AdminToken) {
        self.config.admin_token = Some(token);
    }

    pub(super) fn claim_owner(&mut self, net: &mut Net) -> Owner {
        *self.owner.get_or_insert_with(|| net.new_owner())
    }

    /// Answers some of those who wait.
    pub(super) fn serve(
        &mut self,
        net: &mut Net,
        server: &mut Server,
        distributor: &mut Distributor,
    ) {
        let turn_time = net.counters().turn_time;
        if let Some((at, before)) = self.answered.take() {
            // It may have taken longer than was reckoned.
            let took = turn_time.saturating_sub(before);
            self.taken_until = self.taken_until.max(at + took * TIMES_AS_LONG);
        }
        if !self.has_work() || self.timer.is_some() {
            return;
        }
        if net.now() >= self.taken_until {
            self.answered = Some((net.now(), turn_time));
            let mut took = Duration::ZERO;
            while took < LONGEST_IN_TURN {
                took += PER_ANSWER;
                if let Some((to, asked)) = self.probes.pop_front() {
                    took += self.answer(net, server, distributor, to, &asked);
                } else if let Some((to, listing)) = self.listing.take() {
                    took += self.go_on(net, server, distributor, to, listing);
                } else if let Some((to, asked)) = self.waiting.pop_front() {
                    took += self.answer(net, server, distributor, to, &asked);
                } else {
                    break;
                }
            }
            self.taken_until = net.now() + took * TIMES_AS_LONG;
        }
        if self.has_work() {
            let owner = self.claim_owner(net);
            self.timer = Some(net.arm(owner, self.taken_until, 0));
        }
    }

    fn has_work(&self) -> bool {
        !self.waiting.is_empty() || !self.probes.is_empty() || self.listing.is_some()
    }

    /// Writes more of a list, and answers when it has all. Returns what that costs, about.
    fn go_on(
        &mut self,
        net: &mut Net,
        server: &mut Server,
        distributor: &Distributor,
        to: ResponseTo,
        mut listing: Listing,
    ) -> Duration {
        let cost = self.nodes.write_some(&mut listing, net, distributor);
        if !listing.is_complete() {
            self.listing = Some((to, listing));
            return cost;
        }
        let answer = listing.finish();
        answer.give(|response| server.http(net).respond(to, response));
        cost + cost_of_bytes(answer.body.len())
    }

    /// Tells whoever follows what happened, and who waits for a drain what came of it.
    pub(super) fn tell(
        &mut self,
        net: &mut Net,
        server: &mut Server,
        distributor: &mut Distributor,
    ) {
        self.drains.answer(net, server, distributor);
        let owner = self.claim_owner(net);
        self.counts.events_sent += self.followers.tell(net, owner, server, distributor);
    }

    /// Answers one. Returns what that costs beside [`PER_ANSWER`], about.
    fn answer(
        &mut self,
        net: &mut Net,
        server: &mut Server,
        distributor: &mut Distributor,
        to: ResponseTo,
        asked: &Asked,
    ) -> Duration {
        let mut more = Duration::ZERO;
        let answer = match self.check(distributor, asked) {
            Err(answer) => answer,
            Ok(()) => match asked.route {
                Route::Events => {
                    self.follow(net, server, distributor, to, asked);
                    return more;
                }
                Route::Drain => match self.drains.begin(net, distributor, to, asked) {
                    Ok(()) => return more,
                    Err((to, answer)) => {
                        answer.give(|response| server.http(net).respond(to, response));
                        return more;
                    }
                },
                Route::Nodes | Route::Sd => match wanted(asked) {
                    Ok(wanted) => {
                        let (listing, cost) = Listing::begin(wanted, net.now(), distributor);
                        self.listing = Some((to, listing));
                        return cost;
                    }
                    Err(answer) => answer,
                },
                route => {
                    let (answer, cost) = self.look_up(net, server, distributor, route, asked);
                    more = cost;
                    answer
                }
            },
        };
        if matches!(answer.status, 401 | 403 | 421) {
            self.counts.not_admitted += 1;
        }
        answer.give(|response| server.http(net).respond(to, response));
        more + cost_of_bytes(answer.body.len())
    }

    /// What stands in the way of an answer.
    fn check(&self, distributor: &Distributor, asked: &Asked) -> Result<(), Answer> {
        let is_ours = |host: &String| is_our_host(host, &self.config.hosts);
        if !asked.host.as_ref().is_none_or(is_ours) {
            let why = "this name is not known here: ask by address or as localhost, or start the \
                       Distributor with --http-host NAME";
            return Err(Answer::text(421, why));
        }
        let token = asked.shown.token();
        let is_admin = |token: &str| {
            let admin = self.config.admin_token.as_ref();
            admin.is_some_and(|admin| admin.is(token))
        };
        match asked.route {
            Route::Healthz | Route::Readyz => Ok(()),
            Route::Drain => match (&self.config.admin_token, &asked.shown) {
                (None, _) => Err(Answer::text(
                    403,
                    "nothing can be changed here: start the Distributor with --admin-token-file FILE",
                )),
                (_, Shown::Bearer(token)) if is_admin(token) => Ok(()),
                (_, Shown::Bearer(_)) => Err(Answer::text(403, "this is not the admin token")),
                // What a browser adds by itself does not show that anybody means it.
                _ => Err(Answer::text(
                    401,
                    "the admin token is needed: Authorization: Bearer TOKEN",
                )
                .with(&[("WWW-Authenticate", "Bearer realm=\"distributor\"")])),
            },
            _ => {
                let address = asked.peer.map(|peer| peer.ip());
                let may_see = address.is_some_and(|address| distributor.may_see(address, token));
                match may_see || token.is_some_and(is_admin) {
                    true => Ok(()),
                    false => Err(Answer::text(
                        401,
                        "a token of --token-file is needed: Authorization: Bearer TOKEN, or as the \
                         password of Basic",
                    )
                    .with(&[("WWW-Authenticate", "Basic realm=\"distributor\"")])),
                }
            }
        }
    }

    /// Answers what only looks.
    fn look_up(
        &mut self,
        net: &mut Net,
        server: &Server,
        distributor: &Distributor,
        route: Route,
        asked: &Asked,
    ) -> (Answer, Duration) {
        let mut cost = Duration::ZERO;
        let answer = match route {
            Route::Page => page(),
            Route::Healthz => Answer::text(200, "ok"),
            Route::Readyz => ready(net, distributor),
            Route::Why => match (
                asked.knows_only(&["name", "limit"]),
                asked.pair("limit").map(str::parse),
            ) {
                (Err(answer), _) => answer,
                (_, Some(Err(_))) => Answer::text(400, "limit is a number of events"),
                (_, limit) => {
                    cost = why::cost(distributor);
                    let limit = limit.and_then(Result::ok);
                    why::answer(distributor, asked.pair("name"), limit)
                }
            },
            Route::Metrics => {
                let streams = self.followers.len();
                let listing = usize::from(self.listing.is_some());
                let waiting = self.waiting.len() + self.probes.len();
                let waiting = waiting + listing + self.drains.len();
                let texts = self.nodes.len();
                let make = || {
                    let counts = &self.counts;
                    metrics::answer(net, server, distributor, counts, streams, waiting, texts)
                };
                let figures = self.figures.get(net.now(), net.connections(), make);
                figures.clone()
            }
            Route::WrongMethod(allow) => Answer::text(405, "not with this method").with(allow),
            Route::Unknown | Route::Nodes | Route::Sd | Route::Events | Route::Drain => {
                Answer::text(
                    404,
                    "here is /, /nodes, /events, /why, /metrics, /sd, /healthz, /readyz and /drain",
                )
            }
        };
        (answer, cost)
    }

    fn follow(
        &mut self,
        net: &mut Net,
        server: &mut Server,
        distributor: &Distributor,
        to: ResponseTo,
        asked: &Asked,
    ) {
        if self.followers.len() >= self.config.max_streams {
            self.counts.streams_refused += 1;
            let answer = Answer::text(503, "as many streams of events as there may be: try later");
            return answer.give(|response| server.http(net).respond(to, response));
        }
        if let Some(stream) = server.http(net).stream_events(to, &EVERYWHERE[1..]) {
            self.counts.streams_opened += 1;
            let last_id = asked
                .last_event_id
                .as_deref()
                .or_else(|| asked.pair("last_event_id"))
                .filter(|id| !id.is_empty());
            self.followers
                .add(net, server, distributor, stream, last_id);
        }
    }
}

/// Of whom a list is wanted.
fn wanted(asked: &Asked) -> Result<Wanted, Answer> {
    if asked.route == Route::Sd {
        return Ok(Wanted::Targets);
    }
    asked.knows_only(&["name", "url"])?;
    let [name, url] = ["name", "url"].map(|name| asked.pair(name).map(ToOwned::to_owned));
    Ok(Wanted::Nodes { name, url })
}

/// What a browser may do with the page: run what is in it, and ask us.
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

fn ready(net: &Net, distributor: &Distributor) -> Answer {
    if distributor.is_stopping() {
        return Answer::text(503, "stopping");
    }
    let left = distributor.warms_up_for(net.now());
    match left.is_zero() {
        true => Answer::text(200, "ready"),
        false => Answer::text(
            503,
            format!(
                "warming up: the list may not be complete for another {:.1} s",
                left.as_secs_f64()
            ),
        )
        .with(&[("Retry-After", "1")]),
    }
}
