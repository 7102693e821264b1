//! The head of a request: what it says, and whether it may be believed. Pure.
//!
//! Between a client and this server there may be a proxy that reads the same bytes otherwise. So
//! what can be read in two ways is refused: which bytes are the body must never be a matter of taste.

use httparse::{Header, Status};

use super::reader::Refusal;
use super::target::{Target, is_of_host};

/// More header lines than this are refused.
pub(crate) const MAX_HEADERS: usize = 100;

/// The head of a request that is well-formed.
#[derive(Debug)]
pub(super) struct Head<'b> {
    pub(super) method: &'b str,
    pub(super) target: Target<'b>,
    pub(super) is_1_0: bool,
    pub(super) headers: &'b [Header<'b>],
    pub(super) body: BodyLength,
    /// The connection may be used for another request.
    pub(super) keeps_alive: bool,
    /// The client wants to be told to go on before it sends the body.
    pub(super) expects_continue: bool,
}

/// How the end of the body is found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum BodyLength {
    Bytes(u64),
    Chunked,
}

const fn bad(why: &'static str) -> Refusal {
    Refusal { status: 400, why }
}

impl<'b> Head<'b> {
    /// Reads a whole head, its empty line included. Its lines end in CRLF: see
    /// [`super::reader::RequestReader`].
    pub(super) fn read(
        bytes: &'b [u8],
        slots: &'b mut [Header<'b>; MAX_HEADERS],
    ) -> Result<Head<'b>, Refusal> {
        check_controls(bytes)?;
        let mut request = httparse::Request::new(slots);
        match request.parse(bytes) {
            Ok(Status::Complete(length)) if length == bytes.len() => {}
            Ok(_) => return Err(bad("the head ends early")),
            Err(error) => return Err(refusal(error, bytes)),
        }
        let (Some(method), Some(target), Some(version)) =
            (request.method, request.path, request.version)
        else {
            return Err(bad("the request line is incomplete"));
        };
        let headers = &*request.headers;
        let is_1_0 = version == 0;
        let target = Target::read(method, target).map_err(bad)?;
        check_host(headers, is_1_0)?;
        Ok(Head {
            method,
            target,
            is_1_0,
            headers,
            body: body_length(headers, is_1_0)?,
            keeps_alive: keeps_alive(headers, is_1_0),
            expects_continue: expects_continue(headers, is_1_0)?,
        })
    }
}

fn refusal(error: httparse::Error, bytes: &[u8]) -> Refusal {
    match error {
        httparse::Error::TooManyHeaders => Refusal {
            status: 431,
            why: "too many header lines",
        },
        httparse::Error::Version if names_another_version(bytes) => Refusal {
            status: 505,
            why: "this server speaks HTTP/1.1 and HTTP/1.0",
        },
        httparse::Error::HeaderName => {
            bad("a header's name is no token, or not followed by a colon")
        }
        httparse::Error::HeaderValue => bad("a header's value has control characters"),
        _ => bad("the request line is not METHOD target HTTP/1.1"),
    }
}

/// Whether the request line is one of HTTP, but of another version.
fn names_another_version(bytes: &[u8]) -> bool {
    let line = bytes
        .split(|byte| *byte == b'\r')
        .next()
        .unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let version = words.nth(2).filter(|_| words.next().is_none());
    match version.and_then(|word| word.strip_prefix(b"HTTP/")) {
        Some([major, b'.', minor]) => major.is_ascii_digit() && minor.is_ascii_digit(),
        _ => false,
    }
}

/// No control character but a tab, and no CR or LF but together.
fn check_controls(bytes: &[u8]) -> Result<(), Refusal> {
    let mut before = 0;
    for byte in bytes {
        let fits = match *byte {
            b'\n' => before == b'\r',
            _ if before == b'\r' => false,
            b'\t' | b'\r' => true,
            other => !other.is_ascii_control(),
        };
        if !fits {
            return Err(bad("the head has control characters"));
        }
        before = *byte;
    }
    Ok(())
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
        return match is_1_0 {
            true => Ok(()),
            false => Err(bad("a request of HTTP/1.1 has a Host")),
        };
    };
    if hosts.next().is_some() {
        return Err(bad("a request has one Host"));
    }
    match host.iter().all(|byte| is_of_host(*byte)) {
        true => Ok(()),
        false => Err(bad("the Host is not a host and a port")),
    }
}

fn body_length(headers: &[Header<'_>], is_1_0: bool) -> Result<BodyLength, Refusal> {
    let mut lengths = values(headers, "content-length");
    let mut encodings = values(headers, "transfer-encoding");
    let (length, encoding) = (lengths.next(), encodings.next());
    if length.is_some() && encoding.is_some() {
        return Err(bad(
            "a body has a Content-Length or a Transfer-Encoding, not both",
        ));
    }
    if lengths.next().is_some() || encodings.next().is_some() {
        return Err(bad("a body has one length"));
    }
    if let Some(encoding) = encoding {
        if is_1_0 {
            return Err(bad("HTTP/1.0 has no Transfer-Encoding"));
        }
        return match encoding.eq_ignore_ascii_case(b"chunked") {
            true => Ok(BodyLength::Chunked),
            false => Err(bad("the only Transfer-Encoding is chunked")),
        };
    }
    let Some(length) = length else {
        return Ok(BodyLength::Bytes(0));
    };
    if length.is_empty() || !length.iter().all(u8::is_ascii_digit) {
        return Err(bad("the Content-Length is not a number"));
    }
    // A number that is too long to be read is too long for a body as well.
    let length = std::str::from_utf8(length).ok();
    let length = length.and_then(|length| length.parse().ok());
    Ok(BodyLength::Bytes(length.unwrap_or(u64::MAX)))
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
            return Err(Refusal {
                status: 417,
                why: "the only thing to expect is 100-continue",
            });
        }
        expects = !is_1_0;
    }
    Ok(expects)
}
