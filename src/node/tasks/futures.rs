//! The futures of a node.

use std::future::IntoFuture;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::super::call::{Call, CallAll};
use super::super::call_error::CallError;
use super::super::slot_key::SlotKey;
use super::hub::{CallResult, Hub, Start, StartCall, To, WaitResult};
use crate::protocol::Reply;

/// A wait that begins when it is first polled.
pub(super) struct Waiting {
    hub: Rc<Hub>,
    state: State,
}

enum State {
    New(Start),
    Started(SlotKey),
    Ended,
}

impl Waiting {
    pub(super) fn new(hub: &Rc<Hub>, start: Start) -> Waiting {
        Waiting {
            hub: Rc::clone(hub),
            state: State::New(start),
        }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<WaitResult> {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::New(start) => {
                self.state = State::Started(self.hub.start(start, cx.waker()));
                Poll::Pending
            }
            State::Started(key) => match self.hub.poll(key, cx.waker()) {
                Some(outcome) => Poll::Ready(outcome),
                None => {
                    self.state = State::Started(key);
                    Poll::Pending
                }
            },
            State::Ended => Poll::Pending,
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let State::Started(key) = self.state {
            self.hub.cancel(key);
        }
    }
}

/// Makes the calls of a task.
#[derive(Clone, Debug)]
pub struct TaskCalls(pub(super) Rc<Hub>);

/// The result of a call, to be awaited in a task. The call is made when this is first polled.
/// Dropping it cancels the call: the request may have been served, or may still be.
#[must_use = "the call is made when this is awaited"]
pub struct CallFuture(Waiting);

/// The results of a call of several nodes. See [`CallFuture`].
#[must_use = "the calls are made when this is awaited"]
pub struct CallAllFuture(Waiting);

/// A pause of a task.
#[must_use = "the pause begins when this is awaited"]
pub struct Sleep(pub(super) Waiting);

/// A wait of a task for routes to be served.
#[must_use = "the wait begins when this is awaited"]
pub struct RoutesFuture(pub(super) Waiting);

fn start(call: Call<TaskCalls>, to: impl FnOnce(&Call<TaskCalls>) -> To) -> Waiting {
    let to = to(&call);
    let hub = call.via.0;
    let start = Start::Call(StartCall {
        to,
        timeout: call.timeout.unwrap_or(hub.limits.call_timeout),
        text: call.text,
        deadline: None,
        is_idempotent: call.is_idempotent,
        trace: call.trace,
    });
    Waiting::new(&hub, start)
}

impl IntoFuture for Call<TaskCalls> {
    type Output = Result<Reply<'static>, CallError<'static>>;
    type IntoFuture = CallFuture;

    fn into_future(self) -> CallFuture {
        CallFuture(start(self, |call| To::One(call.target)))
    }
}

impl IntoFuture for CallAll<TaskCalls> {
    type Output = Vec<(SocketAddr, Result<Reply<'static>, CallError<'static>>)>;
    type IntoFuture = CallAllFuture;

    fn into_future(self) -> CallAllFuture {
        let name = self.name;
        CallAllFuture(start(self.call, |_| To::All(name)))
    }
}

impl Future for CallFuture {
    type Output = CallResult;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<CallResult> {
        match self.0.poll(cx) {
            Poll::Ready(WaitResult::Reply(result)) => Poll::Ready(result),
            _ => Poll::Pending,
        }
    }
}

impl Future for CallAllFuture {
    type Output = Vec<(SocketAddr, CallResult)>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.0.poll(cx) {
            Poll::Ready(WaitResult::Replies(results)) => Poll::Ready(results),
            _ => Poll::Pending,
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll(cx).map(drop)
    }
}

impl Future for RoutesFuture {
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<bool> {
        let is_served = |outcome| matches!(outcome, WaitResult::Done(true));
        self.0.poll(cx).map(is_served)
    }
}
