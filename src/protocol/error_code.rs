//! Error codes of replies.

use std::borrow::Cow;
use std::fmt;

/// The `errorcode` of a reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ErrorCode {
    /// No error.
    Success = 0,
    /// The params are invalid, or nested too deep.
    InvalidParameters = 1,
    /// There is no such route.
    NotFound = 2,
    /// The packet is not JSON, or not an object.
    NotAnObject = 3,
    /// A limit is exceeded. A Distributor then closes the connection, but not that of a registered
    /// node, whose entry stays as it was. A frame that is too long always closes the connection.
    TooMuch = 4,
    /// The sender may not do this.
    NotAllowed = 5,
    /// Temporarily impossible: try later.
    Busy = 6,
    /// The request arrived, or would be served, after its deadline.
    DeadlinePassed = 7,
    /// The node failed while it served the request.
    Internal = 8,
}

impl From<ErrorCode> for i64 {
    fn from(code: ErrorCode) -> i64 {
        i64::from(code as u8)
    }
}

/// The reason for rejecting a packet, as sent to its sender.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The errorcode.
    pub code: ErrorCode,
    /// The errormessage, for the developer of the sender.
    pub message: Cow<'static, str>,
}

impl Refusal {
    pub(crate) fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Refusal {
        let message = message.into();
        Refusal { code, message }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (errorcode {})", self.message, self.code as u8)
    }
}

impl std::error::Error for Refusal {}
