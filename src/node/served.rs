//! Requests that others send, and where their replies go.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::protocol::{ErrorCode, Packet, Route, key_of_request, write_error_reply};
use crate::reactor::{ConnId, Net};
use crate::time::Time;

/// What somebody asks for, borrowed from its frame.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    route: Route<'a>,
    key: &'a str,
    params: &'a RawValue,
    deadline: Option<Time>,
    request_id: Option<Cow<'a, str>>,
}

impl<'a> Request<'a> {
    /// Returns the route; its method is empty if the caller sent none.
    pub fn route(&self) -> &Route<'a> {
        &self.route
    }

    /// The key as it came, JSON: at the top of the packet, or among its params.
    pub fn key(&self) -> &'a str {
        self.key
    }

    /// The params as they came, JSON; `null` if there are none.
    pub fn params(&self) -> &'a str {
        self.params.get()
    }

    /// As [`Request::params`], for what goes on as it came: they were checked to be JSON once, and
    /// are not read again.
    pub fn raw_params(&self) -> &'a RawValue {
        self.params
    }

    /// The params as `T`. Errors say what in them is not as `T` wants it.
    pub fn parse_params<T: Deserialize<'a>>(&self) -> serde_json::Result<T> {
        serde_json::from_str(self.params.get())
    }

    /// Until when the caller waits, if it said so. Calls made while the request is served never
    /// wait longer.
    pub fn deadline(&self) -> Option<Time> {
        self.deadline
    }

    /// What the request is called in the logs of all who have to do with it, if somebody gave it a
    /// name. Calls made while the request is served carry it on.
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }
}

/// Where the reply to one request goes. It can be kept; it stays harmless when its caller is gone.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use = "whoever asked waits for an answer"]
pub struct ReplyTo {
    pub(super) conn: ConnId,
    pub(super) key: Key,
    deadline: Option<Time>,
}

impl ReplyTo {
    /// Until when the caller waits, if it said so. Give what is left of it to calls that the answer
    /// needs: [`Time::saturating_since`].
    pub fn deadline(&self) -> Option<Time> {
        self.deadline
    }

    /// What is left of the caller's time, or `otherwise` if it did not say.
    pub fn time_left(&self, now: Time, otherwise: Duration) -> Duration {
        self.deadline
            .map_or(otherwise, |deadline| deadline.saturating_since(now))
    }
}

/// A key as JSON. Those that are usual fit without an allocation.
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

/// Reads a request. One that can't be served, by nobody, is answered here.
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
        refuse(net, conn, key, ErrorCode::NotFound, "the packet has no uri");
        return None;
    };
    let left = packet.deadline_ms().map(Duration::from_millis);
    if left.is_some_and(|left| left.is_zero()) {
        let code = ErrorCode::DeadlinePassed;
        refuse(net, conn, key, code, "it came too late");
        return None;
    }
    let deadline = left.map(|left| net.now() + left);
    let request = Request {
        route: Route::new(packet.method().unwrap_or_default(), uri),
        key,
        params: packet.params().unwrap_or(RawValue::NULL),
        deadline,
        request_id: packet.request_id(),
    };
    let reply_to = ReplyTo {
        conn,
        key: Key::new(key),
        deadline,
    };
    Some((request, reply_to))
}

pub(super) fn refuse(net: &mut Net, conn: ConnId, key: &str, code: ErrorCode, message: &str) {
    net.send_with(conn, |out| write_error_reply(out, key, code, message));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_kept_as_they_came() {
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
