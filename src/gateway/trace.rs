//! The trace context of an HTTP request.

use std::borrow::Cow;

use crate::http::Request;
use crate::protocol::TraceContext;

/// Returns the trace context in the headers of a request. `None` if there is no valid `traceparent`
/// or more than one. Several `tracestate` headers are one list.
pub(super) fn trace_of<'r>(request: &'r Request<'_>) -> Option<TraceContext<'r>> {
    let mut parents = values(request, "traceparent");
    let (parent, None) = (parents.next()?, parents.next()) else {
        return None;
    };
    let trace = TraceContext::parse(std::str::from_utf8(parent).ok()?)?;
    let mut states = values(request, "tracestate").map(String::from_utf8_lossy);
    let Some(first) = states.next() else {
        return Some(trace);
    };
    let all = states.fold(first, |all, next| Cow::Owned(format!("{all},{next}")));
    Some(trace.with_state(all))
}

fn values<'r>(request: &'r Request<'_>, name: &str) -> impl Iterator<Item = &'r [u8]> {
    let headers = request.headers();
    let named = headers.filter(move |(other, _)| other.eq_ignore_ascii_case(name));
    named.map(|(_, value)| value)
}
