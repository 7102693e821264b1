//! Responses and events, and their form on the wire. Pure.

use std::io::{self, Write};

use super::head::RequestTraits;
use super::syntax::is_header;

/// A response, complete with its body.
///
/// `Content-Length`, `Date` and `Connection` are added: do not list them. Headers with an invalid
/// name or value are left out.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    /// The status code, such as 404.
    pub status: u16,
    /// Names and values of headers.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body. The response to a `HEAD` request has only its length.
    pub body: &'a [u8],
}

impl<'a> Response<'a> {
    /// Returns a response in plain text.
    pub fn text(status: u16, text: &'a str) -> Response<'a> {
        Response {
            status,
            headers: &[("Content-Type", "text/plain; charset=utf-8")],
            body: text.as_bytes(),
        }
    }
}

/// Writes a head, with the empty line at its end.
///
/// Without a `length` the body is in chunks, or ends with the connection in HTTP/1.0.
///
/// Returns the errors of `out`.
pub(super) fn write_head(
    out: &mut impl Write,
    status: u16,
    headers: &[(&str, &str)],
    date: &str,
    length: Option<usize>,
    traits: RequestTraits,
) -> io::Result<()> {
    write!(out, "HTTP/1.1 {status} {}\r\n", reason(status))?;
    for (name, value) in headers {
        if is_header(name.as_bytes(), value.as_bytes()) {
            out.write_all(name.as_bytes())?;
            out.write_all(b": ")?;
            out.write_all(value.as_bytes())?;
            out.write_all(b"\r\n")?;
        }
    }
    match length {
        // These two statuses have neither a body nor a length.
        _ if status == 204 || status == 304 => {}
        Some(length) => write!(out, "Content-Length: {length}\r\n")?,
        None if traits.is_1_0 => {}
        None => out.write_all(b"Transfer-Encoding: chunked\r\n")?,
    }
    write!(out, "Date: {date}\r\n")?;
    out.write_all(match (traits.keeps_alive, traits.is_1_0) {
        (true, true) => b"Connection: keep-alive\r\n\r\n",
        (true, false) => b"\r\n",
        (false, _) => b"Connection: close\r\n\r\n",
    })
}

/// Returns the reason phrase of a status.
pub(super) fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        411 => "Length Required",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

/// One event of an event stream.
#[derive(Clone, Copy, Debug, Default)]
pub struct Event<'a> {
    /// Type of the event; empty for `message`.
    pub name: &'a str,
    /// The `Last-Event-ID` that the client sends when it reconnects; empty for none.
    pub id: &'a str,
    /// Data of the event. The client receives its lines joined by line feeds.
    pub data: &'a str,
}

impl Event<'_> {
    /// Appends the event in the format of `text/event-stream`.
    pub fn write(&self, out: &mut Vec<u8>) {
        for (field, value) in [("event", self.name), ("id", self.id)] {
            // A line end would split it into several fields.
            if !value.is_empty() && !value.contains(['\r', '\n', '\0']) {
                push_field(out, field, value);
            }
        }
        let text = self.data.replace("\r\n", "\n");
        for line in text.split(['\r', '\n']) {
            push_field(out, "data", line);
        }
        out.push(b'\n');
    }
}

fn push_field(out: &mut Vec<u8>, field: &str, value: &str) {
    for part in [field, ": ", value, "\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_out_invalid_headers() {
        let mut out = Vec::new();
        let headers = [
            ("Content-Type", "text/plain"),
            ("X-A", "b\r\nX-B: c"),
            ("X A", "b"),
            ("", "b"),
        ];
        let traits = RequestTraits::default();
        write_head(&mut out, 404, &headers, "now", Some(3), traits).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\
             Date: now\r\nConnection: close\r\n\r\n"
        );
    }

    #[test]
    fn writes_one_event_whatever_it_contains() {
        let mut out = Vec::new();
        let event = Event {
            name: "joined",
            id: "7\nid: 8",
            data: "a\r\nb\rc\n\nevent: x",
        };
        event.write(&mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "event: joined\ndata: a\ndata: b\ndata: c\ndata: \ndata: event: x\n\n"
        );
    }
}
