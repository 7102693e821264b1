//! Calls of callbacks, and their continuations.

use std::net::SocketAddr;

use serde::Serialize;

use super::super::call::{Call, CallAll};
use super::super::call_error::CallError;
use super::super::calls::CallId;
use super::super::error::Error;
use super::super::panics::caught;
use super::super::served::Replied;
use super::context::{CallResult, ServiceContext};
use crate::protocol::Reply;

impl<T: 'static> Call<&mut ServiceContext<'_, T>> {
    /// Makes the call, and calls `act` with its result: exactly once, and never before this
    /// returns. Calls that `act` makes have the deadline of the request that is served now.
    pub fn then(
        self,
        act: impl FnOnce(&mut ServiceContext<'_, T>, Result<Reply<'_>, CallError<'_>>) + 'static,
    ) -> CallId {
        let (cx, call) = self.split();
        cx.make_then(call, Box::new(act))
    }

    /// Makes the call, and replies to the request with what `act` makes of the result. The handler
    /// returns what this returns.
    ///
    /// # Errors
    ///
    /// Returns an error if the request was already replied to.
    pub fn then_reply<R: Serialize>(
        self,
        act: impl FnOnce(
            &mut ServiceContext<'_, T>,
            Result<Reply<'_>, CallError<'_>>,
        ) -> Result<R, Error>
        + 'static,
    ) -> Result<Replied, Error> {
        let (cx, call) = self.split();
        let (to, replied) = cx.reply_later()?;
        let then = move |cx: &mut ServiceContext<'_, T>, result: CallResult<'_>| {
            let result = caught(|| act(cx, result)).and_then(|result| result);
            cx.reply_to(to, result);
        };
        cx.make_then(call, Box::new(then));
        Ok(replied)
    }

    /// Makes the call. [`Builder::on_result`](super::super::Builder::on_result) names the function
    /// that receives its result.
    pub fn send(self) -> CallId {
        let (cx, call) = self.split();
        cx.make_call(call)
    }
}

impl<T: 'static> CallAll<&mut ServiceContext<'_, T>> {
    /// Makes the calls, and calls `act` with all results and the addresses of their nodes.
    pub fn then(
        self,
        act: impl FnOnce(
            &mut ServiceContext<'_, T>,
            Vec<(SocketAddr, Result<Reply<'static>, CallError<'static>>)>,
        ) + 'static,
    ) {
        let (cx, call) = self.split();
        cx.make_all_then(call, Box::new(act));
    }
}
