//! A server during a turn: events of the reactor in, callbacks of the app out.

use httparse::EMPTY_HEADER;

use super::app::App;
use super::connection::{Connection, EventStream, Phase, ResponseTo};
use super::feeding::FEED_TAG;
use super::limits::MAX_HEADERS;
use super::reader::Step;
use super::refusal::Refusal;
use super::request::Request;
use super::server::Server;
use crate::reactor::{Close, CloseReason, ConnId, Handler, Net, Origin, Owner, TimerId};

/// A [`Server`] with a borrowed [`App`]: a handler.
pub struct Serving<'s> {
    server: &'s mut Server,
    app: &'s mut dyn App,
}

impl Server {
    /// Returns the server as a handler that passes requests to this app.
    pub fn with<'s>(&'s mut self, app: &'s mut dyn App) -> Serving<'s> {
        Serving { server: self, app }
    }
}

impl Serving<'_> {
    /// Responds to an invalid request, and closes its connection.
    fn refuse(&mut self, net: &mut Net, conn: ConnId, refusal: Refusal) {
        let Refusal { status, why } = refusal;
        let hits = &mut self.server.limit_hits;
        match status {
            408 => hits.request_timeout += 1,
            413 => hits.body_bytes += 1,
            431 => hits.head_bytes += 1,
            _ => {}
        }
        if let Some(connection) = self.server.connections.get_mut(conn) {
            connection.traits.keeps_alive = false;
        }
        let (content_type, body) = self.app.refusal(status, &why);
        let headers = [("Content-Type", content_type)];
        let peer = net.peer_addr(conn);
        let mut http = self.server.http(net);
        http.write(conn, status, &headers, Some(body.len()), body.as_bytes());
        http.end(conn);
        self.app.on_refused(&mut http, peer, status, &why);
    }

    /// Records the number of bytes of an incomplete request that are kept.
    fn wait(&mut self, net: &mut Net, conn: ConnId, bytes: &[u8], wants_continue: bool) {
        let Some(connection) = self.server.connections.get_mut(conn) else {
            return;
        };
        // Half an empty line does not begin a request: empty lines must not keep a connection open.
        let bytes = if bytes == b"\r" { 0 } else { bytes.len() };
        let held = std::mem::replace(&mut connection.held_bytes, bytes);
        self.server.held_bytes = self.server.held_bytes - held + bytes;
        if self.server.held_bytes > self.server.limits.max_held_bytes {
            self.server.limit_hits.held_bytes += 1;
            let why = "too many bytes of incomplete requests: try again later";
            return self.refuse(net, conn, Refusal::new(503, why));
        }
        let deadline = net.now() + self.server.limits.request_timeout;
        let mut http = self.server.http(net);
        if held == 0 && bytes > 0 {
            http.set_deadline(conn, deadline);
        }
        if wants_continue {
            http.send_bytes(conn, b"HTTP/1.1 100 Continue\r\n\r\n");
        }
    }

    /// Passes a request to the app.
    fn serve(&mut self, net: &mut Net, conn: ConnId, request: &Request<'_>) {
        self.server.last_number += 1;
        let number = self.server.last_number;
        let deadline = net.now() + self.server.limits.response_timeout;
        let Some(connection) = self.server.connections.get_mut(conn) else {
            return;
        };
        self.server.held_bytes -= std::mem::take(&mut connection.held_bytes);
        connection.phase = Phase::Answering { number };
        connection.traits = request.head.traits;
        let mut http = self.server.http(net);
        http.set_deadline(conn, deadline);
        let to = ResponseTo { conn, number };
        self.app.on_request(&mut http, request, to);
        let connection = self.server.connections.get(conn);
        if connection.is_some_and(|connection| connection.phase == Phase::Answering { number }) {
            net.pause(conn);
        }
    }
}

impl Handler for Serving<'_> {
    fn owns(&mut self, owner: Owner) -> bool {
        self.server.owner == Some(owner)
    }

    fn on_open(&mut self, net: &mut Net, conn: ConnId, _: Origin) {
        let is_full = self.server.connections.len() >= self.server.limits.max_connections;
        if is_full && !self.server.explained.allow(net.now()) {
            self.server.limit_hits.connections += 1;
            return net.close(conn, Close::Now);
        }
        let deadline = net.now() + self.server.limits.keep_alive;
        self.server
            .connections
            .insert(conn, Connection::new(deadline));
        if is_full {
            self.server.limit_hits.connections += 1;
            let why = "too many connections: try again later";
            return self.refuse(net, conn, Refusal::new(503, why));
        }
        self.server.http(net).set_deadline(conn, deadline);
    }

    fn on_bytes(&mut self, net: &mut Net, conn: ConnId, bytes: &[u8]) -> usize {
        let Some(connection) = self.server.connections.get_mut(conn) else {
            return bytes.len();
        };
        match connection.phase {
            Phase::Reading => {}
            Phase::Answering { .. } | Phase::Writing => return 0,
            // Input on a stream has no meaning.
            Phase::Streaming { .. } | Phase::Closing => return bytes.len(),
        }
        let mut slots = [EMPTY_HEADER; MAX_HEADERS];
        let limits = &self.server.limits;
        match connection.reader.step(bytes, &mut slots, limits) {
            Ok(Step::Skip(bytes)) => bytes,
            Ok(Step::More { wants_continue }) => {
                self.wait(net, conn, bytes, wants_continue);
                0
            }
            Err(refusal) => {
                self.refuse(net, conn, refusal);
                bytes.len()
            }
            Ok(Step::Complete { request, bytes }) => {
                self.serve(net, conn, &request);
                bytes
            }
        }
    }

    fn on_limit(&mut self, net: &mut Net, conn: ConnId, why: CloseReason) {
        let is_reading = |connection: &Connection| connection.phase == Phase::Reading;
        if !self.server.connections.get(conn).is_some_and(is_reading) {
            return;
        }
        match why {
            CloseReason::FrameTimeout => self.refuse(net, conn, too_slow()),
            CloseReason::FrameTooLarge => {
                let max_bytes = self.server.limits.max_request_bytes();
                self.refuse(net, conn, Refusal::too_large(413, "request", max_bytes));
            }
            _ => {}
        }
    }

    fn on_drained(&mut self, net: &mut Net, conn: ConnId) {
        self.server.http(net).feed(conn);
    }

    fn on_close(&mut self, net: &mut Net, conn: ConnId, why: CloseReason) {
        let Some(connection) = self.server.connections.remove(conn) else {
            return;
        };
        if let CloseReason::WriteTimeout | CloseReason::TooMuchUnsent | CloseReason::PeerVanished =
            why
        {
            self.server.limit_hits.write_timeout += 1;
        }
        self.server.held_bytes -= connection.held_bytes;
        self.server.rest_bytes -= connection.rest.len();
        let mut http = self.server.http(net);
        if let Some((timer, _)) = connection.timer {
            http.net().disarm(timer);
        }
        match connection.phase {
            Phase::Answering { number } => {
                self.app.on_unwanted(&mut http, ResponseTo { conn, number });
            }
            Phase::Streaming { number } => {
                self.app
                    .on_stream_closed(&mut http, EventStream { conn, number });
            }
            Phase::Reading | Phase::Writing | Phase::Closing => {}
        }
    }

    fn on_timer(&mut self, net: &mut Net, timer: TimerId, tag: u64) {
        if tag == FEED_TAG {
            return self.server.http(net).feed_all();
        }
        let found = usize::try_from(tag).ok();
        let found = found.and_then(|slot| self.server.connections.at_slot(slot));
        let Some((conn, connection)) = found else {
            return;
        };
        if connection.timer.is_none_or(|(armed, _)| armed != timer) {
            return;
        }
        connection.timer = None;
        let (deadline, phase) = (connection.deadline, connection.phase);
        let has_begun = connection.held_bytes > 0;
        let mut http = self.server.http(net);
        if http.net().now() < deadline {
            return http.set_deadline(conn, deadline);
        }
        match phase {
            Phase::Reading if has_begun => self.refuse(net, conn, too_slow()),
            Phase::Reading => http.end(conn),
            Phase::Answering { number } => {
                self.server.limit_hits.response_timeout += 1;
                let why = "no response in time: try again later";
                self.refuse(net, conn, Refusal::new(503, why));
                let mut http = self.server.http(net);
                self.app.on_unwanted(&mut http, ResponseTo { conn, number });
            }
            Phase::Writing => {
                http.server.limit_hits.response_timeout += 1;
                http.net().close(conn, Close::Now);
            }
            Phase::Streaming { number } => {
                http.send_written_events(EventStream { conn, number }, b":\n\n");
                let next = http.net().now() + http.server.limits.stream_heartbeat;
                http.set_deadline(conn, next);
            }
            // The reactor has its own deadline for the last bytes.
            Phase::Closing => {}
        }
    }
}

fn too_slow() -> Refusal {
    Refusal::new(408, "incomplete request: the rest did not arrive in time")
}

impl std::fmt::Debug for Serving<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Serving")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}
