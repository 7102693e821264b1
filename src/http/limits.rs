//! Limits per client, and for all clients together.

use std::time::Duration;

/// Maximum number of headers of a request.
pub(crate) const MAX_HEADERS: usize = 100;

/// Limits of a [`Server`](super::Server).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Maximum size of the request line and the headers. Beyond it, and with more than 100 headers,
    /// requests are refused with 431.
    pub max_head_bytes: usize,
    /// Maximum size of a body. Beyond it requests are refused with 413.
    pub max_body_bytes: usize,
    /// Maximum time from the first byte of a request to its last. Then it is refused with 408.
    pub request_timeout: Duration,
    /// Maximum time without a request. Then the connection is closed.
    pub keep_alive: Duration,
    /// Maximum time for the app to respond, and for the client to read the response. If the
    /// [`App`](super::App) does not respond in time, a 503 is sent. An app that waits for others
    /// sets shorter deadlines itself.
    pub response_timeout: Duration,
    /// Maximum number of connections. Further ones receive a 503, or are closed if there are very
    /// many.
    pub max_connections: usize,
    /// Maximum size of all incomplete requests together. Beyond it requests are refused with 503.
    pub max_held_bytes: usize,
    /// Maximum size of all long responses that are unread. Further ones are replaced by a 503.
    pub max_unread_bytes: usize,
    /// Maximum number of unread bytes of an event stream. Beyond it the client is disconnected.
    pub max_stream_backlog_bytes: usize,
    /// Interval of the heartbeats of an event stream, by which each side detects a dead connection.
    pub stream_heartbeat: Duration,
}

/// Counts of the times that each limit was hit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LimitHits {
    /// [`Limits::max_connections`].
    pub connections: u64,
    /// [`Limits::max_head_bytes`], or too many headers.
    pub head_bytes: u64,
    /// [`Limits::max_body_bytes`].
    pub body_bytes: u64,
    /// [`Limits::request_timeout`].
    pub request_timeout: u64,
    /// [`Limits::response_timeout`].
    pub response_timeout: u64,
    /// [`Limits::max_held_bytes`].
    pub held_bytes: u64,
    /// [`Limits::max_unread_bytes`].
    pub unread_bytes: u64,
    /// [`Limits::max_stream_backlog_bytes`].
    pub stream_backlog_bytes: u64,
    /// Clients that did not read, or read too slowly: limits of the reactor and of the kernel.
    pub write_timeout: u64,
}

impl LimitHits {
    /// Returns all counts, with the names that metrics have for them.
    pub(crate) fn named(&self) -> [(&'static str, u64); 9] {
        [
            ("http_connections", self.connections),
            ("http_head_bytes", self.head_bytes),
            ("http_body_bytes", self.body_bytes),
            ("http_request_timeout", self.request_timeout),
            ("http_response_timeout", self.response_timeout),
            ("http_held_bytes", self.held_bytes),
            ("http_unread_bytes", self.unread_bytes),
            ("http_stream_backlog_bytes", self.stream_backlog_bytes),
            ("http_write_timeout", self.write_timeout),
        ]
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_head_bytes: 16 << 10,
            max_body_bytes: 1 << 20,
            request_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(60),
            response_timeout: Duration::from_secs(60),
            max_connections: 1024,
            max_held_bytes: 64 << 20,
            max_unread_bytes: 64 << 20,
            max_stream_backlog_bytes: 256 << 10,
            stream_heartbeat: Duration::from_secs(15),
        }
    }
}

impl Limits {
    /// Returns the maximum size of a body in chunks on the wire.
    ///
    /// Chunks of a few bytes take several times the size of their contents.
    pub(super) fn max_chunked_bytes(&self) -> usize {
        self.max_body_bytes.saturating_mul(2) + self.max_head_bytes
    }

    /// Returns the maximum size of a request on the wire.
    pub(crate) fn max_request_bytes(&self) -> usize {
        self.max_chunked_bytes() + self.max_head_bytes
    }
}
