//! Calls from other threads.

use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::call_error::CallError;
use crate::protocol::{Reply, Route};
use crate::reactor::Waker;

/// Lets another thread call through a node. Clone it for each one.
#[derive(Clone, Debug)]
pub struct Handle {
    calls: Sender<PostedCall>,
    waker: Waker,
}

/// The result of a posted call.
type OwnedResult = Result<Reply<'static>, CallError<'static>>;

/// The thread that waits for the result of a posted call.
pub(super) type PostedBy = Box<Sender<OwnedResult>>;

#[derive(Debug)]
pub(super) struct PostedCall {
    pub(super) route: Route<'static>,
    pub(super) params: Box<RawValue>,
    pub(super) deadline: Duration,
    pub(super) is_idempotent: bool,
    pub(super) posted_by: PostedBy,
}

/// The node's end: keeps one sender, so that the channel stays open for later handles.
#[derive(Debug)]
pub(super) struct Posted {
    calls: Receiver<PostedCall>,
    sender: Sender<PostedCall>,
}

impl Posted {
    pub(super) fn take(&self) -> Option<PostedCall> {
        self.calls.try_recv().ok()
    }
}

pub(super) fn open(posted: &mut Option<Posted>, waker: Waker) -> Handle {
    let posted = posted.get_or_insert_with(|| {
        let (sender, calls) = mpsc::channel();
        Posted { calls, sender }
    });
    Handle {
        calls: posted.sender.clone(),
        waker,
    }
}

pub(super) fn answer(caller: &PostedBy, result: Result<Reply<'_>, CallError<'_>>) {
    let result = result.map(Reply::into_owned).map_err(CallError::into_owned);
    // The thread that waited may have given up.
    let _ = caller.send(result);
}

impl Handle {
    /// Posts a call. Exactly one result comes on the channel; none, and the channel is closed,
    /// if the node is gone or the params can't be encoded.
    pub fn call(
        &self,
        route: &Route<'_>,
        params: &(impl Serialize + ?Sized),
        deadline: Duration,
    ) -> Receiver<Result<Reply<'static>, CallError<'static>>> {
        self.post(route, params, deadline, false)
    }

    /// As [`Handle::call`], for what does no harm if it is done twice: it is moved to another node
    /// if the connection is lost.
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
        if let Ok(params) = to_raw_value(params) {
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
        }
        result
    }
}
