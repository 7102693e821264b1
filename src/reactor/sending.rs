//! Sending: frames are put into the queue of a connection.

use std::io::{self, Write};

use super::connection::{Close, CloseReason};
use super::framing::Framing;
use super::ids::ConnId;
use super::net::{Net, live};
use super::write_queue::{SharedFrame, end_frame, escape_frame};

impl Net {
    /// Queues the frame that `write` writes. It is written at the end of the turn.
    ///
    /// Returns `false` and sends nothing if the connection is closed or closing, or if `write`
    /// fails. Writing to the queue itself does not fail, so an error is always one of encoding.
    ///
    /// ```
    /// # use std::io::Write;
    /// # use pilcrow::reactor::{ConnId, Net};
    /// # fn answer(net: &mut Net, conn: ConnId) {
    /// net.send_with(conn, |out| write!(out, "{}", 6 * 7));
    /// # }
    /// ```
    pub fn send_with<E>(
        &mut self,
        conn: ConnId,
        write: impl FnOnce(&mut FrameWriter<'_>) -> Result<(), E>,
    ) -> bool {
        let Some(mut frame) = self.send(conn) else {
            return false;
        };
        let written = write(&mut frame).is_ok();
        if written {
            frame.finish();
        }
        written
    }

    /// Returns a writer of one frame, or `None` if the connection is closed or closing.
    ///
    /// [`FrameWriter::finish`] queues the frame; it is written at the end of the turn. For a frame
    /// that is encoded in one place, use [`Net::send_with`].
    pub fn send(&mut self, conn: ConnId) -> Option<FrameWriter<'_>> {
        let Some(connection) = live(&mut self.connections, conn) else {
            self.counters.stale += 1;
            return None;
        };
        if !connection.accepts_output() {
            return None;
        }
        let bytes = connection.output.take_last(&mut self.output_pool);
        let start = bytes.len();
        Some(FrameWriter {
            net: self,
            conn,
            bytes,
            start,
        })
    }

    /// Queues a frame that several connections share. Returns `false` if this one is closed or
    /// closing.
    ///
    /// The frame does not count towards
    /// [`Limits::max_unsent_bytes`](super::Limits::max_unsent_bytes). Do not send one to a
    /// connection that has not written the last one ([`Net::is_backlogged`]).
    pub fn send_shared(&mut self, conn: ConnId, frame: &SharedFrame) -> bool {
        let Some(connection) = self.named(conn) else {
            return false;
        };
        if !connection.accepts_output() {
            return false;
        }
        connection.output.push_shared(frame, 0);
        self.make_dirty(conn);
        true
    }
}

/// Writes one frame into the queue of a connection. Writing never fails.
///
/// [`finish`](FrameWriter::finish) queues the frame; dropping the writer discards it.
#[derive(Debug)]
pub struct FrameWriter<'net> {
    net: &'net mut Net,
    conn: ConnId,
    bytes: Vec<u8>,
    start: usize,
}

impl FrameWriter<'_> {
    /// Ends the frame with the bytes of `shared` from `from` on, without copying them.
    ///
    /// They do not count towards [`Limits::max_unsent_bytes`](super::Limits::max_unsent_bytes).
    pub fn finish_with(self, shared: &SharedFrame, from: usize) {
        self.queue(escape_frame, Some((shared, from)));
    }

    /// Ends the frame and queues it. An empty frame is not sent.
    ///
    /// A raw `¶` inside the frame is rewritten as `\u00b6`. On a connection with raw framing the
    /// bytes are queued as they are. If the queue now exceeds
    /// [`Limits::max_unsent_bytes`](super::Limits::max_unsent_bytes), the connection is closed.
    pub fn finish(self) {
        self.queue(end_frame, None);
    }

    fn queue(
        mut self,
        end: impl FnOnce(&mut Vec<u8>, usize),
        shared: Option<(&SharedFrame, usize)>,
    ) {
        let mut bytes = std::mem::take(&mut self.bytes);
        let net = &mut *self.net;
        let Some(connection) = live(&mut net.connections, self.conn) else {
            return;
        };
        if connection.framing == Framing::Pilcrow {
            end(&mut bytes, self.start);
        }
        let added = bytes.len() - self.start;
        let output = &mut connection.output;
        output.commit(bytes, added, &mut net.output_pool);
        if let Some((frame, from)) = shared {
            output.push_shared(frame, from);
        }
        if output.unsent_owned_bytes > net.limits.max_unsent_bytes {
            net.counters.limits_broken += 1;
            net.begin_close(self.conn, CloseReason::TooMuchUnsent, Close::Now);
        } else {
            net.make_dirty(self.conn);
        }
    }
}

impl Drop for FrameWriter<'_> {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.truncate(self.start);
        if let Some(connection) = live(&mut self.net.connections, self.conn)
            && bytes.capacity() > 0
        {
            connection
                .output
                .commit(bytes, 0, &mut self.net.output_pool);
        }
    }
}

impl Write for FrameWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
