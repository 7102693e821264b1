//! HTTP requests that wait for the results of their calls, and the routes of nodes that left.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::gone_routes::GoneRoutes;
use super::methods::Methods;
use super::problem::problem;
use super::statuses::status_of;
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
    /// The id of its trace, for the log.
    pub(super) trace_id: Option<String>,
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
    /// Errorcode of the reply that is the body. `None` without a reply.
    pub(super) errorcode: Option<i64>,
    pub(super) responder: Option<SocketAddr>,
}

/// The service of the gateway's node.
#[derive(Debug)]
pub(super) struct PendingRequests {
    pub(super) waiting: HashMap<CallId, PendingRequest>,
    pub(super) completed: Vec<CompletedRequest>,
    pub(super) gone: GoneRoutes,
    pub(super) methods: Methods,
    /// See [`Config::map_errorcodes`](super::Config::map_errorcodes).
    map_errorcodes: bool,
}

impl PendingRequests {
    pub(super) fn new(remember_routes: Duration, map_errorcodes: bool) -> PendingRequests {
        PendingRequests {
            waiting: HashMap::new(),
            completed: Vec::new(),
            gone: GoneRoutes::new(remember_routes),
            methods: Methods::default(),
            map_errorcodes,
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
            Ok(reply) | Err(CallError::Refused(reply)) => {
                // As in plain gateways, the whole packet is the body, for every errorcode.
                self.completed.push(CompletedRequest {
                    request,
                    status: if self.map_errorcodes {
                        status_of(reply.errorcode)
                    } else {
                        200
                    },
                    body: reply.packet().to_owned(),
                    errorcode: Some(reply.errorcode),
                    responder: cx.responder(),
                });
                return;
            }
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
        self.completed.push(CompletedRequest {
            request,
            status,
            body: problem(status, why),
            errorcode: None,
            responder: cx.responder(),
        });
    }

    fn on_event(&mut self, cx: &mut Context<'_>, event: Event) {
        match event {
            Event::Joined(member) => self.methods.joined(&member),
            Event::Left(member) => {
                self.methods.left(&member);
                self.gone.left(&member, cx.net().now());
            }
            _ => {}
        }
    }
}
