//! Dispatches what a reactor reports to the parts of the Distributor.

use std::net::{Ipv4Addr, SocketAddr};

use super::admission::not_admitted;
use super::events::{Event, Events, Subject, describe, is_limit};
use super::peer::Peer;
use super::persistence::{self, Snapshot};
use super::protocol_detection::detect;
use super::pushes::{self, Pushes};
use super::{Distributor, TAG_DRAIN, TAG_SILENCE, TAG_WARM_UP_ENDS};
use crate::protocol::{DISTRIBUTES, ErrorCode, HEARTBEAT, Packet, Refusal, write_error};
use crate::reactor::conn_map::ConnMap;
use crate::reactor::{Close, CloseReason, ConnId, Handler, Net, Origin, Owner, TimerId};
use crate::registry::Cause;

impl Handler for Distributor {
    fn owns(&self, owner: Owner) -> bool {
        self.owner == Some(owner)
    }

    fn on_open(&mut self, net: &mut Net, conn: ConnId, _origin: Origin) {
        let Some(addr) = net.peer_addr(conn) else {
            return;
        };
        let addr = SocketAddr::new(addr.ip().to_canonical(), addr.port());
        let admission = self.config.access.of_address(addr.ip());
        let (is_admitted, needs_token) = (admission.is_some(), self.config.access.tokens.is_some());
        let peer = Peer::new(addr, net.now(), admission);
        self.peers.insert(conn, peer);
        self.emit(net, Some(conn), Event::Connected);
        if is_admitted {
            self.pushes.schedule(conn);
        } else if !needs_token {
            let why = not_admitted("this address is not admitted");
            self.reject(net, conn, &Packet::default(), b"", &why);
        }
    }

    fn on_frame(&mut self, net: &mut Net, conn: ConnId, frame: &[u8]) {
        self.hear(net, conn);
        let is_first = self.peers.get_mut(conn).is_some_and(Peer::is_first_frame);
        let packet = match Packet::parse(frame) {
            Ok(packet) => packet,
            Err(why) => {
                return match detect(frame).filter(|_| is_first) {
                    Some(protocol) => self.close_wrong_protocol(net, conn, protocol, frame),
                    None => self.reject(net, conn, &Packet::default(), frame, &why),
                };
            }
        };
        if packet.is_reply() {
            return;
        }
        let uri = packet.uri();
        let method = packet.method();
        let is_admitted = self
            .peers
            .get(conn)
            .is_some_and(|peer| peer.admission.is_some());
        let done = match (uri.as_deref(), method.as_deref()) {
            (Some(DISTRIBUTES), Some("POST")) => self
                .register(net, conn, &packet)
                .map(|()| self.pushes.schedule(conn)),
            _ if !is_admitted => Err(not_admitted("a token is needed here: register with it")),
            (Some(DISTRIBUTES), Some("GET")) => {
                if let Some(peer) = self.peers.get_mut(conn) {
                    peer.get_key = Some(packet.key().map_or("null", |key| key.get()).into());
                    // One list at a time: what it asks next is read when this one was sent.
                    net.pause(conn);
                    self.pushes.schedule(conn);
                }
                Ok(())
            }
            (Some(DISTRIBUTES), Some("DELETE")) => self.drain(net, conn, &packet),
            (Some(HEARTBEAT), Some("POST")) => self.heartbeat(net, conn, &packet),
            _ => Err(Refusal {
                code: ErrorCode::NotFound,
                message: "here is /distributes with GET, POST and DELETE, and \
                          /distributes/heartbeat with POST"
                    .into(),
            }),
        };
        if let Err(why) = done {
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
                format!("a frame has at most {} bytes", limits.max_frame_bytes),
            ),
            CloseReason::FrameTimeout => (
                ErrorCode::DeadlinePassed,
                format!("a frame must end within {:?}", limits.frame_timeout),
            ),
            CloseReason::NoFirstByte => (
                ErrorCode::DeadlinePassed,
                format!("nothing came within {:?}", limits.first_byte_timeout),
            ),
            _ => return,
        };
        let refusal = Refusal {
            code,
            message: message.into(),
        };
        net.send_with(conn, |out| write_error(out, &Packet::default(), &refusal));
    }

    fn on_drained(&mut self, net: &mut Net, conn: ConnId) {
        if !self.is_stopping {
            let (pushes, peers, source, events) = self.push_parts();
            pushes.catch_up(net, peers, source, events, conn);
        }
    }

    fn on_close(&mut self, net: &mut Net, conn: ConnId, why: CloseReason) {
        self.emit_session_ended(net, conn);
        if is_limit(why) {
            self.emit(net, Some(conn), Event::LimitExceeded(why));
        }
        let Some(peer) = self.peers.remove(conn) else {
            return;
        };
        if self.is_stopping {
            return;
        }
        self.forget_drains_of(net, conn);
        let cause = self.cause_of(net.now(), &peer, why);
        if let Some(id) = peer.entry
            && cause == Cause::Silent
            && !peer.is_silent
            && (peer.is_suspect || self.holds_silent(net, 1))
        {
            return self.hold_orphan(net, id, peer.is_suspect);
        }
        let (addr, reason) = (Some(peer.addr), describe(why));
        let has_left = |id| self.depart(net, id, addr, cause, reason);
        if !peer.entry.is_some_and(has_left) {
            let subject = Subject {
                peer: addr,
                ..Subject::default()
            };
            let event = Event::Disconnected { reason };
            self.events.emit(net.now(), &self.registry, subject, event);
        }
    }

    fn on_timer(&mut self, net: &mut Net, timer: TimerId, tag: u64) {
        match tag {
            TAG_WARM_UP_ENDS => self.warm_up_is_over(net),
            TAG_SILENCE if !self.is_stopping => {
                self.drop_unadmitted(net);
                self.drop_silent(net);
            }
            TAG_DRAIN => self.finish_drains(net),
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
            self.look_for_standstill(net);
            let (pushes, peers, source, events) = self.push_parts();
            pushes.on_turn_end(net, peers, source, events);
            let (salt, registry, identities) = (self.salt, &self.registry, &self.identities);
            self.persistence
                .end_turn(net, || Snapshot::new(salt, registry, identities));
        }
    }
}

impl Distributor {
    /// Returns the pushes and what they need of the others.
    fn push_parts(
        &mut self,
    ) -> (
        &mut Pushes,
        &mut ConnMap<Peer>,
        pushes::Source<'_>,
        &mut Events,
    ) {
        let source = pushes::Source {
            registry: &self.registry,
            epoch: &self.epoch,
            is_complete: self.is_complete,
            awaits_acks: !self.drains.is_empty(),
        };
        (&mut self.pushes, &mut self.peers, source, &mut self.events)
    }

    /// Emits an event about a connection, or about none.
    pub(super) fn emit(&mut self, net: &Net, conn: Option<ConnId>, event: Event<'_>) {
        let peer = conn.and_then(|conn| self.peers.get(conn));
        let subject = peer.map(|peer| peer.subject(&self.registry));
        let subject = subject.unwrap_or_default();
        self.events.emit(net.now(), &self.registry, subject, event);
    }

    /// A session is over, or is another from now on.
    pub(super) fn emit_session_ended(&mut self, net: &Net, conn: ConnId) {
        if let Some(from) = self.peers.get(conn).and_then(Peer::awaited_from) {
            self.emit(net, Some(conn), Event::SessionEnded { from });
        }
    }

    /// Answers a packet with an errorcode, and closes the connection if it must not stay.
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
        // Who is over a limit is closed, so that it tries again and somebody notices. Who is
        // registered keeps what it has.
        let is_over = why.code == ErrorCode::TooMuch && peer.entry.is_none();
        // Whoever tries tokens needs a connection for each.
        let is_unadmitted = why.code == ErrorCode::NotAllowed && !peer.is_inside();
        let rejected = Event::Rejected {
            refusal: why,
            frame,
            is_unadmitted,
        };
        self.emit(net, Some(conn), rejected);
        net.send_with(conn, |out| write_error(out, packet, why));
        if is_over || is_unadmitted {
            net.close(conn, Close::AfterFlush);
        }
    }

    pub(super) fn addr_of(&self, conn: ConnId) -> SocketAddr {
        let unknown = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        self.peers.get(conn).map_or(unknown, |peer| peer.addr)
    }

    fn close_wrong_protocol(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        protocol: &'static str,
        bytes: &[u8],
    ) {
        self.emit(net, Some(conn), Event::WrongProtocol { protocol, bytes });
        net.close(conn, Close::AfterFlush);
    }

    fn report_limits(&mut self, net: &Net) {
        let counters = net.counters();
        if counters.refused + counters.shed > self.refused_before {
            self.refused_before = counters.refused + counters.shed;
            let event = Event::ConnectionsRefused {
                limit: net.limits().max_connections,
                refused: counters.refused,
                shed: counters.shed,
            };
            self.emit(net, None, event);
        }
        if counters.accept_failures > self.accept_failures_before {
            self.accept_failures_before = counters.accept_failures;
            let failures = counters.accept_failures;
            self.emit(net, None, Event::AcceptFailed { failures });
        }
    }
}
