//! Limits per client, and for all clients together.

use std::time::Duration;

/// More headers than this are refused.
pub(crate) const MAX_HEADERS: usize = 100;

/// Limits of a [`Server`](super::Server).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Size of the request line and the headers; beyond it requests are refused with 431, as they are
    /// with more than 100 headers.
    pub max_head_bytes: usize,
    /// Size of a body; beyond it requests are refused with 413.
    pub max_body_bytes: usize,
    /// Time from the first byte of a request to its last; then it is refused with 408.
    pub request_timeout: Duration,
    /// Time that a connection may be without a request.
    pub keep_alive: Duration,
    /// Time that the [`App`](super::App) may take for a response, after which it is a 503, and that the
    /// client may take to read it. An app that waits for others sets shorter deadlines itself.
    pub response_timeout: Duration,
    /// Connections at a time; further ones are answered with 503, or closed if there are very many.
    pub max_connections: usize,
    /// Bytes of all incomplete requests together; further ones are refused with 503.
    pub max_held_bytes: usize,
    /// Bytes of all long responses that are not read; further ones are replaced by a 503.
    pub max_unread_bytes: usize,
    /// Bytes that the client of an event stream may leave unread; with more it is disconnected.
    pub max_stream_backlog_bytes: usize,
    /// Time between two heartbeats of an event stream, by which each side detects a dead connection.
    pub stream_heartbeat: Duration,
}

/// How often each limit was hit.
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
    /// Clients that read nothing for too long, or far too slowly: limits of the loop and of the kernel.
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
    /// Size of a body in chunks on the wire. Chunks of a few bytes are many times their contents.
    pub(super) fn max_chunked_bytes(&self) -> usize {
        self.max_body_bytes.saturating_mul(2) + self.max_head_bytes
    }

    /// Size of the longest request on the wire.
    pub(crate) fn max_request_bytes(&self) -> usize {
        self.max_chunked_bytes() + self.max_head_bytes
    }
}
