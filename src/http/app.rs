//! The interface of an application.

use std::net::SocketAddr;

use super::connection::{EventStream, ResponseTo};
use super::request::Request;
use super::responder::Http;
use super::response::reason;

/// Handles the requests of a [`Server`](super::Server).
#[expect(unused_variables, reason = "most defaults do nothing")]
pub trait App {
    /// Handles a whole request.
    ///
    /// Call [`Http::respond`] or [`Http::stream_events`], now or later: `to` can be kept. A request
    /// without a response is answered with 503 after
    /// [`Limits::response_timeout`](super::Limits::response_timeout).
    fn on_request(&mut self, http: &mut Http<'_>, request: &Request<'_>, to: ResponseTo);

    /// Returns the content type and the body of the response to an invalid request.
    ///
    /// Plain text by default.
    fn refusal(&self, status: u16, why: &str) -> (&'static str, String) {
        let text = format!("{status} {}: {why}\n", reason(status));
        ("text/plain; charset=utf-8", text)
    }

    /// Handles the refusal of an invalid request, for example by logging it.
    ///
    /// The response was queued, and the connection is being closed.
    fn on_refused(
        &mut self,
        http: &mut Http<'_>,
        peer: Option<SocketAddr>,
        status: u16,
        why: &str,
    ) {
    }

    /// Handles the end of a request that has no response yet.
    ///
    /// Its client is gone, or the time for the response is over: responding has no effect any more.
    fn on_unwanted(&mut self, http: &mut Http<'_>, to: ResponseTo) {}

    /// Handles the end of a stream: its client is gone, or was disconnected because it did not
    /// read.
    fn on_stream_closed(&mut self, http: &mut Http<'_>, stream: EventStream) {}
}
