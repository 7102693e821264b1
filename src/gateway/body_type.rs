//! The type of a request body.

use std::borrow::Cow;

use super::problem::Problem;
use super::responses::JSON;
use crate::http::Request;

/// The type of a body that params are read from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum BodyType {
    Json,
    /// Urlencoded pairs.
    Pairs,
}

const PAIRS: &str = "application/x-www-form-urlencoded";

impl BodyType {
    /// Returns the type of the body of a request. A body of another type is a problem for every
    /// method: it would be misread, or ignored.
    pub(super) fn of(request: &Request<'_>) -> Result<BodyType, Problem> {
        let content_type = header(request, "Content-Type");
        let body_type = parse(&content_type);
        if request.body().is_empty() {
            return Ok(body_type.unwrap_or(BodyType::Pairs));
        }
        let coding = header(request, "Content-Encoding");
        if !coding.is_empty() && !coding.eq_ignore_ascii_case("identity") {
            let coding = start_of(&coding);
            let why = format!("unsupported content coding {coding:?}: send the body without one");
            return Err(Problem::new(415, why).with("Accept-Encoding", "identity"));
        }
        body_type.ok_or_else(|| {
            let content_type = start_of(&content_type);
            let why = format!("unsupported content type {content_type:?}: use {JSON} or {PAIRS}");
            Problem::new(415, why).with("Accept", format!("{JSON}, {PAIRS}"))
        })
    }
}

/// Returns as much of a header as a message shows.
fn start_of(value: &str) -> String {
    value.chars().take(100).collect()
}

/// Returns the first header with this name; without one, an empty text.
fn header<'r>(request: &'r Request<'_>, name: &str) -> Cow<'r, str> {
    let mut headers = request.headers();
    let found = headers.find(|(other, _)| other.eq_ignore_ascii_case(name));
    found.map_or(Cow::Borrowed(""), |(_, value)| {
        String::from_utf8_lossy(value)
    })
}

/// Reads a content type. Like plain gateways, it takes bodies without one for urlencoded.
fn parse(content_type: &str) -> Option<BodyType> {
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    let is = |name: &str| media_type.eq_ignore_ascii_case(name);
    let suffix = media_type.rsplit_once('+').map(|(_, suffix)| suffix);
    if media_type.is_empty() || is(PAIRS) {
        Some(BodyType::Pairs)
    } else if is(JSON)
        || is("text/json")
        || suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case("json"))
    {
        Some(BodyType::Json)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_content_types_with_parameters() {
        for (content_type, body_type) in [
            ("", Some(BodyType::Pairs)),
            ("application/x-www-form-urlencoded", Some(BodyType::Pairs)),
            (
                "Application/X-WWW-Form-Urlencoded; charset=UTF-8",
                Some(BodyType::Pairs),
            ),
            ("application/json", Some(BodyType::Json)),
            ("Application/JSON ; charset=utf-8", Some(BodyType::Json)),
            ("application/merge-patch+json", Some(BodyType::Json)),
            ("text/json", Some(BodyType::Json)),
            ("text/plain", None),
            ("text/plain; a=application/json", None),
            ("application/jsonl", None),
            ("multipart/form-data; boundary=x", None),
            ("application/octet-stream", None),
            ("json", None),
        ] {
            assert_eq!(parse(content_type), body_type, "{content_type}");
        }
    }
}
