//! The head of a request: its request line and its headers. Pure.
//!
//! A proxy between a client and this server may read the same bytes differently. So an ambiguous
//! head is refused: the end of the body must be certain.

use httparse::{Header, Status};

use super::limits::MAX_HEADERS;
use super::refusal::Refusal;
use super::syntax::{is_host, is_token};
use super::target::{NOT_ASCII, Target};

/// The head of a well-formed request.
#[derive(Debug)]
pub(super) struct Head<'b> {
    pub(super) method: &'b str,
    pub(super) target: Target<'b>,
    pub(super) traits: RequestTraits,
    pub(super) headers: &'b [Header<'b>],
    pub(super) body: BodyLength,
    /// The client waits for `100 Continue` before it sends the body.
    pub(super) expects_continue: bool,
}

/// The properties of a request that its response depends on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RequestTraits {
    pub(super) is_1_0: bool,
    pub(super) is_head: bool,
    /// The connection may be used for another request.
    pub(super) keeps_alive: bool,
}

/// The length of a body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum BodyLength {
    Bytes(usize),
    Chunked,
}

impl<'b> Head<'b> {
    /// Reads a whole head, with the empty line at its end. Its lines end in CRLF: see
    /// [`super::reader::RequestReader`].
    pub(super) fn read(
        bytes: &'b [u8],
        slots: &'b mut [Header<'b>; MAX_HEADERS],
    ) -> Result<Head<'b>, Refusal> {
        let line_end = memchr::memmem::find(bytes, b"\r\n").unwrap_or(bytes.len());
        let (line, rest) = bytes.split_at_checked(line_end).unwrap_or((bytes, &[]));
        let (method, target, is_1_0) = read_request_line(line)?;
        let fields = rest.strip_prefix(b"\r\n").unwrap_or_default();
        let headers = match httparse::parse_headers(fields, slots) {
            Ok(Status::Complete((length, headers))) if length == fields.len() => headers,
            Ok(_) => return Err(Refusal::bad("invalid head: an empty line within it")),
            Err(httparse::Error::TooManyHeaders) => {
                return Err(Refusal::new(431, "too many headers: use at most 100"));
            }
            Err(httparse::Error::HeaderValue) => {
                return Err(Refusal::bad("invalid header value: control character"));
            }
            Err(_) => return Err(Refusal::bad("invalid header: not `name: value`")),
        };
        let target = Target::read(method, target).map_err(Refusal::bad)?;
        check_host(headers, is_1_0)?;
        Ok(Head {
            method,
            target,
            traits: RequestTraits {
                is_1_0,
                is_head: method == "HEAD",
                keeps_alive: keeps_alive(headers, is_1_0),
            },
            headers,
            body: body_length(headers, is_1_0)?,
            expects_continue: expects_continue(headers, is_1_0)?,
        })
    }
}

/// Returns the method, the target, and whether the version is HTTP/1.0.
fn read_request_line(line: &[u8]) -> Result<(&str, &str, bool), Refusal> {
    let invalid = Refusal::bad("invalid request line: not `METHOD target HTTP/1.1`");
    let line = std::str::from_utf8(line).map_err(|_| Refusal::bad(NOT_ASCII))?;
    let mut words = line.split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(invalid);
    };
    let version = version.strip_prefix("HTTP/").map(str::as_bytes);
    let Some(&[major, b'.', minor]) = version else {
        return Err(invalid);
    };
    if method.is_empty()
        || !method.bytes().all(is_token)
        || !major.is_ascii_digit()
        || !minor.is_ascii_digit()
    {
        return Err(invalid);
    }
    if major != b'1' {
        return Err(Refusal::new(505, "unsupported version: use HTTP/1.1"));
    }
    // A higher minor version is served as HTTP/1.1 (RFC 9110 §6.2).
    Ok((method, target, minor == b'0'))
}

fn values<'h>(headers: &'h [Header<'_>], name: &str) -> impl Iterator<Item = &'h [u8]> {
    headers
        .iter()
        .filter(move |header| header.name.eq_ignore_ascii_case(name))
        .map(|header| header.value.trim_ascii())
}

fn check_host(headers: &[Header<'_>], is_1_0: bool) -> Result<(), Refusal> {
    let mut hosts = values(headers, "host");
    let Some(host) = hosts.next() else {
        let missing = Refusal::bad("missing Host header: HTTP/1.1 requires one");
        return if is_1_0 { Ok(()) } else { Err(missing) };
    };
    if hosts.next().is_some() {
        return Err(Refusal::bad("invalid Host header: more than one"));
    }
    if !host.iter().all(|byte| is_host(*byte)) {
        return Err(Refusal::bad("invalid Host header: not a host and a port"));
    }
    Ok(())
}

fn body_length(headers: &[Header<'_>], is_1_0: bool) -> Result<BodyLength, Refusal> {
    let mut lengths = values(headers, "content-length");
    let mut encodings = values(headers, "transfer-encoding");
    let (length, encoding) = (lengths.next(), encodings.next());
    if length.is_some() && encoding.is_some() {
        return Err(Refusal::bad(
            "invalid body: both Content-Length and Transfer-Encoding",
        ));
    }
    if lengths.next().is_some() || encodings.next().is_some() {
        return Err(Refusal::bad(
            "invalid body: more than one Content-Length or Transfer-Encoding",
        ));
    }
    if let Some(encoding) = encoding {
        if is_1_0 {
            return Err(Refusal::bad("invalid Transfer-Encoding: HTTP/1.0 has none"));
        }
        return if encoding.eq_ignore_ascii_case(b"chunked") {
            Ok(BodyLength::Chunked)
        } else {
            Err(Refusal::bad("invalid Transfer-Encoding: not `chunked`"))
        };
    }
    let Some(length) = length else {
        return Ok(BodyLength::Bytes(0));
    };
    if length.is_empty() || !length.iter().all(u8::is_ascii_digit) {
        return Err(Refusal::bad("invalid Content-Length: not a number"));
    }
    // A number that cannot be parsed is beyond every limit.
    let length = std::str::from_utf8(length).ok();
    let length = length.and_then(|length| length.parse().ok());
    Ok(BodyLength::Bytes(length.unwrap_or(usize::MAX)))
}

fn keeps_alive(headers: &[Header<'_>], is_1_0: bool) -> bool {
    let has = |option: &[u8]| {
        values(headers, "connection")
            .flat_map(|value| value.split(|byte| *byte == b','))
            .any(|word| word.trim_ascii().eq_ignore_ascii_case(option))
    };
    !has(b"close") && (!is_1_0 || has(b"keep-alive"))
}

fn expects_continue(headers: &[Header<'_>], is_1_0: bool) -> Result<bool, Refusal> {
    let mut expects = false;
    for value in values(headers, "expect") {
        if !value.eq_ignore_ascii_case(b"100-continue") {
            return Err(Refusal::new(
                417,
                "invalid Expect header: not `100-continue`",
            ));
        }
        expects = !is_1_0;
    }
    Ok(expects)
}
