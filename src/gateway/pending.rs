//! HTTP requests that wait for the results of their calls, and the routes of nodes that left.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use super::gone_routes::GoneRoutes;
use crate::http::ResponseTo;
use crate::node::{CallError, CallId, Context, Event, Service};
use crate::protocol::Reply;
use crate::time::Time;

/// An HTTP request without a response.
#[derive(Debug)]
pub(super) struct PendingRequest {
    pub(super) to: ResponseTo,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) request_id: String,
    pub(super) peer: Option<SocketAddr>,
    pub(super) came_at: Time,
    /// Scripts of the sending page may read the response.
    pub(super) is_cors: bool,
}

/// A request whose call has its result.
#[derive(Debug)]
pub(super) struct CompletedRequest {
    pub(super) request: PendingRequest,
    pub(super) status: u16,
    pub(super) body: String,
    pub(super) responder: Option<SocketAddr>,
}

/// The service of the gateway's node.
#[derive(Debug)]
pub(super) struct PendingRequests {
    pub(super) waiting: HashMap<CallId, PendingRequest>,
    pub(super) completed: Vec<CompletedRequest>,
    pub(super) gone: GoneRoutes,
}

impl PendingRequests {
    pub(super) fn new(remember_routes: Duration) -> PendingRequests {
        PendingRequests {
            waiting: HashMap::new(),
            completed: Vec::new(),
            gone: GoneRoutes::new(remember_routes),
        }
    }
}

impl Service for PendingRequests {
    fn on_result(
        &mut self,
        cx: &mut Context<'_>,
        call: CallId,
        result: Result<Reply<'_>, CallError<'_>>,
    ) {
        let Some(request) = self.waiting.remove(&call) else {
            return;
        };
        let other;
        let (status, why) = match &result {
            // As in plain gateways, the whole packet is the body, for every errorcode.
            Ok(reply) | Err(CallError::Refused(reply)) => (200, reply.packet()),
            Err(CallError::ConnectionLost) => {
                let why = "the connection to the node was lost; the request may have been served";
                (502, why)
            }
            Err(CallError::Deadline) => (
                504,
                "the node did not reply in time; the request may have been served",
            ),
            Err(CallError::Unavailable) => (503, "no node that serves the route is available"),
            Err(error) => {
                other = error.to_string();
                (503, &*other)
            }
        };
        let body = if status == 200 {
            why.to_owned()
        } else {
            problem(status, why)
        };
        self.completed.push(CompletedRequest {
            request,
            status,
            body,
            responder: cx.responder(),
        });
    }

    fn on_event(&mut self, cx: &mut Context<'_>, event: Event) {
        if let Event::Left(member) = event {
            self.gone.left(&member, cx.net().now());
        }
    }
}

/// Returns the body of a response without a reply.
pub(super) fn problem(status: u16, why: &str) -> String {
    #[derive(Serialize)]
    struct Problem<'a> {
        status: u16,
        error: &'a str,
    }
    serde_json::to_string(&Problem { status, error: why }).unwrap_or_default()
}
