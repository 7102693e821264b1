//! Reasons why a call has no results.

use std::fmt;

use crate::protocol::{ErrorCode, Reply};

/// The error of a call.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum CallError<'a> {
    /// The node replied with an errorcode other than 0.
    Refused(Reply<'a>),
    /// The deadline passed. The request was sent: it may have been served, or may still be.
    Deadline,
    /// The connection was lost after the request was sent. It may have been served.
    ConnectionLost,
    /// No node that serves the request is known, could be reached, or accepted it in time. It was
    /// not served.
    Unavailable,
    /// The params could not be encoded, for this reason. The request was not sent.
    InvalidParams(String),
    /// The node has 2,097,152 calls without a result, which is the limit. The request was not sent.
    TooManyCalls,
}

impl CallError<'_> {
    /// Returns whether the request may have had an effect, or may still have one: it was sent, and
    /// its outcome is unknown. If a node replied with an errorcode, only
    /// [`Internal`](crate::protocol::ErrorCode::Internal) and
    /// [`DeadlinePassed`](crate::protocol::ErrorCode::DeadlinePassed) leave that open.
    pub fn may_have_run(&self) -> bool {
        match self {
            CallError::Refused(reply) => {
                let open = [ErrorCode::Internal, ErrorCode::DeadlinePassed];
                open.iter().any(|code| reply.errorcode == i64::from(*code))
            }
            CallError::Deadline | CallError::ConnectionLost => true,
            CallError::Unavailable | CallError::InvalidParams(_) | CallError::TooManyCalls => false,
        }
    }

    /// Returns an owned copy of the error.
    pub fn into_owned(self) -> CallError<'static> {
        match self {
            CallError::Refused(reply) => CallError::Refused(reply.into_owned()),
            CallError::Deadline => CallError::Deadline,
            CallError::ConnectionLost => CallError::ConnectionLost,
            CallError::Unavailable => CallError::Unavailable,
            CallError::InvalidParams(why) => CallError::InvalidParams(why),
            CallError::TooManyCalls => CallError::TooManyCalls,
        }
    }
}

impl fmt::Display for CallError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::Refused(reply) => {
                write!(f, "errorcode {}: {}", reply.errorcode, reply.message())
            }
            CallError::Deadline => f.write_str("no reply in time; the call may have been served"),
            CallError::ConnectionLost => {
                f.write_str("the connection was lost; the call may have been served")
            }
            CallError::Unavailable => f.write_str("no node could take the call; it was not served"),
            CallError::InvalidParams(why) => {
                write!(f, "params cannot be encoded: {why}; the call was not sent")
            }
            CallError::TooManyCalls => {
                f.write_str("too many calls without a result; the call was not sent")
            }
        }
    }
}

impl std::error::Error for CallError<'_> {}
