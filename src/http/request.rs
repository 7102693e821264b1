//! A request.

use std::borrow::Cow;

use super::head::Head;

/// A whole request, borrowed from the bytes of its connection.
#[derive(Debug)]
pub struct Request<'b> {
    pub(super) head: Head<'b>,
    pub(super) body: Cow<'b, [u8]>,
}

impl Request<'_> {
    /// Returns the method as sent: `GET` and `get` differ.
    pub fn method(&self) -> &str {
        self.head.method
    }

    /// Returns the path as sent: percent-encoded, and without the query.
    ///
    /// It begins with `/`, and has neither `.` nor `..` segments, however encoded. For a target
    /// that is a URL it is the path of the URL. It is `*` only with the method `OPTIONS`. Compare
    /// it without decoding it: a `%2F` in it is not a separator.
    pub fn path(&self) -> &str {
        self.head.target.path
    }

    /// Returns the query as sent, without its `?`.
    pub fn query(&self) -> Option<&str> {
        self.head.target.query
    }

    /// Returns the names and values of the query, decoded, in order.
    pub fn query_pairs(&self) -> form_urlencoded::Parse<'_> {
        form_urlencoded::parse(self.query().unwrap_or_default().as_bytes())
    }

    /// Returns the names and values of a urlencoded body, decoded, in order.
    pub fn body_pairs(&self) -> form_urlencoded::Parse<'_> {
        form_urlencoded::parse(&self.body)
    }

    /// Returns the requested host and port: those of a target that is a URL, otherwise the `Host`.
    pub fn host(&self) -> Option<&str> {
        self.head.target.authority.or_else(|| self.header("host"))
    }

    /// Returns the first header with this name, in any case, if it is UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers()
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .and_then(|(_, value)| std::str::from_utf8(value).ok())
    }

    /// Returns all headers in order.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let headers = self.head.headers.iter();
        headers.map(|header| (header.name, header.value.trim_ascii()))
    }

    /// Returns the body, which may be empty.
    pub fn body(&self) -> &[u8] {
        &self.body
    }
}
