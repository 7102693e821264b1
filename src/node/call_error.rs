//! Reasons why a call has no results.

use std::fmt;

use crate::protocol::Reply;

/// The error of a call.
#[derive(Clone, PartialEq, Eq, Debug)]
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
}

impl CallError<'_> {
    /// Returns an owned copy of the error.
    pub fn into_owned(self) -> CallError<'static> {
        match self {
            CallError::Refused(reply) => CallError::Refused(reply.into_owned()),
            CallError::Deadline => CallError::Deadline,
            CallError::ConnectionLost => CallError::ConnectionLost,
            CallError::Unavailable => CallError::Unavailable,
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
        }
    }
}

impl std::error::Error for CallError<'_> {}
