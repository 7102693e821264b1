//! Calls from other threads.

use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::call_error::CallError;
use super::waiter::PostedBy;
use crate::protocol::{Reply, Route};
use crate::reactor::Waker;

/// Makes calls through a node from another thread. Clone it for each thread.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(super) calls: Sender<PostedCall>,
    pub(super) waker: Waker,
}

#[derive(Debug)]
pub(super) struct PostedCall {
    pub(super) route: Route<'static>,
    pub(super) params: Box<RawValue>,
    pub(super) deadline: Duration,
    pub(super) is_idempotent: bool,
    pub(super) posted_by: PostedBy,
}

impl Handle {
    /// Posts a call, as [`Context::call`](super::Context::call). The channel receives exactly one
    /// result; it closes without one if the node is gone.
    pub fn call(
        &self,
        route: &Route<'_>,
        params: &(impl Serialize + ?Sized),
        deadline: Duration,
    ) -> Receiver<Result<Reply<'static>, CallError<'static>>> {
        self.post(route, params, deadline, false)
    }

    /// Posts a call, as [`Context::call_idempotent`](super::Context::call_idempotent).
    pub fn call_idempotent(
        &self,
        route: &Route<'_>,
        params: &(impl Serialize + ?Sized),
        deadline: Duration,
    ) -> Receiver<Result<Reply<'static>, CallError<'static>>> {
        self.post(route, params, deadline, true)
    }

    fn post(
        &self,
        route: &Route<'_>,
        params: &(impl Serialize + ?Sized),
        deadline: Duration,
        is_idempotent: bool,
    ) -> Receiver<Result<Reply<'static>, CallError<'static>>> {
        let (posted_by, result) = mpsc::channel();
        let params = match to_raw_value(params) {
            Ok(params) => params,
            Err(error) => {
                // The receiver is in this function.
                let _ = posted_by.send(Err(CallError::InvalidParams(error.to_string())));
                return result;
            }
        };
        let call = PostedCall {
            route: route.clone().into_owned(),
            params,
            deadline,
            is_idempotent,
            posted_by: Box::new(posted_by),
        };
        // If the node is gone, the channel of the result closes with the call.
        if self.calls.send(call).is_ok() {
            let _ = self.waker.wake();
        }
        result
    }
}
