//! The Distributor: everybody tells it who they are, and it tells everybody who is there.
//!
//! It is a [`Handler`]: lend it to a [`Reactor`](crate::reactor::Reactor) that listens.

mod foreign;
mod log;
mod pacing;
mod push;
mod session;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tracing::{debug, info, warn};

use crate::protocol::{
    DISTRIBUTES, ErrorCode, Packet, Refusal, Registration, RegistrationLimits, write_error,
};
use crate::reactor::conn_map::ConnMap;
use crate::reactor::{
    Close, CloseReason, ConnId, Handler, ListenOptions, ListenerId, Net, Origin, SharedFrame,
    TimerId,
};
use crate::registry::{Capacity, Cause, Entry, Registry};
use foreign::foreign_protocol;
use log::{Escaped, LogLimiter, Subject};
use push::Push;
use session::Session;

/// What a Distributor can be told.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// How much a node may say about itself.
    pub registration: RegistrationLimits,
    /// How much all of them together may.
    pub capacity: Capacity,
    /// Listed as the host of peers on this machine, where nodes on others must reach them.
    /// Without it they are listed under their loopback address.
    pub loopback_host: Option<String>,
}

/// What the Distributor has done so far. The totals only grow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Registrations that were taken, of new nodes and in place of old ones.
    pub registrations: u64,
    /// Packets that were answered with an errorcode.
    pub refused_packets: u64,
    /// Connections closed because they spoke another protocol.
    pub foreign_connections: u64,
    /// Times a change, or several together, was sent to all who are registered.
    pub pushes: u64,
    /// Lists queued, for whatever reason.
    pub lists_sent: u64,
    /// Pushes of a list that is longer than the read buffer of existing peers.
    pub oversized_pushes: u64,
}

/// The Distributor's side of the protocol, for all its connections.
#[derive(Debug)]
pub struct Distributor {
    config: Config,
    registry: Registry,
    sessions: ConnMap<Session>,
    push: Push,
    log: LogLimiter,
    stats: Stats,
    listeners: Vec<ListenerId>,
    refused_before: u64,
    accept_failures_before: u64,
    is_stopping: bool,
}

impl Distributor {
    /// A Distributor that knows nobody yet.
    pub fn new(config: Config) -> Distributor {
        Distributor {
            registry: Registry::new(config.capacity.clone()),
            config,
            sessions: ConnMap::default(),
            push: Push::default(),
            log: LogLimiter::default(),
            stats: Stats::default(),
            listeners: Vec::new(),
            refused_before: 0,
            accept_failures_before: 0,
            is_stopping: false,
        }
    }

    /// Listens, and returns the address with the port in use. Errors are those of [`Net::listen`].
    pub fn listen(&mut self, net: &mut Net, addr: SocketAddr) -> std::io::Result<SocketAddr> {
        let busy = Refusal {
            code: ErrorCode::Busy,
            message: "as many connections as this Distributor takes: try later".into(),
        };
        let options = ListenOptions {
            refusal: SharedFrame::new(|out| {
                // Writing to memory does not fail.
                let _ = write_error(out, &Packet::default(), &busy);
            }),
            ..ListenOptions::default()
        };
        let listener = net.listen(addr, options)?;
        self.listeners.push(listener);
        Ok(net.local_addr(listener).unwrap_or(addr))
    }

    /// Begins to stop: nothing more is accepted, and each connection is closed after what is
    /// queued for it. Nobody is told of the others' end: to whoever stays, everybody is still there.
    ///
    /// It is done when [`Net::connections`] is zero.
    pub fn stop(&mut self, net: &mut Net) {
        self.is_stopping = true;
        for listener in self.listeners.drain(..) {
            net.close_listener(listener);
        }
        for (conn, _) in self.sessions.iter_mut() {
            net.close(conn, Close::AfterFlush);
        }
    }

    /// Who is registered.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// What was done so far.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    fn register(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        packet: &Packet<'_>,
    ) -> Result<(), Refusal> {
        let registration = Registration::check(packet.params(), &self.config.registration)?;
        let Some(session) = self.sessions.get_mut(conn) else {
            return Ok(());
        };
        let host = listed_host(session.peer.ip(), self.config.loopback_host.as_deref());
        let mut encoded = Vec::new();
        registration.write_with_host(&mut encoded, &host);
        let entry = Entry {
            encoded: encoded.into(),
            name: registration.name().into(),
            listed: registration.port().is_some(),
        };
        let listed = entry.listed;

        let full = |full: crate::registry::Full| Refusal {
            code: ErrorCode::TooMuch,
            message: full.to_string().into(),
        };
        let (name, peer) = (Escaped::text(registration.name()), session.peer);
        match session.entry {
            None => {
                session.entry = Some(self.registry.join(entry).map_err(full)?);
                let (entries, revision) = (self.registry.len(), self.registry.revision());
                self.log.say(net.now(), Subject::Joined, |more| {
                    info!(%peer, name = name.to_string(), %host, entries, revision, more, "joined");
                });
            }
            Some(id) => {
                let changed = self.registry.replace(id, entry).map_err(full)?;
                let revision = self.registry.revision();
                if changed {
                    self.log.say(net.now(), Subject::Registered, |more| {
                        info!(%peer, name = name.to_string(), %host, revision, more, "registered anew");
                    });
                } else {
                    debug!(%peer, name = name.to_string(), "registered again, with no change");
                }
            }
        }
        self.stats.registrations += 1;
        session.owes_list = true;
        if !listed {
            self.log.say(net.now(), Subject::Unlisted, |more| {
                warn!(%peer, name = name.to_string(), more, "registered without a port from 1 to 65535: not listed");
            });
        }
        Ok(())
    }

    fn refuse(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        packet: &Packet<'_>,
        frame: &[u8],
        why: &Refusal,
    ) {
        self.stats.refused_packets += 1;
        let peer = self.peer(conn);
        self.log.say(net.now(), Subject::Refused(why.code), |more| {
            let frame = Escaped::bytes(frame);
            warn!(%peer, errorcode = why.code as u8, why = &*why.message, frame = frame.to_string(), more, "refused a packet");
        });
        if let Some(mut reply) = net.send(conn) {
            // Writing to a queue does not fail.
            let _ = write_error(&mut reply, packet, why);
            reply.finish();
        }
        // Who is over a limit is closed, so that it tries again and somebody notices. Who is
        // registered keeps what it has.
        let is_registered = self
            .sessions
            .get(conn)
            .is_some_and(|session| session.entry.is_some());
        if why.code == ErrorCode::TooMuch && !is_registered {
            net.close(conn, Close::AfterFlush);
        }
    }

    fn close_foreign(&mut self, net: &mut Net, conn: ConnId, what: &'static str, bytes: &[u8]) {
        self.stats.foreign_connections += 1;
        let peer = self.peer(conn);
        self.log.say(net.now(), Subject::Foreign, |more| {
            let bytes = Escaped::bytes(bytes);
            warn!(%peer, bytes = bytes.to_string(), more, "closed: what came is {what}");
        });
        net.close(conn, Close::AfterFlush);
    }

    fn peer(&self, conn: ConnId) -> SocketAddr {
        let unknown = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        self.sessions
            .get(conn)
            .map_or(unknown, |session| session.peer)
    }

    fn report_limits(&mut self, net: &Net) {
        let counters = net.counters();
        if counters.refused + counters.shed > self.refused_before {
            self.refused_before = counters.refused + counters.shed;
            let limit = net.limits().max_connections;
            let (refused, shed) = (counters.refused, counters.shed);
            self.log.say(net.now(), Subject::Connections, |_| {
                warn!(
                    limit,
                    refused, shed, "refused connections: there are as many as allowed"
                );
            });
        }
        if counters.accept_failures > self.accept_failures_before {
            self.accept_failures_before = counters.accept_failures;
            let failures = counters.accept_failures;
            self.log.say(net.now(), Subject::Accept, |_| {
                warn!(
                    failures,
                    "could not accept: out of file descriptors or memory; trying on"
                );
            });
        }
    }
}

impl Handler for Distributor {
    fn on_open(&mut self, net: &mut Net, conn: ConnId, _origin: Origin) {
        let Some(peer) = net.peer_addr(conn) else {
            return;
        };
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        debug!(%peer, "connected");
        self.sessions.insert(conn, Session::new(peer));
        self.push.owe(conn);
    }

    fn on_frame(&mut self, net: &mut Net, conn: ConnId, frame: &[u8]) {
        let packet = match Packet::parse(frame) {
            Ok(packet) => packet,
            Err(why) => {
                return match foreign_protocol(frame) {
                    Some(what) => self.close_foreign(net, conn, what, frame),
                    None => self.refuse(net, conn, &Packet::default(), frame, &why),
                };
            }
        };
        if packet.is_reply() {
            return;
        }
        let uri = packet.uri();
        let method = packet.method();
        let done = match (uri.as_deref(), method.as_deref()) {
            (Some(DISTRIBUTES), Some("POST")) => self
                .register(net, conn, &packet)
                .map(|()| self.push.owe(conn)),
            (Some(DISTRIBUTES), Some("GET")) => {
                if let Some(session) = self.sessions.get_mut(conn) {
                    session.get_key = Some(packet.key().map_or("null", |key| key.get()).into());
                    // One list at a time: what it asks next is read when this one was sent.
                    net.pause(conn);
                    self.push.owe(conn);
                }
                Ok(())
            }
            _ => Err(Refusal {
                code: ErrorCode::NotFound,
                message: "here is only /distributes, with POST and GET".into(),
            }),
        };
        if let Err(why) = done {
            self.refuse(net, conn, &packet, frame, &why);
        }
    }

    fn on_first_bytes(&mut self, net: &mut Net, conn: ConnId, bytes: &[u8]) {
        if let Some(what) = foreign_protocol(bytes) {
            self.close_foreign(net, conn, what, bytes);
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
        if let Some(mut reply) = net.send(conn) {
            // Writing to a queue does not fail.
            let _ = write_error(&mut reply, &Packet::default(), &refusal);
            reply.finish();
        }
    }

    fn on_drained(&mut self, net: &mut Net, conn: ConnId) {
        self.catch_up(net, conn);
    }

    fn on_close(&mut self, net: &mut Net, conn: ConnId, why: CloseReason) {
        let Some(session) = self.sessions.remove(conn) else {
            return;
        };
        let peer = session.peer;
        if let Some(subject) = Subject::of_limit(why) {
            self.log.say(net.now(), subject, |more| {
                warn!(%peer, more, "closed: {}", log::in_words(why));
            });
        }
        if self.is_stopping {
            return;
        }
        let cause = match why {
            CloseReason::PeerVanished => Cause::Silent,
            _ => Cause::Closed,
        };
        let left = session.entry.and_then(|id| self.registry.leave(id, cause));
        match left {
            Some(entry) => {
                let name = Escaped::text(&entry.name);
                let (entries, revision) = (self.registry.len(), self.registry.revision());
                let reason = log::in_words(why);
                self.log.say(net.now(), Subject::Left, |more| {
                    info!(%peer, name = name.to_string(), %cause, reason, entries, revision, more, "left");
                });
            }
            None => debug!(%peer, reason = log::in_words(why), "disconnected"),
        }
    }

    fn on_timer(&mut self, _net: &mut Net, timer: TimerId, _tag: u64) {
        self.push.timer_rang(timer);
    }

    fn on_turn_end(&mut self, net: &mut Net) {
        self.report_limits(net);
        if !self.is_stopping {
            self.send_owed(net);
            self.push_changes(net);
            self.cut_the_farthest_behind(net);
        }
    }
}

/// What stands as `host` in the entry of a peer with this address.
fn listed_host(peer: IpAddr, loopback_host: Option<&str>) -> String {
    let peer = peer.to_canonical();
    if peer.is_loopback() {
        if let Some(host) = loopback_host {
            return host.to_owned();
        }
        if peer.is_ipv6() {
            // Who listens on both finds the other; who listens on one mostly means this one.
            return Ipv4Addr::LOCALHOST.to_string();
        }
    }
    peer.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_written_as_existing_peers_can_dial_them() {
        let host = |peer: &str| listed_host(peer.parse().unwrap(), None);
        assert_eq!(host("10.1.2.3"), "10.1.2.3");
        assert_eq!(host("::ffff:10.1.2.3"), "10.1.2.3");
        assert_eq!(host("::1"), "127.0.0.1");
        assert_eq!(host("::ffff:127.0.0.1"), "127.0.0.1");
        assert_eq!(host("127.0.0.2"), "127.0.0.2");
        assert_eq!(host("2001:db8::7"), "2001:db8::7");
    }

    #[test]
    fn a_loopback_host_stands_for_this_machine_only() {
        let host = |peer: &str| listed_host(peer.parse().unwrap(), Some("10.9.9.9"));
        assert_eq!(host("127.0.0.1"), "10.9.9.9");
        assert_eq!(host("::1"), "10.9.9.9");
        assert_eq!(host("10.1.2.3"), "10.1.2.3");
    }
}
