//! Conversion of HTTP requests to calls.

use std::net::SocketAddr;

use super::body_type::BodyType;
use super::params::Params;
use super::pending::PendingRequest;
use super::problem::{Problem, problem};
use super::responses::{HttpSide, JSON};
use super::trace::trace_of;
use crate::http::{App, Http, Request, ResponseTo};
use crate::node::CallId;
use crate::protocol::packet::MAX_REQUEST_ID_BYTES;
use crate::protocol::{Route, TraceContext};
use crate::reactor::Net;

/// Default limit of nodes for a packet. A larger one would end the connection to the node, with the
/// other calls on it.
const MAX_PACKET_BYTES: usize = 1 << 20;
/// Maximum size of a packet without its uri, params and trace context.
const ENVELOPE_BYTES: usize = 512;
/// Size of a trace context in a packet without its `tracestate`.
const TRACE_BYTES: usize = 96;

impl App for HttpSide<'_> {
    fn on_request(&mut self, http: &mut Http<'_>, request: &Request<'_>, to: ResponseTo) {
        let trace = trace_of(request);
        let pending = self.pending(http, request, to, trace.as_ref());
        if self.is_preflight(request) {
            return self.respond_to_preflight(http, pending);
        }
        match self.call(http, request, &pending.request_id, trace.as_ref()) {
            Ok(call) => {
                self.node.service().waiting.insert(call, pending);
            }
            Err(problem) => self.respond_with_problem(http, pending, &problem),
        }
    }

    fn refusal(&self, status: u16, why: &str) -> (&'static str, String) {
        (JSON, problem(status, why))
    }

    fn on_refused(&mut self, _: &mut Http<'_>, peer: Option<SocketAddr>, status: u16, why: &str) {
        self.counts.refused(status);
        let peer = peer.map(tracing::field::display);
        tracing::info!(peer, status, why, "request refused");
    }
}

impl HttpSide<'_> {
    fn pending(
        &self,
        http: &mut Http<'_>,
        request: &Request<'_>,
        to: ResponseTo,
        trace: Option<&TraceContext<'_>>,
    ) -> PendingRequest {
        let given = request.header("X-Request-Id").filter(|id| {
            let fits = |byte: u8| byte.is_ascii_graphic();
            (1..=MAX_REQUEST_ID_BYTES).contains(&id.len()) && id.bytes().all(fits)
        });
        let request_id = match given {
            Some(id) => id.to_owned(),
            None => format!("{:016x}", http.net().random()),
        };
        PendingRequest {
            method: shortened(request.method()),
            path: shortened(request.path()),
            request_id,
            trace_id: trace.map(|trace| trace.trace_id().to_owned()),
            peer: http.peer_addr(&to),
            came_at: http.net().now(),
            is_cors: match (&self.config.cors_origin, request.header("Origin")) {
                (Some(allowed), Some(origin)) => allowed == "*" || allowed == origin,
                _ => false,
            },
            to,
        }
    }

    /// Returns whether this is a preflight request (CORS).
    fn is_preflight(&self, request: &Request<'_>) -> bool {
        self.config.cors_origin.is_some()
            && request.method() == "OPTIONS"
            && request.header("Origin").is_some()
            && request.header("Access-Control-Request-Method").is_some()
    }

    /// Calls a node that serves the request.
    fn call(
        &mut self,
        http: &mut Http<'_>,
        request: &Request<'_>,
        request_id: &str,
        trace: Option<&TraceContext<'_>>,
    ) -> Result<CallId, Problem> {
        let path = request.path();
        let route = self.route(http.net(), request)?;
        let mut params = params(request)?;
        let deadline = self.config.deadline;
        let mut cx = self.node.context(http.net());
        params.set_key(cx.next_call().key());
        cx.set_request_id(request_id);
        let mut envelope = ENVELOPE_BYTES + 6 * path.len();
        if let Some(trace) = trace {
            cx.set_trace(trace);
            envelope += TRACE_BYTES + 2 * trace.tracestate().map_or(0, str::len);
        }
        // Encoding turns a byte into at most six.
        let longest = 6 * (request.body().len() + request.query().map_or(0, str::len));
        if longest + envelope > MAX_PACKET_BYTES
            && params.packet_bytes() + envelope > MAX_PACKET_BYTES
        {
            let why = "the request is too large for a node: at most 1 MiB as a packet";
            return Err(Problem::new(413, why));
        }
        Ok(match &*route.method {
            "GET" | "HEAD" => cx.call_idempotent(&route, &params, deadline),
            _ => cx.call(&route, &params, deadline),
        })
    }

    /// Returns the route under which a node serves the request.
    fn route<'r>(&mut self, net: &mut Net, request: &'r Request<'_>) -> Result<Route<'r>, Problem> {
        let route = Route::new(request.method(), request.path());
        // `HEAD` is served as `GET`, without the body of the response.
        let of_get = (route.method == "HEAD").then(|| Route::get(request.path()));
        let mut routes = [Some(&route), of_get.as_ref()].into_iter().flatten();
        // A node may have left in this turn: its routes are gone, not unknown.
        self.node.pass_events(net);
        let now = net.now();
        let (service, roster, _) = self.node.parts();
        let is_served = |route: &&Route<'_>| roster.serving_prefix(route).next().is_some();
        if let Some(served) = routes.clone().find(is_served) {
            return Ok(served.clone());
        }
        if roster.updated_at().is_none() {
            return Err(Problem::new(503, "the list of nodes was not received yet"));
        }
        if routes.any(|route| service.gone.has(route, now)) {
            let why = format!("the nodes that served {route} are gone; they may reconnect");
            return Err(Problem::new(503, why));
        }
        if let Some(allow) = service.methods.allowed(roster, request.path()) {
            let why = format!("no node serves {route}; the path is served for {allow}");
            return Err(Problem::new(405, why).with("Allow", allow));
        }
        Err(Problem::new(404, format!("no node serves {route}")))
    }
}

/// Returns a text of a client for the log.
fn shortened(text: &str) -> String {
    const MAX_LOGGED_BYTES: usize = 256;
    if text.len() <= MAX_LOGGED_BYTES {
        return text.to_owned();
    }
    let longest = MAX_LOGGED_BYTES - '…'.len_utf8();
    let shown = (0..=longest).rev().find_map(|end| text.get(..end));
    format!("{}…", shown.unwrap_or_default())
}

fn params<'r>(request: &'r Request<'_>) -> Result<Params<'r>, Problem> {
    let body_type = BodyType::of(request)?;
    // As in plain gateways, these two methods have params in the body, all others in the query.
    if !matches!(request.method(), "POST" | "PUT") {
        return Ok(Params::from_pairs(request.query_pairs()));
    }
    match body_type {
        BodyType::Json => Params::from_json(request.body()).map_err(|why| Problem::new(400, why)),
        BodyType::Pairs => Ok(Params::from_pairs(request.body_pairs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shortens_long_texts_for_the_log() {
        assert_eq!(shortened(&"x".repeat(256)), "x".repeat(256));
        for long in ["x".repeat(257), "사".repeat(86), "x사".repeat(100)] {
            let shown = shortened(&long);
            assert!(shown.len() <= 256 && shown.ends_with('…'), "{shown}");
            assert!(long.starts_with(shown.trim_end_matches('…')));
        }
    }
}
