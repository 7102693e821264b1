//! Dispatches the events of a reactor to the parts of the Distributor.

use std::net::SocketAddr;

use tracing::{debug, warn};

use super::admission::{Authorization, authentication_required};
use super::events::{Event, Subject, describe};
use super::liveness::{self, Health};
use super::peer::Peer;
use super::persistence;
use super::pushes::{self, Pushes};
use super::self_preservation::Suspect;
use super::{Distributor, drains, warm_up};
use crate::protocol::{
    DISTRIBUTES, ErrorCode, HEARTBEAT, Packet, Refusal, SessionRequest, write_error,
};
use crate::reactor::{Close, CloseReason, ConnId, Handler, Net, Origin, Owner, TimerId};
use crate::registry::Cause;

impl Handler for Distributor {
    fn owns(&mut self, owner: Owner) -> bool {
        self.owner == Some(owner)
    }

    fn on_open(&mut self, net: &mut Net, conn: ConnId, _origin: Origin) {
        let Some(addr) = net.peer_addr(conn) else {
            return;
        };
        let addr = SocketAddr::new(addr.ip().to_canonical(), addr.port());
        let admitted = self.admission.by_address(addr.ip());
        let authorization = admitted.as_ref().ok().cloned().flatten();
        if authorization.is_some() {
            self.pushes.await_first_frame(net.now(), conn);
        }
        let peer = Peer::new(addr, net.now(), authorization);
        self.peers.insert(conn, peer);
        debug!(peer = %addr, "connection accepted");
        if let Err(why) = admitted {
            self.reject(net, conn, &Packet::default(), b"", &why);
        }
    }

    fn on_frame(&mut self, net: &mut Net, conn: ConnId, frame: &[u8]) {
        let Some(peer) = self.peers.get_mut(conn) else {
            return;
        };
        let is_first = !std::mem::replace(&mut peer.has_sent_frame, true);
        let is_admitted = peer.authorization.is_some();
        if peer.record_received(net.now()) {
            self.emit(net, Some(conn), Event::Recovered);
        }
        let packet = match Packet::parse(frame) {
            Ok(packet) => packet,
            Err(why) => {
                if is_first && let Some(protocol) = detect(frame) {
                    return self.close_wrong_protocol(net, conn, protocol, frame);
                }
                self.send_first_list(net, conn);
                return self.reject(net, conn, &Packet::default(), frame, &why);
            }
        };
        let uri = packet.uri();
        let method = packet.method();
        let is_registration = matches!(
            (uri.as_deref(), method.as_deref()),
            (Some(DISTRIBUTES), Some("POST"))
        );
        // The list of its session replaces the first one.
        if !is_registration || packet.session().is_none() {
            self.send_first_list(net, conn);
        }
        if packet.is_reply() {
            return;
        }
        let done = match (uri.as_deref(), method.as_deref()) {
            (Some(DISTRIBUTES), Some("POST")) => self
                .register(net, conn, &packet)
                .map(|()| self.pushes.schedule(conn)),
            (Some(DISTRIBUTES), Some("GET")) => self.request_list(net, conn, &packet),
            _ if !is_admitted => Err(authentication_required()),
            (Some(DISTRIBUTES), Some("DELETE")) => self.drain(net, conn, &packet),
            (Some(HEARTBEAT), Some("POST")) => self.heartbeat(net, conn, &packet),
            _ => Err(Refusal::new(
                ErrorCode::NotFound,
                "unknown uri or method: use GET, POST or DELETE /distributes, or POST \
                 /distributes/heartbeat",
            )),
        };
        if let Err(why) = done {
            self.send_first_list(net, conn);
            self.reject(net, conn, &packet, frame, &why);
        }
    }

    fn on_first_bytes(&mut self, net: &mut Net, conn: ConnId, bytes: &[u8]) {
        if let Some(protocol) = detect(bytes) {
            self.close_wrong_protocol(net, conn, protocol, bytes);
        }
    }

    fn on_limit(&mut self, net: &mut Net, conn: ConnId, why: CloseReason) {
        let limits = net.limits();
        let (code, message) = match why {
            CloseReason::FrameTooLarge => (
                ErrorCode::TooMuch,
                format!(
                    "frame too large: use at most {} bytes",
                    limits.max_frame_bytes
                ),
            ),
            CloseReason::FrameTimeout => (
                ErrorCode::DeadlinePassed,
                format!("frame not completed within {:?}", limits.frame_timeout),
            ),
            CloseReason::NoFirstByte => (
                ErrorCode::DeadlinePassed,
                format!("nothing received within {:?}", limits.first_byte_timeout),
            ),
            _ => return,
        };
        let refusal = Refusal::new(code, message);
        net.send_with(conn, |out| write_error(out, &Packet::default(), &refusal));
    }

    fn on_drained(&mut self, net: &mut Net, conn: ConnId) {
        if !self.is_stopping {
            let (pushes, cx) = self.pushes(net);
            pushes.catch_up(cx, conn);
        }
    }

    fn on_close(&mut self, net: &mut Net, conn: ConnId, why: CloseReason) {
        self.record_session_end(net, conn);
        if let Some(count) = self.events.stats.limit(why) {
            *count += 1;
            self.emit(net, Some(conn), Event::LimitExceeded(describe(why)));
        }
        let Some(peer) = self.peers.remove(conn) else {
            return;
        };
        debug!(peer = %peer.addr, reason = describe(why), "connection closed");
        if self.is_stopping {
            return;
        }
        self.drains.cancel(net, conn);
        let Some(id) = peer.entry else {
            return;
        };
        let quiet = peer.quiet_for(net.now());
        let cause = liveness::cause(&self.config, peer.health, quiet, why);
        if cause == Cause::Silent
            && peer.health != Health::Silent
            && (peer.health == Health::Suspect || self.holds_silent(net, 1))
        {
            self.self_preservation
                .hold(net.now(), Suspect::Unclaimed(id));
            self.identities.detach(id, &self.registry);
            if peer.health != Health::Suspect {
                self.emit_suspected(net, id);
            }
        } else {
            self.depart(net, id, Some(peer.addr), cause, describe(why));
        }
    }

    fn on_timer(&mut self, net: &mut Net, timer: TimerId, tag: u64) {
        match tag {
            warm_up::TAG => self.end_warm_up(net),
            liveness::TAG if !self.is_stopping => {
                self.close_unadmitted(net);
                self.check_silence(net);
            }
            drains::TAG => self.drains.finish(net),
            persistence::TAG => self.persistence.timer_fired(),
            pushes::TAG => self.pushes.timer_fired(timer),
            _ => {}
        }
    }

    fn on_turn_end(&mut self, net: &mut Net) {
        self.report_limits(net);
        if let Some(journal) = &mut self.events.journal {
            journal.record_turn(net.counters().turn_time);
        }
        if !self.is_stopping {
            let before = std::mem::replace(&mut self.turned_at, net.now());
            let paused = net.now().saturating_since(before);
            if liveness::is_stall(&self.config, paused) {
                warn!(stalled = ?paused, "process stalled: waiting for nodes to reconnect");
                self.begin_warm_up(net);
            }
            let (pushes, cx) = self.pushes(net);
            pushes.on_turn_end(cx);
            let owner = self.claim_owner(net);
            if self.persistence.is_due(net, owner) {
                self.persistence.persist_changes(
                    self.admission.salt(),
                    &self.registry,
                    &self.identities,
                );
            }
        }
    }
}

impl Distributor {
    /// Returns the pushes, and the state of other parts that they need.
    fn pushes<'a>(&'a mut self, net: &'a mut Net) -> (&'a mut Pushes, pushes::Context<'a>) {
        let owner = self.claim_owner(net);
        let source = pushes::Source {
            registry: &self.registry,
            epoch: &self.epoch,
            is_complete: self.warm_up.is_complete(),
            awaits_acks: self.drains.is_any_pending(),
        };
        let cx = pushes::Context {
            net,
            owner,
            peers: &mut self.peers,
            source,
            events: &mut self.events,
        };
        (&mut self.pushes, cx)
    }

    fn send_first_list(&mut self, net: &mut Net, conn: ConnId) {
        let (pushes, cx) = self.pushes(net);
        pushes.send_first_list(cx, conn);
    }

    /// Emits an event of a connection, or of the Distributor.
    pub(super) fn emit(&mut self, net: &Net, conn: Option<ConnId>, event: Event) {
        let peer = conn.and_then(|conn| self.peers.get(conn));
        let subject = peer.map_or_else(Subject::default, |peer| peer.subject(&self.registry));
        self.events.emit(net.now(), &self.registry, subject, event);
    }

    /// Rejects a packet with an errorcode, and closes the connection if the error requires it.
    pub(super) fn reject(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        packet: &Packet<'_>,
        frame: &[u8],
        why: &Refusal,
    ) {
        let Some(peer) = self.peers.get(conn) else {
            return;
        };
        // Beyond a limit, a connection without an entry is closed, so that its node retries. A
        // registered one keeps its entry.
        let is_over_limit = why.code == ErrorCode::TooMuch && peer.entry.is_none();
        // Each guess of a token costs a connection.
        let by_address = matches!(peer.authorization, Some(Authorization::Address));
        let is_admitted = by_address || peer.is_registered;
        let is_unadmitted = why.code == ErrorCode::NotAllowed && !is_admitted;
        let subject = Subject {
            frame,
            error: &why.message,
            ..peer.subject(&self.registry)
        };
        let event = Event::Rejected(why.code);
        self.events.emit(net.now(), &self.registry, subject, event);
        self.events.stats.not_admitted += u64::from(is_unadmitted);
        net.send_with(conn, |out| write_error(out, packet, why));
        if is_over_limit || is_unadmitted {
            net.close(conn, Close::AfterFlush);
        }
    }

    /// Schedules the list, in reply to a request. A token in its session admits the connection
    /// without a registration.
    fn request_list(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        packet: &Packet<'_>,
    ) -> Result<(), Refusal> {
        let Some(peer) = self.peers.get_mut(conn) else {
            return Ok(());
        };
        if peer.authorization.is_none() {
            let request = packet.session().map(SessionRequest::parse).transpose()?;
            let token = request.as_ref().and_then(|request| request.token.as_ref());
            peer.authorization = Some(self.admission.by_token(None, token)?);
            peer.token = token.map(|token| Box::new(self.admission.mark(token)));
        }
        peer.get_key = Some(packet.key().map_or("null", |key| key.get()).into());
        // One list at a time: the next request is read once this one has its list.
        net.pause(conn);
        self.pushes.schedule(conn);
        Ok(())
    }

    fn close_wrong_protocol(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        protocol: &'static str,
        bytes: &[u8],
    ) {
        let peer = self.peers.get(conn).map(|peer| peer.addr);
        let subject = Subject {
            peer,
            frame: bytes,
            ..Subject::default()
        };
        let event = Event::WrongProtocol(protocol);
        self.events.emit(net.now(), &self.registry, subject, event);
        net.close(conn, Close::AfterFlush);
    }

    fn report_limits(&mut self, net: &Net) {
        let counters = net.counters();
        let refusals = counters.refused + counters.shed;
        if refusals > std::mem::replace(&mut self.reported_refusals, refusals) {
            let event = Event::ConnectionsRefused {
                limit: self.max_connections(net),
                refused: counters.refused,
                shed: counters.shed,
            };
            self.emit(net, None, event);
        }
        let failures = counters.accept_failures;
        if failures > std::mem::replace(&mut self.reported_accept_failures, failures) {
            self.emit(net, None, Event::AcceptFailed(failures));
        }
    }

    /// Closes connections that have not authenticated in time, even if they sent other data.
    fn close_unadmitted(&mut self, net: &mut Net) {
        let (now, allowed) = (net.now(), net.limits().first_byte_timeout);
        let is_overdue = |peer: &Peer| {
            peer.authorization.is_none() && now.saturating_since(peer.connected_at) > allowed
        };
        let peers = self.peers.iter();
        let overdue = peers.filter(|(_, peer)| is_overdue(peer));
        let overdue: Vec<ConnId> = overdue.map(|(conn, _)| conn).collect();
        for conn in overdue {
            let message = format!("no token received within {allowed:?}");
            let why = Refusal::new(ErrorCode::DeadlinePassed, message);
            self.reject(net, conn, &Packet::default(), b"", &why);
            net.close(conn, Close::AfterFlush);
        }
    }

    pub(super) fn begin_warm_up(&mut self, net: &mut Net) {
        let (owner, length) = (self.claim_owner(net), self.config.warm_up);
        self.warm_up.run_for(net, owner, length);
        for (_, peer) in self.peers.iter_mut() {
            if let Some(session) = &mut peer.session {
                // Only a list can be marked as incomplete; the session keeps its known entries.
                session.needs_list = true;
            }
        }
        self.emit(net, None, Event::WarmUpBegan);
    }

    /// Evicts absent entries, and ends the warm-up if there are none.
    pub(super) fn end_warm_up(&mut self, net: &mut Net) {
        let absent = self.identities.absent();
        if absent.is_empty() {
            for conn in self.warm_up.end(&mut self.registry, &mut self.peers) {
                self.pushes.schedule(conn);
            }
            return self.emit(net, None, Event::WarmUpEnded);
        }
        for id in absent {
            let reason = "not reconnected after the restart";
            self.depart(net, id, None, Cause::Absent, reason);
        }
        let owner = self.claim_owner(net);
        self.warm_up
            .run_for(net, owner, warm_up::ABSENT_BEFORE_COMPLETE);
    }
}

/// HTTP methods, and the beginning of an HTTP/2 connection.
const HTTP_METHODS: [&[u8]; 10] = [
    b"GET ",
    b"POST ",
    b"PUT ",
    b"HEAD ",
    b"DELETE ",
    b"OPTIONS ",
    b"PATCH ",
    b"TRACE ",
    b"CONNECT ",
    b"PRI ",
];

/// Returns the other protocol that begins with these bytes, if that is certain.
fn detect(bytes: &[u8]) -> Option<&'static str> {
    if HTTP_METHODS.iter().any(|method| bytes.starts_with(method)) {
        return Some("HTTP");
    }
    // Record type "handshake" and the major version, which are the same from SSL 3 to TLS 1.3.
    if bytes.starts_with(&[0x16, 0x03]) {
        return Some("TLS");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detects_http_and_tls_by_the_first_bytes() {
        assert_eq!(detect(b"GET / HTTP/1.1\r\n"), Some("HTTP"));
        assert_eq!(detect(b"POST /distributes HTTP/1.1"), Some("HTTP"));
        assert_eq!(detect(&[0x16, 3, 1, 2, 0, 1]), Some("TLS"));
        for own in [
            &b"{\"uri\":\"/distributes\"}"[..],
            b"GE",
            b"GETTING",
            b"\x16",
            b"",
            b"hello",
        ] {
            assert_eq!(detect(own), None);
        }
    }
}
