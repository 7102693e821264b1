//! HTTP responses: from the results of calls, and in their place.

use std::net::SocketAddr;

use serde::Serialize;

use super::config::{Config, Stats};
use super::pending::{PendingRequest, PendingRequests};
use crate::http::{Http, Response, Server};
use crate::node::{CallError, Node};
use crate::reactor::Net;

pub(super) const JSON: &str = "application/json";

/// Responds to all requests whose calls have their results.
pub(super) fn respond_to_completed(
    config: &Config,
    server: &mut Server,
    node: &mut Node<PendingRequests>,
    stats: &mut Stats,
    net: &mut Net,
) {
    for completed in node.service().completed.drain(..) {
        let mut http = server.http(net);
        let failed = |status, why| (status, problem(status, why));
        let (status, body) = match completed.result {
            Ok(packet) if !http.has_room_for(packet.len()) => {
                failed(503, "too much of other replies is not read yet")
            }
            Ok(packet) => {
                stats.replied += 1;
                (200, packet)
            }
            Err(CallError::ConnectionLost) => failed(
                502,
                "the connection to the node was lost; it may have been done",
            ),
            Err(CallError::Deadline) => {
                failed(504, "the node did not reply in time; it may have been done")
            }
            Err(CallError::Unavailable | CallError::Refused(_)) => {
                failed(503, "no node that serves it can take it now")
            }
        };
        stats.answered += 1;
        let responder = completed.responder;
        respond(
            config,
            &mut http,
            completed.request,
            status,
            &body,
            responder,
        );
    }
}

/// Returns the body in the place of a reply.
pub(super) fn problem(status: u16, why: &str) -> String {
    #[derive(Serialize)]
    struct Problem<'a> {
        status: u16,
        error: &'a str,
    }
    serde_json::to_string(&Problem { status, error: why }).unwrap_or_default()
}

/// Responds to a request, and logs it.
pub(super) fn respond(
    config: &Config,
    http: &mut Http<'_>,
    request: PendingRequest,
    status: u16,
    body: &str,
    responder: Option<SocketAddr>,
) {
    let mut headers = vec![
        ("Content-Type", JSON),
        ("X-Request-Id", request.request_id.as_str()),
    ];
    if status == 503 {
        headers.push(("Retry-After", "1"));
    }
    cors_headers(config, &request, &mut headers);
    let response = Response {
        status,
        headers: &headers,
        body: body.as_bytes(),
    };
    log(http.net(), &request, status, responder);
    http.respond(request.to, &response);
}

/// Tells a browser whether a page may send a request.
pub(super) fn preflight(config: &Config, http: &mut Http<'_>, request: PendingRequest) {
    let mut headers = vec![("X-Request-Id", request.request_id.as_str())];
    cors_headers(config, &request, &mut headers);
    if request.is_cors {
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
    log(http.net(), &request, response.status, None);
    http.respond(request.to, &response);
}

fn cors_headers<'a>(
    config: &'a Config,
    request: &PendingRequest,
    headers: &mut Vec<(&'a str, &'a str)>,
) {
    let Some(origin) = &config.cors_origin else {
        return;
    };
    if origin != "*" {
        headers.push(("Vary", "Origin"));
    }
    if request.is_cors {
        headers.push(("Access-Control-Allow-Origin", origin));
        headers.push(("Access-Control-Expose-Headers", "X-Request-Id"));
    }
}

/// Writes a line of the access log.
fn log(net: &Net, request: &PendingRequest, status: u16, node: Option<SocketAddr>) {
    let took = net.now().saturating_since(request.came_at);
    tracing::info!(
        // In quotes, so that what a client sends can't pose as other fields.
        method = ?request.method,
        path = ?request.path,
        status,
        ms = took.as_micros() as f64 / 1000.0,
        node = node.map(tracing::field::display),
        request_id = ?request.request_id,
        peer = request.peer.map(tracing::field::display),
        "request"
    );
}
