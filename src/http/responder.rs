//! Responses and streams of events, as an app sends them.

use std::io::Write;
use std::net::SocketAddr;

use super::connection::{EventStream, Phase, ResponseTo};
use super::response::{After, Event, Length, Response};
use super::server::Server;
use crate::reactor::{Close, ConnId, Net, TimerId};
use crate::time::Time;

/// How an app responds. Passed to it in each callback, and between callbacks by [`Server::http`].
#[derive(Debug)]
pub struct Http<'a> {
    pub(super) server: &'a mut Server,
    pub(super) net: &'a mut Net,
}

/// How much of a response is queued at a time, and how much may be queued before the next request is
/// read: with the buffers of the kernel, all that a client that does not read costs.
pub(super) const FEED_BYTES: usize = 64 << 10;

impl Server {
    /// Responds between callbacks, to requests from before.
    pub fn http<'a>(&'a mut self, net: &'a mut Net) -> Http<'a> {
        Http { server: self, net }
    }
}

impl Http<'_> {
    /// Returns the loop: timers, the time, connections of your own.
    pub fn net(&mut self) -> &mut Net {
        self.net
    }

    /// Returns the address of the client of this response, or `None` if it is gone.
    pub fn peer_addr(&self, to: &ResponseTo) -> Option<SocketAddr> {
        self.net.peer_addr(to.conn)
    }

    /// Returns whether there is room for a body of this length. Without room a 503 in plain text is
    /// sent in its place.
    pub fn has_room_for(&self, body_bytes: usize) -> bool {
        let unread = self.server.rest_bytes + body_bytes;
        body_bytes <= FEED_BYTES || unread <= self.server.limits.max_unread_bytes
    }

    /// Responds to a request. Has no effect if its client is gone.
    pub fn respond(&mut self, to: ResponseTo, response: &Response<'_>) {
        let is_stopping = self.server.is_stopping;
        let has_room = self.has_room_for(response.body.len());
        let Some(connection) = self.server.connections.get_mut(to.conn) else {
            return;
        };
        let number = to.number;
        if connection.phase != (Phase::Answering { number }) {
            return;
        }
        let mut response = *response;
        if !has_room {
            self.server.limit_hits.unread_bytes += 1;
            response = Response::text(503, "too many bytes of other responses are unread\n");
        }
        let traits = &mut connection.traits;
        traits.keeps_alive &= !is_stopping;
        let after = match (traits.keeps_alive, traits.is_1_0) {
            (false, _) => After::Closes,
            (true, true) => After::StaysSaid,
            (true, false) => After::Stays,
        };
        let Response {
            status,
            headers,
            body,
        } = response;
        let length = Length::Bytes(body.len());
        let is_head = traits.is_head || status == 204 || status == 304;
        let body = if is_head { &[] } else { body };
        self.write(to.conn, status, headers, length, after, body);
        self.answered(to.conn);
    }

    /// Begins a stream of events as the response to a request, with these headers as well. `None` if
    /// its client is gone, or asked for the head alone.
    pub fn stream_events(
        &mut self,
        to: ResponseTo,
        headers: &[(&str, &str)],
    ) -> Option<EventStream> {
        let connection = self.server.connections.get_mut(to.conn)?;
        let number = to.number;
        if connection.phase != (Phase::Answering { number }) {
            return None;
        }
        connection.traits.keeps_alive = false;
        let is_head = connection.traits.is_head;
        let length = if connection.traits.is_1_0 {
            Length::UntilClosed
        } else {
            Length::Chunked
        };
        let mut all = vec![
            ("Content-Type", "text/event-stream"),
            ("Cache-Control", "no-store"),
        ];
        all.extend_from_slice(headers);
        self.write(to.conn, 200, &all, length, After::Closes, &[]);
        if is_head || self.server.is_stopping {
            self.end(to.conn);
            return None;
        }
        if let Some(connection) = self.server.connections.get_mut(to.conn) {
            connection.phase = Phase::Streaming { number };
        }
        // It is read from now on to learn when its client ends it.
        self.net.resume(to.conn);
        let deadline = self.net.now() + self.server.limits.stream_heartbeat;
        self.set_deadline(to.conn, deadline);
        let conn = to.conn;
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
        if !self.is_streaming(stream) {
            return false;
        }
        let unread = self.net.pending_bytes(stream.conn) + text.len();
        if unread > self.server.limits.max_stream_backlog_bytes {
            self.server.limit_hits.stream_backlog_bytes += 1;
            self.net.close(stream.conn, Close::Now);
            return false;
        }
        let is_chunked = self.is_chunked(stream.conn);
        self.net.send_with(stream.conn, |out| {
            if !is_chunked {
                return out.write_all(text);
            }
            write!(out, "{:x}\r\n", text.len())?;
            out.write_all(text)?;
            out.write_all(b"\r\n")
        })
    }

    /// Returns the bytes that the client of a stream has not read yet.
    pub fn unread_bytes(&self, stream: EventStream) -> usize {
        if self.is_streaming(stream) {
            self.net.pending_bytes(stream.conn)
        } else {
            0
        }
    }

    fn is_streaming(&self, stream: EventStream) -> bool {
        let number = stream.number;
        let connection = self.server.connections.get(stream.conn);
        connection.is_some_and(|connection| connection.phase == Phase::Streaming { number })
    }

    /// Returns whether the stream of this connection goes out in chunks.
    fn is_chunked(&self, conn: ConnId) -> bool {
        let connection = self.server.connections.get(conn);
        connection.is_some_and(|connection| !connection.traits.is_1_0)
    }

    /// Closes a connection in good order, whatever its phase.
    pub(super) fn end(&mut self, conn: ConnId) {
        let is_chunked = self.is_chunked(conn);
        let Some(connection) = self.server.connections.get_mut(conn) else {
            return;
        };
        if !matches!(connection.phase, Phase::Streaming { .. }) {
            connection.phase = Phase::Closing;
        } else if is_chunked {
            self.send_bytes(conn, b"0\r\n\r\n");
        }
        self.net.close(conn, Close::AfterFlush);
    }

    /// Responds to bytes that are not a request, and closes their connection.
    pub(super) fn refuse(&mut self, conn: ConnId, status: u16, content_type: &str, body: &str) {
        let headers = [("Content-Type", content_type)];
        let length = Length::Bytes(body.len());
        let body = body.as_bytes();
        self.write(conn, status, &headers, length, After::Closes, body);
        self.close(conn);
    }

    /// Closes a connection after its last response.
    pub(super) fn close(&mut self, conn: ConnId) {
        if let Some(connection) = self.server.connections.get_mut(conn) {
            connection.phase = Phase::Closing;
        }
        self.net.close(conn, Close::AfterFlush);
    }

    pub(super) fn send_bytes(&mut self, conn: ConnId, bytes: &[u8]) {
        self.net.send_with(conn, |out| out.write_all(bytes));
    }

    /// Sets until when a connection may stay in its phase.
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
        let timer = self.arm(deadline, conn.slot() as u64);
        if let Some(connection) = self.server.connections.get_mut(conn) {
            connection.timer = Some((timer, deadline));
        }
    }

    pub(super) fn arm(&mut self, deadline: Time, tag: u64) -> TimerId {
        let owner = self.server.owner.unwrap_or_default();
        self.net.arm(owner, deadline, tag)
    }
}
