//! The interface that users of a node implement.

use super::call_error::CallError;
use super::calls::CallId;
use super::context::Context;
use super::event::Event;
use super::served::{ReplyTo, Request};
use crate::protocol::{ErrorCode, Reply};

/// Receives requests, results and events of a node. All methods have a default.
pub trait Service {
    /// Receives a request. Reply with [`Context::reply`] or [`Context::refuse`], now or later:
    /// `reply_to` can be stored. Without a reply the caller waits until its deadline.
    fn on_request(&mut self, cx: &mut Context<'_>, request: &Request<'_>, reply_to: ReplyTo) {
        let _ = request;
        cx.refuse(reply_to, ErrorCode::NotFound, "no such route");
    }

    /// Receives the result of a call: exactly once for each, and never before [`Context::call`]
    /// returns.
    fn on_result(
        &mut self,
        cx: &mut Context<'_>,
        call: CallId,
        result: Result<Reply<'_>, CallError<'_>>,
    ) {
        let _ = (cx, call, result);
    }

    /// Receives a change around the node, at the end of a turn.
    fn on_event(&mut self, cx: &mut Context<'_>, event: Event) {
        let _ = (cx, event);
    }
}

/// A service that serves nothing, for nodes that only call.
impl Service for () {}
