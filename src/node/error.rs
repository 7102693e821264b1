//! The error of handlers, and of the start of a node.

use std::borrow::Cow;
use std::fmt;
use std::io;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::call_error::CallError;
use super::correlation::Correlation;
use crate::protocol::{DecodeError, ErrorCode, Part};

/// The lowest errorcode that belongs to services.
pub(super) const FIRST_OWN_CODE: i64 = 100;

/// The error of a handler, which answers the request with its code, message and details. Also the
/// error of building and running a node.
///
/// `?` converts these errors:
///
/// | from | errorcode |
/// |---|---|
/// | [`DecodeError`] of params, [`serde_json::Error`] | [`ErrorCode::InvalidParameters`] |
/// | [`DecodeError`] of results, [`io::Error`] | [`ErrorCode::Internal`] |
/// | [`CallError::Refused`] | that of the reply, unchanged, with its message and details |
/// | [`CallError::Deadline`] | [`ErrorCode::DeadlinePassed`] |
/// | [`CallError::Unavailable`], [`CallError::TooManyCalls`] | [`ErrorCode::Busy`] |
/// | other [`CallError`]s | [`ErrorCode::Internal`] |
#[derive(Clone)]
pub struct Error {
    code: i64,
    message: Cow<'static, str>,
    details: Option<Box<RawValue>>,
}

impl Error {
    /// Creates an error with a code of the protocol.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Error {
        Error {
            code: code.into(),
            message: message.into(),
            details: None,
        }
    }

    /// Creates an error with a code of your own: at least 100, as smaller ones belong to the
    /// protocol. A smaller one becomes [`ErrorCode::Internal`].
    ///
    /// [`Builder::error_codes`](super::Builder::error_codes) checks codes when the node is built.
    pub fn own(code: i64, message: impl Into<Cow<'static, str>>) -> Error {
        let message = message.into();
        if code < FIRST_OWN_CODE {
            return Error::new(ErrorCode::Internal, too_small(code, &message));
        }
        Error {
            code,
            message,
            details: None,
        }
    }

    /// Creates an error with [`ErrorCode::Internal`] from another one.
    pub fn internal(error: impl fmt::Display) -> Error {
        Error::new(ErrorCode::Internal, error.to_string())
    }

    /// Adds details, which the reply has as its `results`. Details that cannot be encoded make the
    /// error internal.
    #[must_use]
    pub fn with_details(self, details: &(impl Serialize + ?Sized)) -> Error {
        match to_raw_value(details) {
            Ok(details) => Error {
                details: Some(details),
                ..self
            },
            Err(error) => Error::internal(format!("details cannot be encoded: {error} ({self})")),
        }
    }

    /// Returns the errorcode.
    pub fn code(&self) -> i64 {
        self.code
    }

    /// Returns the errormessage.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns the details as JSON, if there are any.
    pub fn details(&self) -> Option<&RawValue> {
        self.details.as_deref()
    }

    /// Logs the failure of a handler, if its caller is not to blame or does not learn of it.
    pub(super) fn log(
        &self,
        route: Option<(&str, &str)>,
        correlation: Correlation<'_>,
        was_answered: bool,
    ) {
        let (method, path) = route.unzip();
        let errorcode = self.code;
        let error = &*self.message;
        let (request_id, trace_id) = (correlation.request_id, correlation.trace_id());
        if was_answered {
            tracing::warn!(
                method,
                path,
                errorcode,
                error,
                request_id,
                trace_id,
                "handler failed after its reply"
            );
        } else if self.is_internal() {
            tracing::error!(method, path, error, request_id, trace_id, "request failed");
        }
    }

    /// Logs the failure of a task that has no destination for it.
    pub(super) fn log_of_task(&self, correlation: Correlation<'_>) {
        let (request_id, trace_id) = (correlation.request_id, correlation.trace_id());
        tracing::warn!(error = %self, request_id, trace_id, "task failed");
    }

    pub(super) fn is_internal(&self) -> bool {
        self.code == i64::from(ErrorCode::Internal)
    }
}

/// Returns the message of an own code that belongs to the protocol.
pub(super) fn too_small(code: i64, message: &str) -> String {
    format!("invalid own errorcode {code}: own codes start at {FIRST_OWN_CODE} ({message})")
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (errorcode {})", self.message, self.code)
    }
}

/// As `Display`: a `main` that returns the error prints it like this.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)?;
        if let Some(details) = &self.details {
            write!(f, ": {details}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

impl From<DecodeError> for Error {
    fn from(error: DecodeError) -> Error {
        let code = match error.part() {
            Part::Params => ErrorCode::InvalidParameters,
            Part::Results => ErrorCode::Internal,
        };
        Error::new(code, error.to_string())
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Error {
        Error::new(ErrorCode::InvalidParameters, error.to_string())
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        Error::internal(error)
    }
}

impl From<CallError<'_>> for Error {
    fn from(error: CallError<'_>) -> Error {
        let code = match &error {
            CallError::Refused(reply) => {
                let details = (reply.raw_results() != "null").then(|| reply.raw_results());
                return Error {
                    code: reply.errorcode,
                    message: reply.message().into_owned().into(),
                    // Raw results are JSON, so this never fails.
                    details: details.and_then(|text| RawValue::from_string(text.to_owned()).ok()),
                };
            }
            CallError::Deadline => ErrorCode::DeadlinePassed,
            CallError::Unavailable | CallError::TooManyCalls => ErrorCode::Busy,
            CallError::ConnectionLost | CallError::InvalidParams(_) => ErrorCode::Internal,
        };
        Error::new(code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Reply;

    #[test]
    fn passes_foreign_errors_unchanged() {
        for (code, details) in [(3, "null"), (-7, "[1]"), (101, r#"{"left": 0}"#)] {
            let text = format!(
                r#"{{"key":1,"errorcode":{code},"errormessage":"sold \"out\"","results":{details}}}"#
            );
            let reply = Reply::parse(text.as_bytes()).unwrap();
            let error = Error::from(CallError::Refused(reply));
            assert_eq!((error.code(), error.message()), (code, "sold \"out\""));
            let passed = error.details().map_or("null", RawValue::get);
            assert_eq!(passed, details);
        }
    }

    #[test]
    fn refuses_own_codes_below_100() {
        assert_eq!(Error::own(100, "x").code(), 100);
        for code in [99, 8, 0, -1] {
            let error = Error::own(code, "sold out");
            assert!(error.is_internal());
            assert!(
                error.message().contains("own codes start at 100"),
                "{error}"
            );
            assert!(error.message().contains("sold out"), "{error}");
        }
    }

    #[test]
    fn becomes_internal_if_its_details_cannot_be_encoded() {
        let unencodable = std::collections::BTreeMap::from([((1, 2), 3)]);
        let error = Error::own(100, "x").with_details(&unencodable);
        assert!(error.is_internal());
        let error = Error::own(100, "x").with_details(&[1, 2]);
        assert_eq!(error.details().unwrap().get(), "[1,2]");
    }
}
