//! Calls from other threads.

use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use serde::Serialize;

use super::Outcome;
use crate::reactor::Waker;

/// Lets another thread call through a node. Clone it for each one.
#[derive(Clone, Debug)]
pub struct Handle {
    calls: Sender<PostedCall>,
    waker: Waker,
}

/// What became of a posted call, as [`Outcome`], but owned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// It was done; the results as JSON.
    Reply(String),
    /// It was answered with an errorcode.
    Refused {
        /// Not 0.
        errorcode: i64,
        /// What is wrong, in words.
        message: String,
    },
    /// Its time was over.
    Deadline,
    /// The connection was lost after it was sent.
    ConnectionLost,
    /// Nobody could take it.
    Nobody,
}

/// Where the outcome of a posted call goes.
pub(super) type AnswerTo = Box<Sender<Answer>>;

#[derive(Debug)]
pub(super) struct PostedCall {
    pub(super) method: String,
    pub(super) uri: String,
    pub(super) params: String,
    pub(super) deadline: Duration,
    pub(super) is_idempotent: bool,
    pub(super) answer_to: AnswerTo,
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

pub(super) fn answer(answer_to: &AnswerTo, outcome: Outcome<'_>) {
    let answer = match outcome {
        Outcome::Reply(reply) => Answer::Reply(reply.results().to_owned()),
        Outcome::Refused(reply) => Answer::Refused {
            errorcode: reply.errorcode,
            message: reply.message().into_owned(),
        },
        Outcome::Deadline => Answer::Deadline,
        Outcome::ConnectionLost => Answer::ConnectionLost,
        Outcome::Nobody => Answer::Nobody,
    };
    // Whoever asked may have gone meanwhile.
    let _ = answer_to.send(answer);
}

impl Handle {
    /// Posts a call. Exactly one [`Answer`] comes on the channel; none, and the channel is closed,
    /// if the node is gone or the params can't be encoded.
    pub fn call(
        &self,
        method: &str,
        uri: &str,
        params: &(impl Serialize + ?Sized),
        deadline: Duration,
    ) -> Receiver<Answer> {
        self.post(method, uri, params, deadline, false)
    }

    /// As [`Handle::call`], for what does no harm if it is done twice: it is moved to another node
    /// if the connection is lost.
    pub fn call_idempotent(
        &self,
        method: &str,
        uri: &str,
        params: &(impl Serialize + ?Sized),
        deadline: Duration,
    ) -> Receiver<Answer> {
        self.post(method, uri, params, deadline, true)
    }

    fn post(
        &self,
        method: &str,
        uri: &str,
        params: &(impl Serialize + ?Sized),
        deadline: Duration,
        is_idempotent: bool,
    ) -> Receiver<Answer> {
        let (answer_to, answer) = mpsc::channel();
        if let Ok(params) = serde_json::to_string(params) {
            let call = PostedCall {
                method: method.to_owned(),
                uri: uri.to_owned(),
                params,
                deadline,
                is_idempotent,
                answer_to: Box::new(answer_to),
            };
            // If the node is gone, the channel of the answer closes with the call.
            if self.calls.send(call).is_ok() {
                let _ = self.waker.wake();
            }
        }
        answer
    }
}
