//! What the gateway does with HTTP requests, and how it answers them.

use std::net::SocketAddr;

use serde::Serialize;

use super::config::{Config, Stats};
use super::outcomes::{Asked, End, Ended, Outcomes, Waiting};
use super::params::Params;
use crate::http::{App, Http, Request, Response, ResponseTo, Server};
use crate::node::{CallId, Node};
use crate::reactor::Net;

/// The HTTP side of a gateway, for as long as one callback takes.
pub(super) struct Front<'a> {
    pub(super) config: &'a Config,
    pub(super) node: &'a mut Node<Outcomes>,
    pub(super) stats: &'a mut Stats,
}

/// A status and what is wrong, in words.
type Failure = (u16, String);

/// One packet to a node: what nodes of this crate take, if they are not told otherwise. One with more
/// would cost everybody else the connection to the node.
const MAX_PACKET_BYTES: usize = 1 << 20;
/// What a packet has around its uri and params, generously.
const ENVELOPE_BYTES: usize = 256;
const MAX_REQUEST_ID_BYTES: usize = 128;

impl App for Front<'_> {
    fn on_request(&mut self, http: &mut Http<'_>, request: &Request<'_>, to: ResponseTo) {
        let asked = self.asked(http, request, &to);
        if self.is_preflight(request) {
            return self.allow(http, to, &asked);
        }
        let failure = match self.call(http, request, &asked) {
            Ok(call) => {
                let waiting = Waiting { to, asked };
                self.node.service().waiting.insert(call, waiting);
                return;
            }
            Err(failure) => failure,
        };
        let (status, why) = failure;
        answer(
            self.config,
            http,
            to,
            &asked,
            status,
            &problem(status, &why),
        );
        self.stats.answered += 1;
        log(http.net(), &asked, status, None);
    }

    fn refusal(&self, status: u16, why: &str) -> (&'static str, String) {
        (JSON, problem(status, why))
    }

    fn on_refused(&mut self, _: &mut Http<'_>, peer: Option<SocketAddr>, status: u16, why: &str) {
        self.stats.refused += 1;
        let peer = peer.map(tracing::field::display);
        tracing::info!(peer, status, why, "refused");
    }
}

impl Front<'_> {
    fn asked(&self, http: &mut Http<'_>, request: &Request<'_>, to: &ResponseTo) -> Asked {
        let given = request.header("X-Request-Id").filter(|id| {
            let fits = |byte: u8| byte.is_ascii_graphic();
            (1..=MAX_REQUEST_ID_BYTES).contains(&id.len()) && id.bytes().all(fits)
        });
        let request_id = match given {
            Some(id) => id.to_owned(),
            None => format!("{:016x}", http.net().random()),
        };
        Asked {
            method: shortened(request.method()),
            path: shortened(request.path()),
            request_id,
            peer: http.peer_addr(to),
            came_at: http.net().now(),
            is_cors: match (&self.config.cors_origin, request.header("Origin")) {
                (Some(allowed), Some(origin)) => allowed == "*" || allowed == origin,
                _ => false,
            },
        }
    }

    /// A browser asks whether a page may send a request.
    fn is_preflight(&self, request: &Request<'_>) -> bool {
        self.config.cors_origin.is_some()
            && request.method() == "OPTIONS"
            && request.header("Origin").is_some()
            && request.header("Access-Control-Request-Method").is_some()
    }

    fn allow(&mut self, http: &mut Http<'_>, to: ResponseTo, asked: &Asked) {
        let mut headers = vec![("X-Request-Id", asked.request_id.as_str())];
        cors_headers(self.config, asked, &mut headers);
        if asked.is_cors {
            headers.extend([
                (
                    "Access-Control-Allow-Methods",
                    "GET, HEAD, POST, PUT, PATCH, DELETE",
                ),
                ("Access-Control-Allow-Headers", "content-type, x-request-id"),
                ("Access-Control-Max-Age", "600"),
            ]);
        }
        let response = Response {
            status: 204,
            headers: &headers,
            body: &[],
        };
        http.respond(to, &response);
        self.stats.answered += 1;
        log(http.net(), asked, response.status, None);
    }

    /// Calls whoever serves what is asked for.
    fn call(
        &mut self,
        http: &mut Http<'_>,
        request: &Request<'_>,
        asked: &Asked,
    ) -> Result<CallId, Failure> {
        let path = request.path();
        let method = self.route(http.net(), request)?;
        let mut params = params(request)?;
        let deadline = self.config.deadline;
        let mut cx = self.node.context(http.net());
        params.set_key(cx.next_call().key());
        cx.set_request_id(&asked.request_id);
        // Encoding makes six bytes of one at worst.
        let longest = 6 * (request.body().len() + request.query().map_or(0, str::len) + path.len());
        if longest + ENVELOPE_BYTES > MAX_PACKET_BYTES
            && params.packet_bytes() + 6 * path.len() + ENVELOPE_BYTES > MAX_PACKET_BYTES
        {
            let why = "the request is larger than a node takes: at most 1 MiB as a packet";
            return Err((413, why.to_owned()));
        }
        Ok(match method {
            "GET" | "HEAD" => cx.call_idempotent(method, path, &params, deadline),
            _ => cx.call(method, path, &params, deadline),
        })
    }

    /// The method under which somebody serves what is asked for.
    fn route<'r>(&mut self, net: &mut Net, request: &'r Request<'_>) -> Result<&'r str, Failure> {
        let (method, path) = (request.method(), request.path());
        let cx = self.node.context(net);
        let roster = cx.roster();
        let serves = |method: &str| roster.serving_prefix(method, path).next().is_some();
        if serves(method) {
            return Ok(method);
        }
        if method == "HEAD" && serves("GET") {
            // The same, but for the body that is not sent.
            return Ok("GET");
        }
        if roster.updated_at().is_none() {
            return Err((503, "the list of nodes has not come yet".to_owned()));
        }
        let now = net.now();
        let gone = &self.node.service().gone;
        let was_served = |method: &str| gone.has(method, path, now);
        match was_served(method) || method == "HEAD" && was_served("GET") {
            true => Err((
                503,
                format!("the nodes that served {method}{path} are gone; they may come back"),
            )),
            false => Err((404, format!("no node serves {method}{path}"))),
        }
    }
}

/// What is logged of a text of a client.
fn shortened(text: &str) -> String {
    const MAX_LOGGED_BYTES: usize = 256;
    if text.len() <= MAX_LOGGED_BYTES {
        return text.to_owned();
    }
    let longest = MAX_LOGGED_BYTES - '…'.len_utf8();
    let shown = (0..=longest).rev().find_map(|end| text.get(..end));
    format!("{}…", shown.unwrap_or_default())
}

fn params<'r>(request: &'r Request<'_>) -> Result<Params<'r>, Failure> {
    // As the book's gateway has it: of these two the body counts, of all others the query.
    if !matches!(request.method(), "POST" | "PUT") {
        return Ok(Params::from_pairs(request.query_pairs()));
    }
    let content_type = request.header("Content-Type").unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default();
    if media_type.trim().eq_ignore_ascii_case("application/json") {
        return Params::from_json(request.body()).map_err(|why| (400, why.to_owned()));
    }
    Ok(Params::from_pairs(request.body_pairs()))
}

/// Answers all whose calls have ended.
pub(super) fn answer_all(
    config: &Config,
    server: &mut Server,
    node: &mut Node<Outcomes>,
    stats: &mut Stats,
    net: &mut Net,
) {
    for ended in node.service().ended.drain(..) {
        let Ended { waiting, end, node } = ended;
        let Waiting { to, asked } = waiting;
        let mut http = server.http(net);
        let (status, body) = match end {
            End::Replied(packet) if !http.has_room_for(packet.len()) => {
                failed(503, "too much of other replies is not read yet")
            }
            End::Replied(packet) => {
                stats.replied += 1;
                (200, packet)
            }
            End::Lost => failed(
                502,
                "the connection to the node was lost; it may have been done",
            ),
            End::Late => failed(504, "the node did not reply in time; it may have been done"),
            End::Nobody => failed(503, "no node that serves it can take it now"),
        };
        answer(config, &mut http, to, &asked, status, &body);
        stats.answered += 1;
        log(net, &asked, status, node);
    }
}

fn failed(status: u16, why: &str) -> (u16, String) {
    (status, problem(status, why))
}

const JSON: &str = "application/json";

/// What stands in the place of a reply.
fn problem(status: u16, why: &str) -> String {
    #[derive(Serialize)]
    struct Problem<'a> {
        status: u16,
        error: &'a str,
    }
    serde_json::to_string(&Problem { status, error: why }).unwrap_or_default()
}

fn answer(
    config: &Config,
    http: &mut Http<'_>,
    to: ResponseTo,
    asked: &Asked,
    status: u16,
    body: &str,
) {
    let mut headers = vec![
        ("Content-Type", JSON),
        ("X-Request-Id", asked.request_id.as_str()),
    ];
    if status == 503 {
        headers.push(("Retry-After", "1"));
    }
    cors_headers(config, asked, &mut headers);
    let response = Response {
        status,
        headers: &headers,
        body: body.as_bytes(),
    };
    http.respond(to, &response);
}

fn cors_headers<'a>(config: &'a Config, asked: &Asked, headers: &mut Vec<(&'a str, &'a str)>) {
    let Some(origin) = &config.cors_origin else {
        return;
    };
    if origin != "*" {
        headers.push(("Vary", "Origin"));
    }
    if asked.is_cors {
        headers.push(("Access-Control-Allow-Origin", origin));
        headers.push(("Access-Control-Expose-Headers", "X-Request-Id"));
    }
}

/// The access log: a line a request.
fn log(net: &Net, asked: &Asked, status: u16, node: Option<SocketAddr>) {
    let took = net.now().saturating_since(asked.came_at);
    tracing::info!(
        // In quotes, so that what a client sends can't pose as other fields.
        method = ?asked.method,
        path = ?asked.path,
        status,
        ms = took.as_micros() as f64 / 1000.0,
        node = node.map(tracing::field::display),
        request_id = ?asked.request_id,
        peer = asked.peer.map(tracing::field::display),
        "request"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_logged_as_far_as_it_is_short() {
        assert_eq!(shortened(&"x".repeat(256)), "x".repeat(256));
        for long in ["x".repeat(257), "사".repeat(86), "x사".repeat(100)] {
            let shown = shortened(&long);
            assert!(shown.len() <= 256 && shown.ends_with('…'), "{shown}");
            assert!(long.starts_with(shown.trim_end_matches('…')));
        }
    }
}
