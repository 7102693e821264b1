//! Requests and replies between nodes.

use std::borrow::Cow;
use std::io::{self, Write};
use std::ops::Range;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::decode_error::{DecodeError, Part};
use super::error_code::{ErrorCode, Refusal};
use super::packet::Packet;
use super::route::Route;

/// Writes a request.
///
/// The reply repeats `key`. `deadline_ms` is the remaining time of the caller. Returns the errors
/// of `out` and of `params`.
pub fn write_request(
    mut out: impl Write,
    route: &Route<'_>,
    key: u64,
    deadline_ms: Option<u64>,
    params: &(impl Serialize + ?Sized),
) -> io::Result<()> {
    write_request_head(&mut out, route, key, deadline_ms)?;
    serde_json::to_writer(&mut out, params)?;
    out.write_all(b"}")
}

/// Writes a request up to its params.
///
/// Returns the errors of `out`.
pub(crate) fn write_request_head(
    mut out: impl Write,
    route: &Route<'_>,
    key: u64,
    deadline_ms: Option<u64>,
) -> io::Result<()> {
    out.write_all(b"{\"uri\":")?;
    serde_json::to_writer(&mut out, &route.path)?;
    out.write_all(b",\"method\":")?;
    serde_json::to_writer(&mut out, &route.method)?;
    write!(out, ",\"key\":{key}")?;
    if let Some(left) = deadline_ms {
        write!(out, ",\"deadline_ms\":{left}")?;
    }
    out.write_all(b",\"params\":")
}

/// Writes a reply. `key` is JSON, as in the request.
///
/// Returns the errors of `out`, or of `results`.
pub fn write_reply(
    mut out: impl Write,
    key: &str,
    results: &(impl Serialize + ?Sized),
) -> io::Result<()> {
    out.write_all(b"{\"key\":")?;
    out.write_all(key.as_bytes())?;
    out.write_all(b",\"errorcode\":0,\"errormessage\":\"success\",\"results\":")?;
    serde_json::to_writer(&mut out, results)?;
    out.write_all(b"}")
}

/// Writes the reply of a node with an error. `key` is JSON, as in the request.
///
/// Returns the errors of `out`.
pub fn write_error_reply(
    out: impl Write,
    key: &str,
    code: ErrorCode,
    message: &str,
) -> io::Result<()> {
    write_own_error_reply(out, key, code.into(), message, None)
}

/// Writes the reply of a node with an error of any code, and its details as results.
///
/// Returns the errors of `out`.
pub(crate) fn write_own_error_reply(
    mut out: impl Write,
    key: &str,
    code: i64,
    message: &str,
    details: Option<&RawValue>,
) -> io::Result<()> {
    out.write_all(b"{\"key\":")?;
    out.write_all(key.as_bytes())?;
    write!(out, ",\"errorcode\":{code},\"errormessage\":")?;
    serde_json::to_writer(&mut out, message)?;
    if let Some(details) = details {
        out.write_all(b",\"results\":")?;
        out.write_all(details.get().as_bytes())?;
    }
    out.write_all(b"}")
}

/// Writes the packet with which a Distributor rejects `packet`. Unreadable parts of it become
/// `null`.
///
/// Returns the errors of `out`.
pub fn write_error(out: impl Write, packet: &Packet<'_>, refusal: &Refusal) -> io::Result<()> {
    #[derive(Serialize)]
    struct ErrorReply<'a> {
        uri: Option<&'a RawValue>,
        method: Option<&'a RawValue>,
        key: Option<&'a RawValue>,
        errorcode: u8,
        errormessage: &'a str,
    }
    let reply = ErrorReply {
        uri: packet.uri,
        method: packet.method,
        key: packet.key(),
        errorcode: refusal.code as u8,
        errormessage: &refusal.message,
    };
    Ok(serde_json::to_writer(out, &reply)?)
}

/// A reply to a call, borrowed from its frame or owned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply<'a> {
    packet: Cow<'a, str>,
    key: Option<u64>,
    /// Errorcode of the reply; 0 is success.
    pub errorcode: i64,
    /// Place of the message in the packet.
    message: Option<Range<usize>>,
    results: Option<Range<usize>>,
}

impl<'a> Reply<'a> {
    /// Parses a reply; returns `None` if the frame is not a JSON object.
    pub fn parse(frame: &'a [u8]) -> Option<Reply<'a>> {
        #[derive(Deserialize)]
        struct Fields<'a> {
            #[serde(borrow, default)]
            key: Option<&'a RawValue>,
            #[serde(default)]
            errorcode: i64,
            #[serde(borrow, default)]
            errormessage: Option<&'a RawValue>,
            #[serde(borrow, default)]
            results: Option<&'a RawValue>,
        }
        let text = std::str::from_utf8(frame).ok()?;
        if !text.starts_with('{') {
            return None;
        }
        let fields: Fields<'a> = serde_json::from_str(text).ok()?;
        let place = |raw: &RawValue| {
            let start = raw.get().as_ptr().addr() - text.as_ptr().addr();
            start..start + raw.get().len()
        };
        Some(Reply {
            packet: Cow::Borrowed(text),
            key: fields.key.and_then(|key| key.get().parse().ok()),
            errorcode: fields.errorcode,
            message: fields.errormessage.map(place),
            results: fields.results.map(place),
        })
    }

    /// Returns the whole packet as received.
    pub fn packet(&self) -> &str {
        &self.packet
    }

    /// Returns the key, if it is a number.
    pub fn key(&self) -> Option<u64> {
        self.key
    }

    /// Returns the `errormessage`; if it is not a string, its JSON.
    pub fn message(&self) -> Cow<'_, str> {
        let json = self.part(&self.message).unwrap_or_default();
        match serde_json::from_str(json) {
            Ok(message) => Cow::Owned(message),
            Err(_) => Cow::Borrowed(json),
        }
    }

    /// Decodes the results; without any, `null`.
    pub fn results<'r, T: Deserialize<'r>>(&'r self) -> Result<T, DecodeError> {
        serde_json::from_str(self.raw_results())
            .map_err(|error| DecodeError::new(Part::Results, error))
    }

    /// Returns the results as JSON; `null` if there are none. In an error they are its details.
    pub fn raw_results(&self) -> &str {
        self.part(&self.results).unwrap_or("null")
    }

    /// Returns an owned copy of the reply.
    pub fn into_owned(self) -> Reply<'static> {
        Reply {
            packet: Cow::Owned(self.packet.into_owned()),
            ..self
        }
    }

    fn part(&self, place: &Option<Range<usize>>) -> Option<&str> {
        self.packet.get(place.clone()?)
    }
}

/// Returns the key of a request as JSON: that of the packet, or the one in its params, as plain
/// gateways send it; `null` if there is none.
pub fn key_of_request<'a>(key: Option<&'a RawValue>, params: Option<&'a RawValue>) -> &'a str {
    #[derive(Deserialize)]
    struct WithKey<'a> {
        #[serde(borrow, default)]
        key: Option<&'a RawValue>,
    }
    if let Some(key) = key {
        return key.get();
    }
    let params = params.map_or("", RawValue::get);
    if !params.starts_with('{') {
        return "null";
    }
    let inner: Option<WithKey<'a>> = serde_json::from_str(params).ok();
    inner
        .and_then(|inner| inner.key)
        .map_or("null", RawValue::get)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_request_as_written() {
        let mut out = Vec::new();
        write_request(&mut out, &Route::get("/go\"ods"), 7, Some(250), &["a¶"]).unwrap();
        let packet = Packet::parse(&out).unwrap();
        assert_eq!(packet.uri().unwrap(), "/go\"ods");
        assert_eq!(packet.method().unwrap(), "GET");
        assert_eq!(packet.deadline_ms(), Some(250));
        assert_eq!(key_of_request(packet.key(), packet.params()), "7");
        assert_eq!(packet.params().unwrap().get(), "[\"a¶\"]");
    }

    #[test]
    fn reads_a_reply_as_written() {
        let mut out = Vec::new();
        write_reply(&mut out, "7", &[1, 2]).unwrap();
        let reply = Reply::parse(&out).unwrap();
        assert_eq!(
            (reply.key(), reply.errorcode, reply.raw_results()),
            (Some(7), 0, "[1,2]")
        );
        assert_eq!(reply.packet().as_bytes(), out);
        let mut out = Vec::new();
        write_error_reply(&mut out, "7", ErrorCode::NotFound, "no \"x\"").unwrap();
        let reply = Reply::parse(&out).unwrap();
        assert_eq!((reply.errorcode, &*reply.message()), (2, "no \"x\""));
        assert_eq!(reply.raw_results(), "null");
    }

    #[test]
    fn reads_replies_with_fields_of_other_types() {
        let reply = Reply::parse(br#"{"key":1,"errorcode":5,"errormessage":{"why":[1]}}"#).unwrap();
        assert_eq!(reply.message(), r#"{"why":[1]}"#);
        for none in ["null", "[]", "x", "{"] {
            assert!(Reply::parse(none.as_bytes()).is_none());
        }
    }

    #[test]
    fn finds_the_key_that_plain_gateways_put_into_params() {
        let packet = Packet::parse(br#"{"uri":"/goods","method":"GET","params":{"a":1,"key":12}}"#);
        let packet = packet.unwrap();
        assert_eq!(key_of_request(packet.key(), packet.params()), "12");
        let packet = Packet::parse(br#"{"uri":"/goods","params":[1]}"#).unwrap();
        assert_eq!(key_of_request(packet.key(), packet.params()), "null");
    }

    #[test]
    fn repeats_the_rejected_packet_in_the_error() {
        let frame = br#"{"uri":"/x","method":"PUT","key":{"a":[1, 2]}}"#;
        let packet = Packet::parse(frame).unwrap();
        let mut out = Vec::new();
        let refusal = Refusal::new(ErrorCode::NotFound, "no \"such\" uri");
        write_error(&mut out, &packet, &refusal).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            concat!(
                r#"{"uri":"/x","method":"PUT","key":{"a":[1, 2]},"#,
                r#""errorcode":2,"errormessage":"no \"such\" uri"}"#
            )
        );
    }
}
