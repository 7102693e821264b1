//! Long responses, written piece by piece.

use std::io::Write;

use super::connection::Phase;
use super::responder::{FEED_BYTES, Http};
use super::response::{After, Length, write_head};
use crate::reactor::ConnId;

/// The tag of the timer that is for no single connection.
pub(super) const FEED_TAG: u64 = u64::MAX;

impl Http<'_> {
    /// Queues a head and the first piece of a body, and keeps the rest.
    pub(super) fn write(
        &mut self,
        conn: ConnId,
        status: u16,
        headers: &[(&str, &str)],
        length: Length,
        after: After,
        body: &[u8],
    ) {
        let now = self.net.unix_time();
        let date = self.server.date(now);
        let (first, rest) = body.split_at_checked(FEED_BYTES).unwrap_or((body, &[]));
        let is_sent = self.net.send_with(conn, |out| {
            write_head(out, status, headers, date, length, after)?;
            out.write_all(first)
        });
        if is_sent && let Some(connection) = self.server.connections.get_mut(conn) {
            connection.rest.extend_from_slice(rest);
            self.server.rest_bytes += rest.len();
        }
    }

    /// Continues with a connection whose response is queued, or the first piece of it.
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

    /// Schedules a look at a connection after the flush: `on_drained` is not called for a queue that
    /// is written at once.
    fn feed_soon(&mut self, conn: ConnId) {
        self.server.feeding.push(conn);
        if !self.server.is_feed_due {
            self.server.is_feed_due = true;
            self.arm(self.net.now(), FEED_TAG);
        }
    }

    /// Queues the next piece for each connection whose queue is empty.
    pub(super) fn feed_all(&mut self) {
        self.server.is_feed_due = false;
        for conn in std::mem::take(&mut self.server.feeding) {
            if self.net.pending_bytes(conn) == 0 {
                self.feed(conn);
            } else if !self.net.is_backlogged(conn) {
                // Nothing was written since it was queued.
                self.feed_soon(conn);
            }
            // For the others `on_drained` is called.
        }
    }

    /// Queues the next piece of a response. To be called when all that was queued is written.
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

    /// Reads the next request: no part of the response is left.
    fn written(&mut self, conn: ConnId) {
        let Some(connection) = self.server.connections.get_mut(conn) else {
            return;
        };
        self.server.rest_bytes -= connection.rest.len();
        (connection.rest, connection.rest_from) = (Vec::new(), 0);
        if !connection.traits.keeps_alive || self.server.is_stopping {
            return self.close(conn);
        }
        connection.phase = Phase::Reading;
        self.net.resume(conn);
        let deadline = self.net.now() + self.server.limits.keep_alive;
        self.set_deadline(conn, deadline);
    }
}
