//! A request, as it is handed out.

use std::borrow::Cow;

use super::head::Head;

/// A request that came whole, borrowed from the bytes of its connection.
#[derive(Debug)]
pub struct Request<'b> {
    head: Head<'b>,
    body: Cow<'b, [u8]>,
}

impl<'b> Request<'b> {
    pub(super) fn new(head: Head<'b>, body: Cow<'b, [u8]>) -> Request<'b> {
        Request { head, body }
    }

    /// The method, as it came: `GET` and `get` are two.
    pub fn method(&self) -> &str {
        self.head.method
    }

    /// The path, as it came: begins with `/`, percent-encoded, without a query. It has no `.` and no
    /// `..` segments, however encoded; of a target that is a whole URL it is the URL's path. `*` only
    /// with the method `OPTIONS`.
    ///
    /// Compare it as it is. A `%2F` in it is no separator.
    pub fn path(&self) -> &str {
        self.head.target.path
    }

    /// What stands behind the `?`, as it came.
    pub fn query(&self) -> Option<&str> {
        self.head.target.query
    }

    /// The names and values of the query, decoded, in their order.
    pub fn query_pairs(&self) -> form_urlencoded::Parse<'_> {
        pairs(self.query().unwrap_or_default().as_bytes())
    }

    /// The names and values of a body that is urlencoded, decoded, in their order.
    pub fn body_pairs(&self) -> form_urlencoded::Parse<'_> {
        pairs(&self.body)
    }

    /// Who is asked: the host and port of a target that is a whole URL, else the `Host`.
    pub fn host(&self) -> Option<&str> {
        self.head.target.authority.or_else(|| self.header("host"))
    }

    /// The first header with this name, in whatever case, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers()
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .and_then(|(_, value)| std::str::from_utf8(value).ok())
    }

    /// All headers, in their order.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let headers = self.head.headers.iter();
        headers.map(|header| (header.name, header.value.trim_ascii()))
    }

    /// The body; empty if there is none.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    pub(super) fn is_1_0(&self) -> bool {
        self.head.is_1_0
    }

    pub(super) fn keeps_alive(&self) -> bool {
        self.head.keeps_alive
    }
}

fn pairs(text: &[u8]) -> form_urlencoded::Parse<'_> {
    form_urlencoded::parse(text)
}
