//! Totals of the loop's work.

use std::time::Duration;

/// Totals since the reactor was created. They only grow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Counters {
    /// Turns of the loop.
    pub turns: u64,
    /// Connections accepted and passed to the handler.
    pub accepted: u64,
    /// Connections refused beyond `Limits::max_connections`.
    pub refused: u64,
    /// Connections closed at once because the process was out of fds.
    pub shed: u64,
    /// Failures to accept for lack of fds or memory.
    pub accept_failures: u64,
    /// Outgoing connections that were established.
    pub connected: u64,
    /// Connections for which `on_close` was called.
    pub closed: u64,
    /// Connections that broke a limit of [`Limits`](super::Limits), of size or of time.
    pub limits_broken: u64,
    /// Frames passed to the handler.
    pub frames_read: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// System calls that wrote at least one byte.
    pub writes: u64,
    /// Time spent in completed turns, without waiting for events.
    pub turn_time: Duration,
    /// Time spent writing.
    pub flush_time: Duration,
    /// Events, and calls by the handler, for connections that no longer exist.
    pub stale: u64,
    /// Times that the process was stopped or starved. After each, all input is read before any
    /// timer expires.
    pub stalls: u64,
}
