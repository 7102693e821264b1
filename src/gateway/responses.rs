//! HTTP responses: the results of calls, and their substitutes.

use std::net::SocketAddr;
use std::time::Duration;

use super::config::Config;
use super::counts::Counts;
use super::pending::{CompletedRequest, PendingRequest, PendingRequests};
use super::problem::{Problem, problem};
use crate::http::{Http, Response};
use crate::node::Node;

pub(super) const JSON: &str = "application/json";

/// The HTTP side of a gateway, for the duration of one callback.
pub(super) struct HttpSide<'a> {
    pub(super) config: &'a Config,
    pub(super) node: &'a mut Node<PendingRequests>,
    pub(super) counts: &'a mut Counts,
}

impl HttpSide<'_> {
    /// Responds to all requests whose calls have their results.
    pub(super) fn respond_to_completed(&mut self, http: &mut Http<'_>) {
        let mut completed = std::mem::take(&mut self.node.service().completed);
        for completed in completed.drain(..) {
            let CompletedRequest {
                request,
                status,
                body,
                errorcode,
                responder,
            } = completed;
            if let Some(errorcode) = errorcode {
                if !http.has_room_for(body.len()) {
                    let why = "too many bytes of other replies are unread: try again later";
                    let body = problem(503, why);
                    self.respond(http, request, 503, &body, None, responder);
                    continue;
                }
                self.counts.replied(errorcode);
            }
            self.respond(http, request, status, &body, None, responder);
        }
        self.node.service().completed = completed;
    }

    /// Responds to a preflight request.
    pub(super) fn respond_to_preflight(&mut self, http: &mut Http<'_>, request: PendingRequest) {
        self.respond(http, request, 204, "", None, None);
    }

    /// Responds to a request that no node receives.
    pub(super) fn respond_with_problem(
        &mut self,
        http: &mut Http<'_>,
        request: PendingRequest,
        problem: &Problem,
    ) {
        let Problem { status, header, .. } = problem;
        let header = header.as_ref().map(|(name, value)| (*name, &**value));
        self.respond(http, request, *status, &problem.body(), header, None);
    }

    /// Responds to a request, and logs it. Status 204 is the response to a preflight request.
    fn respond(
        &mut self,
        http: &mut Http<'_>,
        request: PendingRequest,
        status: u16,
        body: &str,
        header: Option<(&str, &str)>,
        responder: Option<SocketAddr>,
    ) {
        let took = http.net().now().saturating_since(request.came_at);
        self.counts.responded(status, took);
        let mut headers = Vec::with_capacity(8);
        if status != 204 {
            headers.push(("Content-Type", JSON));
        }
        headers.push(("X-Request-Id", request.request_id.as_str()));
        headers.extend(header);
        if status == 503 {
            headers.push(("Retry-After", "1"));
        }
        if let Some(origin) = &self.config.cors_origin {
            if origin != "*" {
                headers.push(("Vary", "Origin"));
            }
            if request.is_cors {
                headers.push(("Access-Control-Allow-Origin", origin));
                headers.push(("Access-Control-Expose-Headers", "X-Request-Id"));
            }
        }
        if status == 204 && request.is_cors {
            let methods = "GET, HEAD, POST, PUT, PATCH, DELETE";
            headers.push(("Access-Control-Allow-Methods", methods));
            let names = "content-type, x-request-id, traceparent, tracestate";
            headers.push(("Access-Control-Allow-Headers", names));
            headers.push(("Access-Control-Max-Age", "600"));
        }
        let response = Response {
            status,
            headers: &headers,
            body: body.as_bytes(),
        };
        log(&request, status, took, responder);
        http.respond(request.to, &response);
    }
}

/// Writes a line of the access log.
fn log(request: &PendingRequest, status: u16, took: Duration, node: Option<SocketAddr>) {
    tracing::info!(
        // In quotes, so that text of a client cannot pose as other fields.
        method = ?request.method,
        path = ?request.path,
        status,
        ms = took.as_micros() as f64 / 1000.0,
        node = node.map(tracing::field::display),
        request_id = ?request.request_id,
        trace_id = request.trace_id.as_deref().map(tracing::field::display),
        peer = request.peer.map(tracing::field::display),
        "request"
    );
}
