//! What can be wrong with a packet, as its sender is told.

use std::borrow::Cow;
use std::fmt;

/// The `errorcode` of a reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ErrorCode {
    /// Nothing is wrong.
    Success = 0,
    /// The parameters of a known method are not what it takes, or are nested too deep.
    InvalidParameters = 1,
    /// There is no such uri, or not with this method.
    NotFound = 2,
    /// It is not JSON, or not an object.
    NotAnObject = 3,
    /// Something is too large or too many. A Distributor closes the connection, unless it is
    /// registered already: then it keeps what it has. A frame that is too large always closes it.
    TooMuch = 4,
    /// The sender may not do this.
    NotAllowed = 5,
    /// Not now: try later.
    Busy = 6,
    /// It came, or would be done, too late.
    DeadlinePassed = 7,
}

/// Why a packet is not served: what its sender is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The kind of mistake.
    pub code: ErrorCode,
    /// The mistake, in words for whoever wrote the sender.
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
