//! Requests of other nodes, and the destinations of their replies.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use super::correlation::Correlation;
use super::error::Error;
use crate::protocol::{
    DecodeError, ErrorCode, Packet, Part, Route, TraceContext, key_of_request, write_error_reply,
    write_own_error_reply, write_reply,
};
use crate::reactor::{ConnId, Net};
use crate::time::Time;

/// A request, borrowed from its frame.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Request<'a> {
    /// The route; its method is empty if the caller sent none.
    pub route: Route<'a>,
    /// The key as JSON: from the top of the packet, or from its params.
    pub key: &'a str,
    /// The params as JSON; `null` if there are none.
    pub raw_params: &'a RawValue,
    /// Deadline, if the caller sent one. Calls made while the request is served end by then.
    pub deadline: Option<Time>,
    /// Id of the request in logs, if it has one. Calls made while the request is served have the
    /// same id.
    pub request_id: Option<Cow<'a, str>>,
    /// Trace context, if the caller sent a valid one. Calls made while the request is served have
    /// the same, unless [`Call::trace`](super::Call::trace) sets another.
    pub trace: Option<TraceContext<'a>>,
}

impl<'a> Request<'a> {
    /// Decodes the params.
    pub fn params<T: Deserialize<'a>>(&self) -> Result<T, DecodeError> {
        serde_json::from_str(self.raw_params.get())
            .map_err(|error| DecodeError::new(Part::Params, error))
    }

    pub(super) fn correlation(&self) -> Correlation<'_> {
        Correlation {
            request_id: self.request_id.as_deref(),
            trace: self.trace.as_ref(),
        }
    }
}

/// Destination of the reply to one request. It can be stored, even after its caller is gone.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use = "the caller waits for an answer"]
pub struct ReplyTo {
    pub(super) conn: ConnId,
    pub(super) key: Key,
    deadline: Option<Time>,
}

impl ReplyTo {
    /// Returns the deadline, if the caller sent one.
    pub fn deadline(&self) -> Option<Time> {
        self.deadline
    }
}

/// A key as JSON. Usual keys fit without an allocation.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Key {
    Inline([u8; INLINE_BYTES], u8),
    Boxed(Box<str>),
}

const INLINE_BYTES: usize = 22;

impl Key {
    fn new(text: &str) -> Key {
        let mut bytes = [0; INLINE_BYTES];
        match (bytes.get_mut(..text.len()), u8::try_from(text.len())) {
            (Some(place), Ok(len)) => {
                place.copy_from_slice(text.as_bytes());
                Key::Inline(bytes, len)
            }
            _ => Key::Boxed(text.into()),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        match self {
            Key::Inline(bytes, len) => bytes
                .get(..usize::from(*len))
                .and_then(|bytes| std::str::from_utf8(bytes).ok())
                .unwrap_or("null"),
            Key::Boxed(text) => text,
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Reads a request. Rejects those that no service could serve.
pub(super) fn read<'a>(
    net: &mut Net,
    conn: ConnId,
    frame: &'a [u8],
) -> Option<(Request<'a>, ReplyTo)> {
    let packet = match Packet::parse(frame) {
        Ok(packet) => packet,
        Err(refusal) => {
            refuse(net, conn, "null", refusal.code, &refusal.message);
            return None;
        }
    };
    if packet.is_reply() {
        return None;
    }
    let key = key_of_request(packet.key(), packet.params());
    let Some(uri) = packet.uri() else {
        refuse(net, conn, key, ErrorCode::NotFound, "packet without a uri");
        return None;
    };
    let left = packet.deadline_ms().map(Duration::from_millis);
    if left.is_some_and(|left| left.is_zero()) {
        let code = ErrorCode::DeadlinePassed;
        refuse(
            net,
            conn,
            key,
            code,
            "the deadline of the request has passed",
        );
        return None;
    }
    let deadline = left.map(|left| net.now() + left);
    let request = Request {
        route: Route::new(packet.method().unwrap_or_default(), uri),
        key,
        raw_params: packet.params().unwrap_or(RawValue::NULL),
        deadline,
        request_id: packet.request_id(),
        trace: packet.trace(),
    };
    let reply_to = ReplyTo {
        conn,
        key: Key::new(key),
        deadline,
    };
    Some((request, reply_to))
}

/// A reply was sent. Handlers return it in place of results.
#[derive(Clone, Copy, Debug)]
pub struct Replied(());

impl Replied {
    pub(super) fn new() -> Replied {
        Replied(())
    }
}

/// Never encoded, since the reply was already sent.
impl Serialize for Replied {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

pub(super) fn no_destination() -> Error {
    Error::new(ErrorCode::Internal, "the request was already replied to")
}

pub(super) fn unencodable(error: &io::Error) -> Error {
    Error::internal(format!("results cannot be encoded: {error}"))
}

/// Parses a parameter of a path.
pub(super) fn parsed<T: FromStr>(name: &str, text: Option<&str>) -> Result<T, Error> {
    let Some(text) = text else {
        return Err(Error::internal(format!(
            "the route has no parameter {name}"
        )));
    };
    text.parse().map_err(|_| {
        let message = format!("invalid {name} in the path: {text}");
        Error::new(ErrorCode::InvalidParameters, message)
    })
}

/// Sends a reply with results. Sends nothing if they cannot be encoded.
pub(super) fn send_results(
    net: &mut Net,
    to: &ReplyTo,
    results: &(impl Serialize + ?Sized),
) -> Result<(), Error> {
    let mut sent = Ok(());
    net.send_with(to.conn, |out| {
        let written = write_reply(out, to.key.as_str(), results);
        written.map_err(|error| sent = Err(unencodable(&error)))
    });
    sent
}

/// Sends a reply with an error.
pub(super) fn send_error(net: &mut Net, to: &ReplyTo, error: &Error) {
    let (code, message, details) = (error.code(), error.message(), error.details());
    net.send_with(to.conn, |out| {
        write_own_error_reply(out, to.key.as_str(), code, message, details)
    });
}

pub(super) fn refuse(net: &mut Net, conn: ConnId, key: &str, code: ErrorCode, message: &str) {
    net.send_with(conn, |out| write_error_reply(out, key, code, message));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_keys_as_they_came() {
        for text in [
            "0",
            "null",
            "12345678901234567890",
            "\"a long key, longer than most\"",
            "{}",
        ] {
            assert_eq!(Key::new(text).as_str(), text);
        }
    }
}
