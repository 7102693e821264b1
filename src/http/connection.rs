//! One connection, and how it is answered.

use std::io::Write;
use std::net::SocketAddr;

use super::Server;
use super::reader::RequestReader;
use super::response::{After, Event, Length, Response, write_head};
use crate::reactor::{Close, ConnId, Net, TimerId};
use crate::time::Time;

/// What a server knows of a connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) phase: Phase,
    pub(super) reader: RequestReader,
    /// Bytes of the next request have come.
    pub(super) has_begun: bool,
    /// What was asked last, as far as the answer depends on it.
    pub(super) asked: Asked,
    /// What of a response waits for room in the queue.
    pub(super) rest: Vec<u8>,
    rest_from: usize,
    /// What its unfinished request takes.
    pub(super) held_bytes: usize,
    /// When what it is doing has taken too long.
    pub(super) deadline: Time,
    /// May ring before the deadline, which moves without it.
    pub(super) timer: Option<(TimerId, Time)>,
}

/// What a connection is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// It waits for a request, or for the rest of one.
    Reading,
    /// The app has its request. Nothing is read meanwhile, so that answers keep their order.
    Answering { number: u64 },
    /// It is answered, and the client has not taken enough of that to be read from again.
    Writing,
    /// Events, until one side has enough.
    Streaming { number: u64 },
    /// It is answered for the last time.
    Closing,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked {
    pub(super) is_1_0: bool,
    pub(super) is_head: bool,
    pub(super) keeps_alive: bool,
}

/// Where a response goes: to one request, once.
#[derive(PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ResponseTo {
    pub(super) conn: ConnId,
    pub(super) number: u64,
}

/// Names one stream of events.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EventStream {
    pub(super) conn: ConnId,
    pub(super) number: u64,
}

/// How much of a response is queued at a time, and how much may be queued before the next request is
/// read: with what the kernel takes beside it, all that a client who does not read costs.
const FEED_BYTES: usize = 64 << 10;
/// The timer that is for no connection.
pub(super) const FEED_TAG: u64 = u64::MAX;

impl Connection {
    pub(super) fn new(deadline: Time) -> Connection {
        Connection {
            phase: Phase::Reading,
            reader: RequestReader::default(),
            has_begun: false,
            asked: Asked::default(),
            rest: Vec::new(),
            rest_from: 0,
            held_bytes: 0,
            deadline,
            timer: None,
        }
    }

    /// It waits for its first request, and nothing of that has come.
    pub(super) fn is_fresh(&self) -> bool {
        // Behind a request it is read from only if that keeps it alive.
        self.phase == Phase::Reading && !self.has_begun && !self.asked.keeps_alive
    }
}

/// What an app can do: answer. Given to it in each callback, and between callbacks by
/// [`Server::http`].
#[derive(Debug)]
pub struct Http<'a> {
    pub(super) server: &'a mut Server,
    net: &'a mut Net,
}

impl<'a> Http<'a> {
    pub(super) fn new(server: &'a mut Server, net: &'a mut Net) -> Http<'a> {
        Http { server, net }
    }

    /// The loop: timers, the time, connections of your own.
    pub fn net(&mut self) -> &mut Net {
        self.net
    }

    /// The client that a response goes to. `None` if it is gone.
    pub fn peer_addr(&self, to: &ResponseTo) -> Option<SocketAddr> {
        self.net.peer_addr(to.conn)
    }

    /// Whether there is room for a body of this length. If not, the response would be another one:
    /// a 503 in plain text.
    pub fn has_room_for(&self, body_bytes: usize) -> bool {
        let unread = self.server.rest_bytes + body_bytes;
        body_bytes <= FEED_BYTES || unread <= self.server.limits.max_unread_bytes
    }

    /// Answers a request. Nothing happens if its client is gone.
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
        let too_much = Response::text(503, "too much of other responses is not read yet\n");
        let response = match has_room {
            true => response,
            false => {
                self.server.limit_hits.unread_bytes += 1;
                &too_much
            }
        };
        let asked = &mut connection.asked;
        asked.keeps_alive &= !is_stopping;
        let after = match (asked.keeps_alive, asked.is_1_0) {
            (false, _) => After::Closes,
            (true, true) => After::StaysSaid,
            (true, false) => After::Stays,
        };
        let body = match asked.is_head || response.status == 204 || response.status == 304 {
            true => &[],
            false => response.body,
        };
        let length = Length::Bytes(response.body.len());
        self.write(
            to.conn,
            response.status,
            response.headers,
            length,
            after,
            body,
        );
        self.answered(to.conn);
    }

    /// Begins a stream of events as the answer to a request, with more headers if there are any.
    /// `None` if its client is gone, or wanted the head alone.
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
        connection.asked.keeps_alive = false;
        let (is_1_0, is_head) = (connection.asked.is_1_0, connection.asked.is_head);
        let length = match is_1_0 {
            true => Length::UntilClosed,
            false => Length::Chunked,
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
        // What comes from now on is read for the end that it may have.
        self.net.resume(to.conn);
        let deadline = self.net.now() + self.server.limits.stream_heartbeat;
        self.set_deadline(to.conn, deadline);
        let conn = to.conn;
        Some(EventStream { conn, number })
    }

    /// Sends an event. `false` if the stream is over, or ends now because its client does not read.
    pub fn send_event(&mut self, stream: EventStream, event: &Event<'_>) -> bool {
        let mut text = Vec::new();
        event.write(&mut text);
        self.send_to_stream(stream, &text)
    }

    /// Sends events that were written by [`Event::write`], all at once. `false` as for
    /// [`Http::send_event`].
    pub fn send_written_events(&mut self, stream: EventStream, text: &[u8]) -> bool {
        self.send_to_stream(stream, text)
    }

    /// Ends a stream of events after what was sent.
    pub fn end_stream(&mut self, stream: EventStream) {
        if self.is_streaming(stream) {
            self.end(stream.conn);
        }
    }

    /// What waits to be read by the client of a stream.
    pub fn unread_bytes(&self, stream: EventStream) -> usize {
        match self.is_streaming(stream) {
            true => self.net.pending_bytes(stream.conn),
            false => 0,
        }
    }

    pub(super) fn send_to_stream(&mut self, stream: EventStream, text: &[u8]) -> bool {
        let Some(connection) = self.server.connections.get_mut(stream.conn) else {
            return false;
        };
        let number = stream.number;
        if connection.phase != (Phase::Streaming { number }) {
            return false;
        }
        let unread = self.net.pending_bytes(stream.conn) + text.len();
        if unread > self.server.limits.max_stream_backlog_bytes {
            self.server.limit_hits.stream_backlog_bytes += 1;
            self.net.close(stream.conn, Close::Now);
            return false;
        }
        let Some(mut out) = self.net.send(stream.conn) else {
            return false;
        };
        // Writing to a queue does not fail.
        let _ = match connection.asked.is_1_0 {
            true => out.write_all(text),
            false => write!(out, "{:x}\r\n", text.len())
                .and_then(|()| out.write_all(text))
                .and_then(|()| out.write_all(b"\r\n")),
        };
        out.finish();
        true
    }

    fn is_streaming(&self, stream: EventStream) -> bool {
        let number = stream.number;
        let connection = self.server.connections.get(stream.conn);
        connection.is_some_and(|connection| connection.phase == Phase::Streaming { number })
    }

    /// Ends a connection in good order, whatever it was doing.
    pub(super) fn end(&mut self, conn: ConnId) {
        let Some(connection) = self.server.connections.get_mut(conn) else {
            return;
        };
        if matches!(connection.phase, Phase::Streaming { .. })
            && !connection.asked.is_1_0
            && let Some(mut out) = self.net.send(conn)
        {
            let _ = out.write_all(b"0\r\n\r\n");
            out.finish();
        }
        if !matches!(connection.phase, Phase::Streaming { .. }) {
            connection.phase = Phase::Closing;
        }
        self.net.close(conn, Close::AfterFlush);
    }

    /// Answers what is no request, and closes its connection.
    pub(super) fn refuse(&mut self, conn: ConnId, status: u16, content_type: &str, body: &str) {
        let headers = [("Content-Type", content_type)];
        let length = Length::Bytes(body.len());
        let body = body.as_bytes();
        self.write(conn, status, &headers, length, After::Closes, body);
        if let Some(connection) = self.server.connections.get_mut(conn) {
            connection.phase = Phase::Closing;
        }
        self.net.close(conn, Close::AfterFlush);
    }

    /// Tells a client that it may send the body that it holds back.
    pub(super) fn tell_to_go_on(&mut self, conn: ConnId) {
        if let Some(mut out) = self.net.send(conn) {
            let _ = out.write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
            out.finish();
        }
    }

    fn write(
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
        let Some(mut out) = self.net.send(conn) else {
            return;
        };
        let (first, rest) = body.split_at_checked(FEED_BYTES).unwrap_or((body, &[]));
        // Writing to a queue does not fail.
        let _ = write_head(&mut out, status, headers, date, length, after)
            .and_then(|()| out.write_all(first));
        out.finish();
        if let Some(connection) = self.server.connections.get_mut(conn) {
            connection.rest.extend_from_slice(rest);
            self.server.rest_bytes += rest.len();
        }
    }

    /// The response is queued, or its beginning: goes on with the connection.
    fn answered(&mut self, conn: ConnId) {
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

    /// Sees to a connection when its queue is written: if that happens at once nobody tells.
    fn feed_soon(&mut self, conn: ConnId) {
        self.server.feeding.push(conn);
        if !self.server.is_feed_due {
            self.server.is_feed_due = true;
            self.arm(self.net.now(), FEED_TAG);
        }
    }

    /// Looks after those who have more to write.
    pub(super) fn feed_all(&mut self) {
        self.server.is_feed_due = false;
        for conn in std::mem::take(&mut self.server.feeding) {
            if self.net.pending_bytes(conn) == 0 {
                self.feed(conn);
            } else if !self.net.is_backlogged(conn) {
                // Nothing was written since it was queued.
                self.feed_soon(conn);
            }
            // Of the others `on_drained` tells.
        }
    }

    /// All that was queued is written.
    pub(super) fn feed(&mut self, conn: ConnId) {
        let Some(connection) = self.server.connections.get_mut(conn) else {
            return;
        };
        if connection.phase != Phase::Writing {
            return;
        }
        let rest = connection.rest.get(connection.rest_from..);
        let rest = rest.unwrap_or_default();
        if rest.is_empty() {
            return self.written(conn);
        }
        let (next, _) = rest.split_at_checked(FEED_BYTES).unwrap_or((rest, &[]));
        if let Some(mut out) = self.net.send(conn) {
            let _ = out.write_all(next);
            out.finish();
        }
        connection.rest_from += next.len();
        self.feed_soon(conn);
    }

    /// Nothing of the response is held back any more: the next request may come.
    fn written(&mut self, conn: ConnId) {
        let Some(connection) = self.server.connections.get_mut(conn) else {
            return;
        };
        self.server.rest_bytes -= connection.rest.len();
        (connection.rest, connection.rest_from) = (Vec::new(), 0);
        if !connection.asked.keeps_alive || self.server.is_stopping {
            connection.phase = Phase::Closing;
            self.net.close(conn, Close::AfterFlush);
            return;
        }
        connection.phase = Phase::Reading;
        self.net.resume(conn);
        let deadline = self.net.now() + self.server.limits.keep_alive;
        self.set_deadline(conn, deadline);
    }

    /// Says until when a connection may go on with what it does.
    pub(super) fn set_deadline(&mut self, conn: ConnId, deadline: Time) {
        let Some(connection) = self.server.connections.get_mut(conn) else {
            return;
        };
        connection.deadline = deadline;
        if let Some((timer, rings_at)) = connection.timer {
            if rings_at <= deadline {
                return;
            }
            self.net.disarm(timer);
        }
        let timer = self.arm(deadline, conn.slot() as u64);
        if let Some(connection) = self.server.connections.get_mut(conn) {
            connection.timer = Some((timer, deadline));
        }
    }

    fn arm(&mut self, deadline: Time, tag: u64) -> TimerId {
        let owner = self.server.owner.unwrap_or_default();
        self.net.arm(owner, deadline, tag)
    }
}
