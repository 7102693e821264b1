//! What the gateway's node is told: outcomes, kept until they are answered, and who left.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::routes::GoneRoutes;
use crate::http::ResponseTo;
use crate::node::{CallError, CallId, Context, Event, Service};
use crate::protocol::Reply;
use crate::time::Time;

/// One HTTP request that waits for what comes of its call.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) to: ResponseTo,
    pub(super) asked: Asked,
}

/// What is known of an HTTP request when it is answered.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) request_id: String,
    pub(super) peer: Option<SocketAddr>,
    pub(super) came_at: Time,
    /// The page that it comes from may read the answer.
    pub(super) is_cors: bool,
}

/// What came of a call.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) waiting: Waiting,
    pub(super) end: End,
    /// Whom it was given to.
    pub(super) node: Option<SocketAddr>,
}

#[derive(Debug)]
pub(super) enum End {
    /// The whole packet.
    Replied(String),
    Lost,
    Late,
    Nobody,
}

/// The service of the gateway's node.
#[derive(Debug)]
pub(super) struct Outcomes {
    pub(super) waiting: HashMap<CallId, Waiting>,
    pub(super) ended: Vec<Ended>,
    pub(super) gone: GoneRoutes,
}

impl Outcomes {
    pub(super) fn new(remember_routes: Duration) -> Outcomes {
        Outcomes {
            waiting: HashMap::new(),
            ended: Vec::new(),
            gone: GoneRoutes::new(remember_routes),
        }
    }
}

impl Service for Outcomes {
    fn on_result(
        &mut self,
        cx: &mut Context<'_>,
        call: CallId,
        result: Result<Reply<'_>, CallError<'_>>,
    ) {
        let Some(waiting) = self.waiting.remove(&call) else {
            return;
        };
        let end = match result {
            // The book's gateway passes a refusal on as it does a result.
            Ok(reply) | Err(CallError::Refused(reply)) => End::Replied(reply.packet().to_owned()),
            Err(CallError::ConnectionLost) => End::Lost,
            Err(CallError::Deadline) => End::Late,
            Err(CallError::Unavailable) => End::Nobody,
        };
        let node = cx.responder();
        self.ended.push(Ended { waiting, end, node });
    }

    fn on_event(&mut self, cx: &mut Context<'_>, event: Event<'_>) {
        match event {
            Event::Left(member) => self.gone.left(member, cx.net().now()),
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
