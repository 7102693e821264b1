//! HTTP requests that wait for the results of their calls, and the routes of nodes that left.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

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
    /// The page that it comes from may read the response.
    pub(super) is_cors: bool,
}

/// A request whose call has its result.
#[derive(Debug)]
pub(super) struct CompletedRequest {
    pub(super) request: PendingRequest,
    /// The whole packet of the reply.
    pub(super) result: Result<String, CallError<'static>>,
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
        let result = match result {
            // Plain gateways pass an errorcode on as they do a result.
            Ok(reply) | Err(CallError::Refused(reply)) => Ok(reply.packet().to_owned()),
            Err(error) => Err(error.into_owned()),
        };
        self.completed.push(CompletedRequest {
            request,
            result,
            responder: cx.responder(),
        });
    }

    fn on_event(&mut self, cx: &mut Context<'_>, event: Event) {
        match event {
            Event::Left(member) => self.gone.left(&member, cx.net().now()),
            Event::RegistrationRefused(reply) => {
                tracing::warn!(
                    errorcode = reply.errorcode,
                    why = ?reply.message(),
                    "the Distributor refused the registration"
                );
            }
            Event::Link(state) => tracing::info!(?state, "the link to the Distributor"),
            _ => {}
        }
    }
}
