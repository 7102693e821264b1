//! What the user of a node implements, and what it is told.

use super::call::CallId;
use super::call_error::CallError;
use super::context::Context;
use super::news::LinkState;
use super::roster::Member;
use super::served::{ReplyTo, Request};
use super::waits::WaitId;
use crate::protocol::{Drained, ErrorCode, Reply};

/// What you do with requests, outcomes and news. Everything has a default: implement what you need.
pub trait Service {
    /// Somebody asks for something. Answer with [`Context::reply`] or [`Context::refuse`], now or
    /// later: `reply_to` can be kept. What is never answered costs its caller the deadline.
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

    /// Something changed around the node.
    fn on_event(&mut self, cx: &mut Context<'_>, event: Event<'_>) {
        let _ = (cx, event);
    }
}

/// A service that serves nothing, for nodes that only call.
impl Service for () {}

/// What changed around a node.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// The connection to the Distributor is in another state.
    Link(LinkState),
    /// The Distributor refused the registration. It is tried again after [`Config::retry`](super::Config::retry); and the
    /// later the more often it was refused with [`ErrorCode::NotAllowed`], up to ten times as late.
    RegistrationRefused(Reply<'a>),
    /// A node is there that was not.
    Joined(&'a Member),
    /// A node is gone.
    Left(&'a Member),
    /// What [`Context::wait_for`] waited for is there (`true`), or its time is over.
    Waited(WaitId, bool),
    /// The node is out of the list, and this is who knows.
    Drained(&'a Drained),
    /// The link was lost while the node drained: it is not listed, but who knows is not known. Told
    /// when the time to wait is over; until then calls may still come.
    DrainedUnproven,
}
