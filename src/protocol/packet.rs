//! The envelope of a packet, parsed without copying.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::error_code::{ErrorCode, Refusal};
use super::json::decode;
use super::trace::TraceContext;

/// Maximum length of the id of a request.
pub(crate) const MAX_REQUEST_ID_BYTES: usize = 128;

/// The envelope of one packet. Its parts are kept as received; `null` counts as absent.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct Packet<'a> {
    #[serde(borrow, default)]
    pub(super) uri: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) method: Option<&'a RawValue>,
    #[serde(borrow, default)]
    key: Option<&'a RawValue>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default)]
    session: Option<&'a RawValue>,
    #[serde(borrow, default)]
    deadline_ms: Option<&'a RawValue>,
    #[serde(borrow, default)]
    request_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    traceparent: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tracestate: Option<&'a RawValue>,
    #[serde(borrow, default)]
    errorcode: Option<&'a RawValue>,
}

impl<'a> Packet<'a> {
    /// Reads the envelope of a frame.
    ///
    /// The parts are only checked to be JSON. Returns [`ErrorCode::NotAnObject`] if the frame is
    /// not one JSON object in UTF-8, and [`ErrorCode::InvalidParameters`] if it has a part twice.
    pub fn parse(frame: &'a [u8]) -> Result<Packet<'a>, Refusal> {
        let not_an_object = |message| Err(Refusal::new(ErrorCode::NotAnObject, message));
        let Ok(text) = std::str::from_utf8(frame) else {
            return not_an_object(Cow::Borrowed("not UTF-8"));
        };
        // Checked here because a derived `Deserialize` also accepts an array of the parts.
        if !text.trim_ascii_start().starts_with('{') {
            return not_an_object(Cow::Borrowed("not a JSON object"));
        }
        serde_json::from_str(text).or_else(|error| {
            if error.is_data() {
                let message = format!("not a packet: {error}");
                Err(Refusal::new(ErrorCode::InvalidParameters, message))
            } else {
                not_an_object(Cow::Owned(format!("not JSON: {error}")))
            }
        })
    }

    /// Returns the uri, if it is a string.
    pub fn uri(&self) -> Option<Cow<'a, str>> {
        decode(self.uri?)
    }

    /// Returns the method, if it is a string.
    pub fn method(&self) -> Option<Cow<'a, str>> {
        decode(self.method?)
    }

    /// Returns the key for the reply: any JSON.
    pub fn key(&self) -> Option<&'a RawValue> {
        self.key
    }

    /// Returns the params: any JSON.
    pub fn params(&self) -> Option<&'a RawValue> {
        self.params
    }

    /// Returns the session: any JSON.
    pub fn session(&self) -> Option<&'a RawValue> {
        self.session
    }

    /// Returns the remaining time of the sender, in milliseconds.
    pub fn deadline_ms(&self) -> Option<u64> {
        self.deadline_ms?.get().parse().ok()
    }

    /// Returns the id of the request in logs, if it is a string of at most 128 bytes. Every node
    /// that takes part in the request copies it.
    pub fn request_id(&self) -> Option<Cow<'a, str>> {
        decode(self.request_id?).filter(|id: &Cow<'_, str>| id.len() <= MAX_REQUEST_ID_BYTES)
    }

    /// Returns the trace context, if it is valid. One without a valid `tracestate` has none.
    pub fn trace(&self) -> Option<TraceContext<'a>> {
        let trace = TraceContext::parse(&decode(self.traceparent?)?)?;
        Some(match self.tracestate.and_then(decode) {
            Some(state) => trace.with_state(state),
            None => trace,
        })
    }

    /// Returns whether the packet is a reply. Replies are never answered: two programs could
    /// otherwise answer each other indefinitely.
    pub fn is_reply(&self) -> bool {
        self.uri.is_none() && self.errorcode.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(frame: &[u8]) -> ErrorCode {
        Packet::parse(frame).unwrap_err().code
    }

    #[test]
    fn borrows_parts_from_the_frame() {
        let frame = br#" {"uri":"/goods","x":[1],"key":7,"method":"GET","params":{"a":1}} "#;
        let packet = Packet::parse(frame).unwrap();
        assert!(matches!(packet.uri(), Some(Cow::Borrowed("/goods"))));
        assert!(matches!(packet.method(), Some(Cow::Borrowed("GET"))));
        assert_eq!(packet.key().unwrap().get(), "7");
        assert_eq!(packet.params().unwrap().get(), r#"{"a":1}"#);
        assert!(!packet.is_reply());
    }

    #[test]
    fn ignores_request_ids_that_are_too_long() {
        for (len, is_used) in [(0, true), (128, true), (129, false), (1 << 20, false)] {
            let id = "x".repeat(len);
            let text = format!(r#"{{"uri":"/a","request_id":"{id}"}}"#);
            let packet = Packet::parse(text.as_bytes()).unwrap();
            assert_eq!(packet.request_id().is_some(), is_used, "{len}");
        }
    }

    #[test]
    fn decodes_an_escaped_uri() {
        let packet = Packet::parse(br#"{"uri":"\/distributes"}"#).unwrap();
        assert_eq!(packet.uri().unwrap(), "/distributes");
    }

    #[test]
    fn ignores_a_uri_of_another_type() {
        for frame in [
            r#"{"uri":7}"#,
            r#"{"uri":null}"#,
            r#"{"uri":"\ud800"}"#,
            "{}",
        ] {
            assert_eq!(Packet::parse(frame.as_bytes()).unwrap().uri(), None);
        }
    }

    #[test]
    fn rejects_frames_that_are_not_objects_and_invalid_objects() {
        for frame in [
            "null",
            "[]",
            r#"["/distributes","POST"]"#,
            "x",
            "{",
            "{}{}",
            "{\"a\":}",
        ] {
            assert_eq!(code(frame.as_bytes()), ErrorCode::NotAnObject, "{frame}");
        }
        assert_eq!(code(b"{\"a\":\"\xff\"}"), ErrorCode::NotAnObject);
        assert_eq!(code(br#"{"uri":1,"uri":2}"#), ErrorCode::InvalidParameters);
    }

    #[test]
    fn rejects_deep_nesting_without_exhausting_the_stack() {
        let deep = format!("{{\"x\":{}", "[".repeat(60_000));
        assert_eq!(code(deep.as_bytes()), ErrorCode::NotAnObject);
    }

    #[test]
    fn drops_invalid_trace_contexts() {
        const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let state_of = |parent: &str, state: &str| {
            let frame = format!(r#"{{"traceparent":{parent},"tracestate":{state}}}"#);
            let trace = Packet::parse(frame.as_bytes()).unwrap().trace()?;
            assert_eq!(trace.traceparent(), PARENT);
            Some(trace.tracestate().map(ToOwned::to_owned))
        };
        let quoted = format!("\"{PARENT}\"");
        assert_eq!(
            state_of(&quoted, r#""a=\"\\""#),
            Some(Some(r#"a="\"#.to_owned()))
        );
        for no_state in ["null", "7", r#""""#, r#""A=1""#, r#"["a=1"]"#] {
            assert_eq!(state_of(&quoted, no_state), Some(None), "{no_state}");
        }
        for invalid in ["null", "7", "[]", r#""""#, &quoted.to_uppercase()] {
            assert_eq!(state_of(invalid, r#""a=1""#), None, "{invalid}");
        }
    }

    #[test]
    fn recognizes_a_reply_by_its_errorcode() {
        assert!(
            Packet::parse(br#"{"key":1,"errorcode":0}"#)
                .unwrap()
                .is_reply()
        );
    }
}
