//! Calls as values.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use super::calls::{Target, Text};
use super::correlation::Correlation;
use crate::protocol::TraceContext;

/// A call that was not made yet.
///
/// In a task, `.await` makes it. In a callback, `send` makes it, and
/// [`then`](Call::then) names the continuation. Without
/// [`params`](Call::params) the params are `null`.
#[derive(Debug)]
#[must_use = "the call is made by `.await`, `then` or `send`"]
pub struct Call<C> {
    pub(super) via: C,
    pub(super) text: Text,
    pub(super) timeout: Option<Duration>,
    pub(super) is_idempotent: bool,
    pub(super) target: Target,
    pub(super) trace: Option<Box<TraceContext<'static>>>,
}

/// A call of each node with a name that was not made yet. See [`Call::to_all`].
#[derive(Debug)]
#[must_use = "the calls are made by `.await`, `then` or `send`"]
pub struct CallAll<C> {
    pub(super) call: Call<C>,
    pub(super) name: String,
}

impl<C> Call<C> {
    pub(super) fn new(via: C, buffer: Vec<u8>, method: &str, path: &str) -> Call<C> {
        let mut text = Text::new(buffer, method, path);
        text.set_params(&());
        Call {
            via,
            text,
            timeout: None,
            is_idempotent: false,
            target: Target::Anyone,
            trace: None,
        }
    }

    /// Returns the context that makes the call, and the call itself.
    pub(super) fn split(self) -> (C, Call<()>) {
        let call = Call {
            via: (),
            text: self.text,
            timeout: self.timeout,
            is_idempotent: self.is_idempotent,
            target: self.target,
            trace: self.trace,
        };
        (self.via, call)
    }

    /// Adds the fields that the call passes on, after its params.
    pub(super) fn add_correlation(&mut self, correlation: Correlation<'_>) {
        let correlation = correlation.with_trace(self.trace.as_deref());
        self.text.add_correlation(correlation);
    }

    /// Sets the params. If they cannot be encoded, the call ends as
    /// [`InvalidParams`](super::CallError::InvalidParams).
    pub fn params(mut self, params: &(impl Serialize + ?Sized)) -> Self {
        self.text.set_params(params);
        self
    }

    /// Sets the time for the call, instead of [`Config::call_timeout`](super::Config). A call made
    /// while a request is served also ends by the deadline of that request.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Allows the call to be sent to another node even if the first may have served it.
    pub fn idempotent(mut self) -> Self {
        self.is_idempotent = true;
        self
    }

    /// Sets the trace context of the call, such as that of a span of your own, instead of that of
    /// the request that is served.
    pub fn trace(mut self, trace: &TraceContext<'_>) -> Self {
        self.trace = Some(Box::new(trace.clone().into_owned()));
        self
    }

    /// Calls the node at this address and no other, listed or not.
    pub fn to(mut self, addr: SocketAddr) -> Self {
        self.target = Target::At(addr);
        self
    }

    /// Calls every node with this name, each once.
    pub fn to_all(self, name: impl Into<String>) -> CallAll<C> {
        CallAll {
            call: self,
            name: name.into(),
        }
    }
}

impl<C> CallAll<C> {
    pub(super) fn split(self) -> (C, CallAll<()>) {
        let (via, call) = self.call.split();
        let name = self.name;
        (via, CallAll { call, name })
    }
}
