//! Long responses, written in pieces.

use std::io::Write;

use super::connection::Phase;
use super::responder::{FEED_BYTES, Http};
use super::response::write_head;
use crate::reactor::ConnId;

/// The tag of the timer of [`Http::feed_all`]. Any other tag is that of one connection.
pub(super) const FEED_TAG: u64 = u64::MAX;

impl Http<'_> {
    /// Queues a head and the first piece of a body, and keeps the rest.
    ///
    /// Without a `length` it is the head of a stream.
    pub(super) fn write(
        &mut self,
        conn: ConnId,
        status: u16,
        headers: &[(&str, &str)],
        length: Option<usize>,
        body: &[u8],
    ) {
        let now = self.net.unix_time();
        let Some(traits) = self.server.connections.get(conn).map(|it| it.traits) else {
            return;
        };
        let date = self.server.date(now);
        let (first, rest) = body.split_at_checked(FEED_BYTES).unwrap_or((body, &[]));
        let is_sent = self.net.send_with(conn, |out| {
            write_head(out, status, headers, date, length, traits)?;
            out.write_all(first)
        });
        if is_sent && let Some(connection) = self.server.connections.get_mut(conn) {
            connection.rest.extend_from_slice(rest);
            self.server.rest_bytes += rest.len();
        }
    }

    /// Completes the response of a connection, which is queued in whole or with its first piece.
    pub(super) fn answered(&mut self, conn: ConnId) {
        let Some(connection) = self.server.connections.get_mut(conn) else {
            return;
        };
        if connection.rest.is_empty() && self.net.pending_bytes(conn) < FEED_BYTES {
            return self.written(conn);
        }
        connection.phase = Phase::Writing;
        self.net.pause(conn);
        let deadline = self.net.now() + self.server.limits.response_timeout;
        self.set_deadline(conn, deadline);
        self.feed_soon(conn);
    }

    /// Schedules [`Http::feed_all`] after the flush: `on_drained` is not called for a queue that is
    /// written at once.
    fn feed_soon(&mut self, conn: ConnId) {
        if self.server.feeding.is_empty() {
            let owner = self.server.owner.unwrap_or_default();
            self.net.arm(owner, self.net.now(), FEED_TAG);
        }
        self.server.feeding.push(conn);
    }

    /// Queues the next piece for each connection with an empty queue.
    pub(super) fn feed_all(&mut self) {
        for conn in std::mem::take(&mut self.server.feeding) {
            if self.net.pending_bytes(conn) == 0 {
                self.feed(conn);
            } else if !self.net.is_backlogged(conn) {
                // No flush has written to it yet.
                self.feed_soon(conn);
            }
            // For the others `on_drained` is called.
        }
    }

    /// Queues the next piece of a response. Call it when the queue is empty.
    pub(super) fn feed(&mut self, conn: ConnId) {
        let Some(connection) = self.server.connections.get_mut(conn) else {
            return;
        };
        if connection.phase != Phase::Writing {
            return;
        }
        let rest = connection.rest.get(connection.rest_from..);
        let Some(next) = rest.and_then(|rest| rest.chunks(FEED_BYTES).next()) else {
            return self.written(conn);
        };
        self.net.send_with(conn, |out| out.write_all(next));
        connection.rest_from += next.len();
        self.feed_soon(conn);
    }

    /// Reads the next request after the whole response is written or queued.
    fn written(&mut self, conn: ConnId) {
        let Some(connection) = self.server.connections.get_mut(conn) else {
            return;
        };
        self.server.rest_bytes -= connection.rest.len();
        (connection.rest, connection.rest_from) = (Vec::new(), 0);
        if !connection.traits.keeps_alive || self.server.is_stopping {
            return self.end(conn);
        }
        connection.phase = Phase::Reading;
        self.net.resume(conn);
        let deadline = self.net.now() + self.server.limits.keep_alive;
        self.set_deadline(conn, deadline);
    }
}
