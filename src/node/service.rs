//! The interface that users of a node implement.

use super::call_error::CallError;
use super::calls::CallId;
use super::context::Context;
use super::event::Event;
use super::served::{ReplyTo, Request};
use crate::protocol::{ErrorCode, Reply};
#[cfg(doc)]
use crate::reactor::Handler;
use crate::reactor::{CloseReason, ConnId, Origin, TimerId};

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

    /// Called when a timer of [`Context::arm`] expires. Never early.
    fn on_timer(&mut self, cx: &mut Context<'_>, timer: TimerId, tag: u64) {
        let _ = (cx, timer, tag);
    }

    /// Called when one of your own connections is established: of [`Context::connect`], or accepted
    /// by a listener of [`Context::listen`].
    fn on_open(&mut self, cx: &mut Context<'_>, conn: ConnId, origin: Origin) {
        let _ = (cx, conn, origin);
    }

    /// Called for each frame of your own connections.
    fn on_frame(&mut self, cx: &mut Context<'_>, conn: ConnId, frame: &[u8]) {
        let _ = (cx, conn, frame);
    }

    /// Called for the input of your own connections with raw framing: see [`Handler::on_bytes`].
    fn on_bytes(&mut self, cx: &mut Context<'_>, conn: ConnId, bytes: &[u8]) -> usize {
        let _ = (cx, conn);
        bytes.len()
    }

    /// Called when the queue of one of your own connections became empty: see
    /// [`Handler::on_drained`].
    fn on_drained(&mut self, cx: &mut Context<'_>, conn: ConnId) {
        let _ = (cx, conn);
    }

    /// Called once when one of your own connections ends.
    fn on_close(&mut self, cx: &mut Context<'_>, conn: ConnId, why: CloseReason) {
        let _ = (cx, conn, why);
    }

    /// Called at the end of each turn, after all other callbacks.
    fn on_turn_end(&mut self, cx: &mut Context<'_>) {
        let _ = cx;
    }
}

/// A service that serves nothing, for nodes that only call.
impl Service for () {}
