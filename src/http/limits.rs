//! A number on everything that the server does for one client, and for all of them.

use std::time::Duration;

/// More headers than this are refused.
pub(crate) const MAX_HEADERS: usize = 100;

/// What a [`Server`](super::Server) grants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The request line and the headers; more is refused with 431. So are more than 100 headers.
    pub max_head_bytes: usize,
    /// The body; more is refused with 413.
    pub max_body_bytes: usize,
    /// From the first byte of a request to its last one; then it is refused with 408.
    pub request_timeout: Duration,
    /// How long a connection may have no request.
    pub keep_alive: Duration,
    /// How long the [`App`](super::App) may take for a response, which is then a 503, and the client
    /// to read one. The program that waits for others sets shorter times itself.
    pub response_timeout: Duration,
    /// Connections at a time; one more is answered with 503, or closed if they are very many.
    pub max_connections: usize,
    /// What all requests that are not complete may take together; one more is refused with 503.
    pub max_held_bytes: usize,
    /// What all long responses that are not read may take together; one more is a 503.
    pub max_unread_bytes: usize,
    /// What may wait to be read by the client of a stream of events; one with more is cut.
    pub max_stream_backlog_bytes: usize,
    /// How often the client of a stream of events is sent something, so that both see the other alive.
    pub stream_heartbeat: Duration,
}

/// How often each limit was hit so far.
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
    /// The client took nothing of what it was sent for too long, or far too slowly: limits of the
    /// loop and of the kernel.
    pub write_timeout: u64,
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
    /// A body in chunks, as it comes. Chunks of a few bytes are many times what is in them.
    pub(super) fn max_chunked_bytes(&self) -> usize {
        self.max_body_bytes.saturating_mul(2) + self.max_head_bytes
    }

    /// The longest request, as it comes.
    pub(crate) fn max_request_bytes(&self) -> usize {
        self.max_chunked_bytes() + self.max_head_bytes
    }
}
