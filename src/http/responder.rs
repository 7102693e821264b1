//! Responses and streams of events, as an app sends them.

use std::io::Write;
use std::net::SocketAddr;

use super::connection::{Connection, EventStream, Phase, ResponseTo};
use super::response::{Event, Response};
use super::server::Server;
use crate::reactor::{Close, ConnId, Net};
use crate::time::Time;

/// Sends responses. An [`App`](super::App) receives it in each callback; otherwise see
/// [`Server::http`].
#[derive(Debug)]
pub struct Http<'a> {
    pub(super) server: &'a mut Server,
    pub(super) net: &'a mut Net,
}

/// Maximum number of bytes of a response that are queued at a time. The next request is read when
/// fewer are queued. With the buffers of the kernel, this is the cost of a client that does not
/// read.
pub(super) const FEED_BYTES: usize = 64 << 10;
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

impl Server {
    /// Returns the means to respond, between callbacks, to requests that were stored.
    pub fn http<'a>(&'a mut self, net: &'a mut Net) -> Http<'a> {
        Http { server: self, net }
    }
}

impl Http<'_> {
    /// Returns the [`Net`] of the reactor: timers, the time, and your own connections.
    pub fn net(&mut self) -> &mut Net {
        self.net
    }

    /// Returns the address of the client of this response, or `None` if it is gone.
    pub fn peer_addr(&self, to: &ResponseTo) -> Option<SocketAddr> {
        self.net.peer_addr(to.conn)
    }

    /// Returns whether a body of this length is within [`Limits::max_unread_bytes`]. Otherwise
    /// [`Http::respond`] sends a 503 in plain text in its place.
    ///
    /// [`Limits::max_unread_bytes`]: super::Limits::max_unread_bytes
    pub fn has_room_for(&self, body_bytes: usize) -> bool {
        let unread = self.server.rest_bytes + body_bytes;
        body_bytes <= FEED_BYTES || unread <= self.server.limits.max_unread_bytes
    }

    /// Returns the connection of this response while it is awaited.
    fn awaiting(&mut self, to: &ResponseTo) -> Option<&mut Connection> {
        let number = to.number;
        let connection = self.server.connections.get_mut(to.conn);
        connection.filter(|connection| connection.phase == Phase::Answering { number })
    }

    /// Responds to a request. Has no effect if its client is gone.
    pub fn respond(&mut self, to: ResponseTo, response: &Response<'_>) {
        let is_stopping = self.server.is_stopping;
        let has_room = self.has_room_for(response.body.len());
        let Some(connection) = self.awaiting(&to) else {
            return;
        };
        connection.traits.keeps_alive &= !is_stopping;
        let is_head = connection.traits.is_head;
        let mut response = *response;
        if !has_room {
            self.server.limit_hits.unread_bytes += 1;
            let why = "too many bytes of other responses are unread: try again later\n";
            response = Response::text(503, why);
        }
        let Response {
            status,
            headers,
            body,
        } = response;
        let sent = if is_head || status == 204 || status == 304 {
            &[]
        } else {
            body
        };
        self.write(to.conn, status, headers, Some(body.len()), sent);
        self.answered(to.conn);
    }

    /// Begins a stream of events as the response to a request, with additional headers.
    ///
    /// Returns `None` if the client is gone or requested only the head, or if the server is
    /// stopping.
    pub fn stream_events(
        &mut self,
        to: ResponseTo,
        headers: &[(&str, &str)],
    ) -> Option<EventStream> {
        let connection = self.awaiting(&to)?;
        connection.traits.keeps_alive = false;
        let (is_head, is_chunked) = (connection.traits.is_head, !connection.traits.is_1_0);
        let mut all = vec![
            ("Content-Type", "text/event-stream"),
            ("Cache-Control", "no-store"),
        ];
        all.extend_from_slice(headers);
        let ResponseTo { conn, number } = to;
        self.write(conn, 200, &all, None, &[]);
        if is_head || self.server.is_stopping {
            if is_chunked && !is_head {
                self.send_bytes(conn, LAST_CHUNK);
            }
            self.end(conn);
            return None;
        }
        self.server.connections.get_mut(conn)?.phase = Phase::Streaming { number };
        // Reading from it shows when the client closes it.
        self.net.resume(conn);
        let deadline = self.net.now() + self.server.limits.stream_heartbeat;
        self.set_deadline(conn, deadline);
        Some(EventStream { conn, number })
    }

    /// Sends an event. Returns `false` if the stream has ended, or ends now because its client does
    /// not read.
    pub fn send_event(&mut self, stream: EventStream, event: &Event<'_>) -> bool {
        let mut text = Vec::new();
        event.write(&mut text);
        self.send_written_events(stream, &text)
    }

    /// Sends events that were written by [`Event::write`], all at once. Returns `false` as
    /// [`Http::send_event`] does.
    pub fn send_written_events(&mut self, stream: EventStream, text: &[u8]) -> bool {
        let Some(connection) = self.streaming(stream) else {
            return false;
        };
        let is_chunked = !connection.traits.is_1_0;
        let unread = self.net.pending_bytes(stream.conn) + text.len();
        if unread > self.server.limits.max_stream_backlog_bytes {
            self.server.limit_hits.stream_backlog_bytes += 1;
            self.net.close(stream.conn, Close::Now);
            return false;
        }
        self.net.send_with(stream.conn, |out| {
            if !is_chunked {
                return out.write_all(text);
            }
            write!(out, "{:x}\r\n", text.len())?;
            out.write_all(text)?;
            out.write_all(b"\r\n")
        })
    }

    /// Returns the number of unread bytes of a stream, 0 if it has ended.
    pub fn unread_bytes(&self, stream: EventStream) -> usize {
        let conn = self.streaming(stream).map(|_| stream.conn);
        conn.map_or(0, |conn| self.net.pending_bytes(conn))
    }

    /// Returns the connection of a stream until it ends.
    fn streaming(&self, stream: EventStream) -> Option<&Connection> {
        let number = stream.number;
        let connection = self.server.connections.get(stream.conn);
        connection.filter(|connection| connection.phase == Phase::Streaming { number })
    }

    /// Ends the stream or the response of a connection, and closes it once that is written.
    pub(super) fn end(&mut self, conn: ConnId) {
        let Some(connection) = self.server.connections.get_mut(conn) else {
            return;
        };
        let is_chunked = !connection.traits.is_1_0;
        if !matches!(connection.phase, Phase::Streaming { .. }) {
            connection.phase = Phase::Closing;
        } else if is_chunked {
            self.send_bytes(conn, LAST_CHUNK);
        }
        self.net.close(conn, Close::AfterFlush);
    }

    pub(super) fn send_bytes(&mut self, conn: ConnId, bytes: &[u8]) {
        self.net.send_with(conn, |out| out.write_all(bytes));
    }

    /// Sets the end of the time that a connection may stay in its phase.
    pub(super) fn set_deadline(&mut self, conn: ConnId, deadline: Time) {
        let Some(connection) = self.server.connections.get_mut(conn) else {
            return;
        };
        connection.deadline = deadline;
        if let Some((timer, fires_at)) = connection.timer {
            if fires_at <= deadline {
                return;
            }
            self.net.disarm(timer);
        }
        let owner = self.server.owner.unwrap_or_default();
        let timer = self.net.arm(owner, deadline, conn.slot() as u64);
        connection.timer = Some((timer, deadline));
    }
}
