//! Sessions: requests of nodes, and packets of a Distributor.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::error_code::{ErrorCode, Refusal};
use super::subscription::Subscription;

/// The updates that a node requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Watch {
    /// No updates: the node only registers.
    None,
    /// The whole list after each change.
    #[default]
    List,
    /// The whole list once, then the changes.
    Delta,
}

/// The `session` of a registration: the requests of a node, and its known list.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize, Serialize)]
pub struct SessionRequest<'a> {
    /// The version of the session protocol: 1.
    #[serde(default)]
    pub version: u32,
    /// The requested updates.
    #[serde(default)]
    pub watch: Watch,
    /// 128 random bits in hex, chosen at the start of the node. Never sent to other nodes.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<Cow<'a, str>>,
    /// The epoch of the list that the node knows.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Cow<'a, str>>,
    /// The revision of that list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rev: Option<u64>,
    /// The token, if one is required.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Token<'a>>,
    /// The entries that it receives; `None` for all.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub only: Option<Subscription>,
}

/// A secret that admits a node. Create it from a `String` or `&str`.
///
/// Only [`Token::reveal`] returns the secret; `Debug` does not.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Token<'a>(Cow<'a, str>);

impl Token<'_> {
    /// Minimum length of a token that is hard to guess.
    pub(crate) const MIN_BYTES: usize = 16;
    const MAX_BYTES: usize = 512;

    /// Checks the text of a token in a file. The error never contains any of the text.
    pub(crate) fn check(text: &str) -> Result<(), &'static str> {
        if text.len() > Self::MAX_BYTES {
            return Err("token too long: use at most 512 bytes");
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("invalid character in the token: use printable ASCII without spaces");
        }
        Ok(())
    }

    /// Returns the secret.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl<'a, T: Into<Cow<'a, str>>> From<T> for Token<'a> {
    fn from(text: T) -> Token<'a> {
        Token(text.into())
    }
}

impl fmt::Debug for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Token<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Token<'a>, D::Error> {
        // The error of a derived implementation would quote the value.
        let raw = <&RawValue>::deserialize(deserializer)?;
        let text = super::json::decode(raw);
        text.map(Token)
            .ok_or_else(|| serde::de::Error::custom("token is not a string"))
    }
}

/// Maximum length of an instance. This crate sends 32 hex digits; other programs may send other
/// random text.
const MAX_INSTANCE_BYTES: usize = 64;

/// Returns whether this is a valid instance.
pub(crate) fn is_instance(text: &str) -> bool {
    (1..=MAX_INSTANCE_BYTES).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

impl<'a> SessionRequest<'a> {
    /// Reads the `session` of a registration.
    pub fn parse(raw: &'a RawValue) -> Result<SessionRequest<'a>, Refusal> {
        let mut request: SessionRequest<'a> = object("session", raw.get())?;
        request.only = Subscription::parse(raw)?;
        if request.only.is_some() && request.watch == Watch::None {
            let message = "session: only without updates: set watch to list or delta";
            return Err(Refusal::new(ErrorCode::InvalidParameters, message));
        }
        if !request.instance.as_deref().is_none_or(is_instance) {
            let message = "session: invalid instance: use 1 to 64 letters and digits";
            return Err(Refusal::new(ErrorCode::InvalidParameters, message));
        }
        Ok(request)
    }
}

/// The `session` of a heartbeat: the revision that was last applied.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize, Serialize)]
pub struct Applied {
    /// The revision.
    #[serde(default)]
    pub rev: u64,
    /// The subscription that replaces the current one; `None` to keep it.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub only: Option<Subscription>,
}

impl Applied {
    /// Reads the `session` of a heartbeat; `None` if it is absent or has no valid revision. Returns
    /// the error of an invalid subscription.
    pub fn parse(raw: Option<&RawValue>) -> Result<Option<Applied>, Refusal> {
        let Some(raw) = raw else {
            return Ok(None);
        };
        let Ok(mut applied) = object::<Applied>("session", raw.get()) else {
            return Ok(None);
        };
        applied.only = Subscription::parse(raw)?;
        Ok(Some(applied))
    }
}

/// The `params` of a drain.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, Serialize)]
pub struct DrainRequest {
    /// The longest wait for acknowledgements, in milliseconds.
    #[serde(default = "one_second")]
    pub wait_ms: u64,
}

fn one_second() -> u64 {
    1000
}

impl DrainRequest {
    /// Reads the `params` of a drain. Without any, the default applies.
    pub fn parse(raw: Option<&RawValue>) -> Result<DrainRequest, Refusal> {
        object("params", raw.map_or("{}", RawValue::get))
    }
}

/// Reads an object. A derived `Deserialize` alone would also accept an array of the fields.
fn object<'a, T: Deserialize<'a>>(what: &str, text: &'a str) -> Result<T, Refusal> {
    let invalid = |message: String| Refusal::new(ErrorCode::InvalidParameters, message);
    if !text.starts_with('{') {
        return Err(invalid(format!("{what} is not an object")));
    }
    serde_json::from_str(text).map_err(|error| {
        let error = error.to_string();
        invalid(format!("{what}: {}", without_value(&error)))
    })
}

/// Returns the error without the invalid value, which may be long, or be a token in a wrong field.
fn without_value(error: &str) -> &str {
    // The value precedes this text, so it cannot contain its last occurrence.
    match error.rfind(", expected ") {
        Some(at) => error.get(at + ", ".len()..).unwrap_or_default(),
        None => error,
    }
}

/// The `results` of a registration with a session.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize)]
pub struct Registered<'a> {
    /// Id of the entry.
    pub id: u64,
    /// Identifies the run of the Distributor.
    #[serde(borrow)]
    pub epoch: Cow<'a, str>,
    /// Current revision of the list.
    pub rev: u64,
    /// Interval of heartbeats, in milliseconds.
    pub heartbeat_ms: u64,
    /// The names of the additions to the protocol that the Distributor knows. Sent to sessions that
    /// use one.
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<Cow<'a, str>>,
    /// False if the Distributor has too many subscriptions, and sends all entries to this session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<bool>,
}

/// The `results` of a drain: which sessions have acknowledged it.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize)]
pub struct Drained {
    /// First revision without the node.
    pub rev: u64,
    /// Number of sessions that have acknowledged it.
    pub acked: u64,
    /// Number of sessions that watch the list.
    #[serde(rename = "of")]
    pub total: u64,
    /// Ids of the entries of sessions that have not acknowledged it; 0 for a session without an
    /// entry.
    #[serde(rename = "late")]
    pub unacknowledged: Vec<u64>,
    /// Number of registered peers that cannot acknowledge.
    #[serde(rename = "blind")]
    pub untracked: u64,
}

/// The `session` of a list or a delta, without its ids.
#[derive(Clone, Copy, Debug)]
pub struct Stamp<'a> {
    /// Identifies the run of the Distributor.
    pub epoch: &'a str,
    /// Revision of the update.
    pub rev: u64,
    /// True if it is to be acknowledged at once.
    pub ack: bool,
}

/// Writes a list with a session.
pub fn write_session_list(
    out: &mut Vec<u8>,
    key: &str,
    stamp: Stamp<'_>,
    complete: bool,
    entries: impl FnOnce(&mut Vec<u8>),
    ids: impl FnOnce(&mut Vec<u8>),
    plain: impl FnOnce(&mut Vec<u8>),
) {
    // Writing to memory does not fail.
    let _ = super::write_list_head(&mut *out, key);
    out.extend_from_slice(b",\"params\":[");
    entries(out);
    let Stamp { epoch, rev, .. } = stamp;
    text(
        out,
        format_args!("],\"session\":{{\"epoch\":\"{epoch}\",\"rev\":{rev},\"complete\":{complete}"),
    );
    end_session(out, stamp, ids, plain);
}

/// Writes a delta: from revision `from` to that of `stamp`.
pub fn write_delta<'l>(
    out: &mut Vec<u8>,
    stamp: Stamp<'_>,
    from: u64,
    joined: impl FnOnce(&mut Vec<u8>),
    left: impl Iterator<Item = (u64, &'l str)>,
    ids: impl FnOnce(&mut Vec<u8>),
    plain: impl FnOnce(&mut Vec<u8>),
) {
    out.extend_from_slice(
        b"{\"uri\":\"/distributes\",\"method\":\"PATCH\",\"key\":0,\"params\":{\"joined\":[",
    );
    joined(out);
    out.extend_from_slice(b"],\"left\":[");
    for (index, (id, cause)) in left.enumerate() {
        let comma = if index > 0 { "," } else { "" };
        text(
            out,
            format_args!("{comma}{{\"id\":{id},\"cause\":\"{cause}\"}}"),
        );
    }
    let Stamp { epoch, rev, .. } = stamp;
    text(
        out,
        format_args!("]}},\"session\":{{\"epoch\":\"{epoch}\",\"from\":{from},\"rev\":{rev}"),
    );
    end_session(out, stamp, ids, plain);
}

/// Writes the ids of the entries, and those of peers without a session, if there are any.
fn end_session(
    out: &mut Vec<u8>,
    stamp: Stamp<'_>,
    ids: impl FnOnce(&mut Vec<u8>),
    plain: impl FnOnce(&mut Vec<u8>),
) {
    if stamp.ack {
        out.extend_from_slice(b",\"ack\":true");
    }
    out.extend_from_slice(b",\"ids\":[");
    ids(out);
    let ids_end = out.len();
    out.extend_from_slice(b"],\"plain\":[");
    let plain_start = out.len();
    plain(out);
    if out.len() == plain_start {
        out.truncate(ids_end);
    }
    out.extend_from_slice(b"]}}");
}

fn text(out: &mut Vec<u8>, words: fmt::Arguments<'_>) {
    // Writing to memory does not fail.
    let _ = out.write_fmt(words);
}

/// Writes a notice that the Distributor is about to stop, and when nodes should reconnect.
///
/// Returns the errors of `out`.
pub fn write_draining(mut out: impl Write, retry_after_ms: u64) -> io::Result<()> {
    write!(
        out,
        "{{\"uri\":\"/distributes\",\"method\":\"PATCH\",\
         \"session\":{{\"draining\":true,\"retry_after_ms\":{retry_after_ms}}}}}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp<'static> = Stamp {
        epoch: "e1",
        rev: 14,
        ack: false,
    };

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn omits_the_value_from_errors() {
        for session in [
            r#"{"version":"s3cret"}"#,
            r#"{"version":"s3cret, expected s3cret"}"#,
            r#"{"watch":"s3cret`, expected s3cret"}"#,
            r#"{"watch":{"s3cret":1}}"#,
            r#"{"rev":"s3cret"}"#,
            r#"{"token":["s3cret"]}"#,
            r#"{"instance":"s3cret, expected"}"#,
            r#""s3cret""#,
        ] {
            let raw: &RawValue = serde_json::from_str(session).unwrap();
            let why = SessionRequest::parse(raw).unwrap_err().message;
            assert!(!why.contains("s3cret"), "{why}");
        }
        let raw: &RawValue = serde_json::from_str(r#"{"watch":"all"}"#).unwrap();
        assert_eq!(
            SessionRequest::parse(raw).unwrap_err().message,
            "session: expected one of `none`, `list`, `delta` at line 1 column 14"
        );
    }

    #[test]
    fn writes_lists_deltas_and_the_stop_byte_for_byte() {
        let put =
            |text: &'static str| move |out: &mut Vec<u8>| out.extend_from_slice(text.as_bytes());
        assert_eq!(
            written(|out| write_session_list(out, "0", STAMP, false, put("{}"), put("5"), put(""))),
            concat!(
                r#"{"uri":"/distributes","method":"GET","key":0,"params":[{}],"#,
                r#""session":{"epoch":"e1","rev":14,"complete":false,"ids":[5]}}"#
            )
        );
        let left = [(3, "closed"), (4, "drained")];
        let ack = Stamp { ack: true, ..STAMP };
        assert_eq!(
            written(|out| write_delta(
                out,
                ack,
                12,
                put("{}"),
                left.into_iter(),
                put("5"),
                put("5")
            )),
            concat!(
                r#"{"uri":"/distributes","method":"PATCH","key":0,"params":{"joined":[{}],"#,
                r#""left":[{"id":3,"cause":"closed"},{"id":4,"cause":"drained"}]},"#,
                r#""session":{"epoch":"e1","from":12,"rev":14,"ack":true,"ids":[5],"plain":[5]}}"#
            )
        );
        assert_eq!(
            written(|out| write_draining(out, 1500).unwrap()),
            concat!(
                r#"{"uri":"/distributes","method":"PATCH","#,
                r#""session":{"draining":true,"retry_after_ms":1500}}"#
            )
        );
    }

    #[test]
    fn accepts_a_session_request_without_fields() {
        let parse = |text: &str| {
            let raw = RawValue::from_string(text.to_owned()).unwrap();
            SessionRequest::parse(&raw).map(|request| (request.watch, request.rev))
        };
        assert_eq!(parse("{}"), Ok((Watch::List, None)));
        let all =
            r#"{"version":1,"watch":"delta","instance":"ab12","epoch":"e","rev":7,"token":"t"}"#;
        assert_eq!(parse(all), Ok((Watch::Delta, Some(7))));
        let quoted = r#"{"token":"s3cr\u0065t"}"#;
        let raw = RawValue::from_string(quoted.to_owned()).unwrap();
        let request = SessionRequest::parse(&raw).unwrap();
        assert_eq!(request.token.as_ref().unwrap().reveal(), "s3cret");
        assert!(!format!("{request:?}").contains("s3cr"));
        let raw = RawValue::from_string(r#"{"token":4711}"#.to_owned()).unwrap();
        let refusal = SessionRequest::parse(&raw).unwrap_err();
        assert!(!refusal.message.contains("4711"), "{refusal}");
        for wrong in [
            "[]",
            "7",
            r#"{"watch":"all"}"#,
            r#"{"instance":""}"#,
            r#"{"instance":"a b"}"#,
        ] {
            assert_eq!(
                parse(wrong).unwrap_err().code,
                ErrorCode::InvalidParameters,
                "{wrong}"
            );
        }
    }
}
