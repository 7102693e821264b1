//! Membership: nodes that join, fall silent, and leave.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::value::RawValue;

use super::Distributor;
use super::drains::{DrainId, Requester};
use super::events::{Event, Subject};
use super::identities::{Identity, Unclaimed};
use super::liveness::{self, Health};
use super::peer::Session;
use super::self_preservation::Suspect;
use crate::protocol::{
    DrainRequest, ErrorCode, ONLY, Packet, Refusal, Registered, Registration, SessionRequest,
    Watch, write_reply,
};
use crate::reactor::{Close, ConnId, Net};
use crate::registry::{Cause, Entry, EntryId, Keys};

impl Distributor {
    /// Serves a registration. The sender and all watching peers receive the list at the end of the
    /// turn.
    pub(super) fn register(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        packet: &Packet<'_>,
    ) -> Result<(), Refusal> {
        let request = packet.session().map(SessionRequest::parse).transpose()?;
        let token = request.as_ref().and_then(|request| request.token.as_ref());
        let Some(peer) = self.peers.get_mut(conn) else {
            return Ok(());
        };
        let current = peer.authorization.as_ref();
        let authorization = self.admission.by_token(current, token)?;
        let authorization = peer.authorization.insert(authorization);
        if let Some(token) = token {
            peer.token = Some(Box::new(self.admission.mark(token)));
        }
        let registration = Registration::check(packet.params(), &self.config.registration)?;
        authorization.check(&registration)?;
        let instance = request
            .as_ref()
            .and_then(|request| request.instance.as_deref());
        let is_plain = request.is_none() && peer.session.is_none();
        let addr = peer.addr.ip();
        let mut identity = Identity {
            address: one_loopback(addr),
            instance: instance.map(Into::into),
            token: peer.token.as_deref().copied(),
        };
        let host = listed_host(addr, self.config.loopback_host.as_deref());
        let mut encoded = Vec::new();
        registration.write_with_host(&mut encoded, &host);
        let entry = Entry {
            encoded: encoded.into(),
            keys: Keys::of(&registration),
            listed: registration.port().is_some(),
            is_plain,
        };
        let claim =
            self.identities
                .claim(conn, peer.entry, &identity, &entry.encoded, net.now())?;
        // A node that only calls others has a session and no port: log no warning.
        let lacks_port = !entry.listed && request.is_none();
        let result = match claim.entry {
            None => {
                let joined = self.registry.join(entry);
                joined.map(|id| (id, Some(Event::Joined)))
            }
            Some(id) => {
                let replaced = self.registry.replace(id, entry);
                replaced.map(|is_changed| (id, is_changed.then_some(Event::Changed)))
            }
        };
        let (id, event) = result.map_err(|full| {
            self.events.stats.capacity_exceeded += 1;
            Refusal::new(ErrorCode::TooMuch, full.to_string())
        })?;
        self.events.stats.registrations += 1;
        if let Some(peer) = self.peers.get_mut(conn) {
            peer.entry = Some(id);
            peer.is_registered = true;
            // Sessions send the revision that they have: see `open_session`.
            peer.is_list_due = peer.session.is_none();
            if let Some(event) = event {
                let host = &*host;
                let subject = Subject {
                    host,
                    ..peer.subject(&self.registry)
                };
                self.events.emit(net.now(), &self.registry, subject, event);
            }
        }
        if claim.was_unclaimed {
            self.emit(net, Some(conn), Event::Claimed);
        }
        if let Some(from) = claim.take_over_from {
            self.supersede(net, conn, from);
        }
        if lacks_port {
            self.emit(net, Some(conn), Event::NotListed);
        }
        if let Some(request) = &request {
            self.open_session(net, conn, packet, request, id);
            if let Some(instance) = instance {
                self.drains.reconnected(instance, conn);
            }
        }
        self.peers.registered(conn);
        let session = self.peers.get(conn).and_then(|peer| peer.session.as_ref());
        identity.instance = session.and_then(|session| session.instance.clone());
        let acked = session.map(|session| session.acked_revision);
        self.identities.hold(id, conn, identity);
        self.persistence.changed(id);
        if let (Some(_), Some(revision)) = (&request, acked) {
            self.drains.acknowledged(net, conn, revision);
        }
        Ok(())
    }

    /// Transfers the entry of `from` to `conn`, and closes `from`.
    fn supersede(&mut self, net: &mut Net, conn: ConnId, from: ConnId) {
        if let Some(old) = self.peers.get_mut(from) {
            old.entry = None;
            let before = old.addr;
            self.registry.count_superseded();
            self.emit(net, Some(conn), Event::Superseded(before));
            net.close(from, Close::Now);
        }
    }

    /// Removes an entry from the list, if it is listed.
    pub(super) fn depart(
        &mut self,
        net: &Net,
        id: EntryId,
        peer: Option<SocketAddr>,
        cause: Cause,
        reason: &'static str,
    ) {
        self.persistence.changed(id);
        self.identities.remove(id);
        let Some(entry) = self.registry.leave(id, cause) else {
            return;
        };
        let subject = Subject {
            peer,
            name: &entry.keys.name,
            entry: Some(id),
            ..Subject::default()
        };
        let left = Event::Left(cause, reason);
        self.events.emit(net.now(), &self.registry, subject, left);
    }

    /// Removes the entry of a node, and replies once all sessions have acknowledged that.
    pub(super) fn drain(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        packet: &Packet<'_>,
    ) -> Result<(), Refusal> {
        let request = DrainRequest::parse(packet.params())?;
        // Otherwise a connection could begin any number of drains, by registering in between.
        if self.drains.is_pending(conn) {
            let message = "drain already pending: wait for its reply";
            return Err(Refusal::new(ErrorCode::Busy, message));
        }
        let Some(id) = self.peers.get(conn).and_then(|peer| peer.entry) else {
            let message = "nothing to drain: this connection has no registration";
            return Err(Refusal::new(ErrorCode::InvalidParameters, message));
        };
        let wait = Duration::from_millis(request.wait_ms);
        let requester = Some((conn, packet.key().map(ToOwned::to_owned)));
        self.begin_drain(net, &[id], wait, requester, "drained by the node");
        Ok(())
    }

    /// Removes entries from the list for a drain. The connections that hold them stay.
    pub(super) fn begin_drain(
        &mut self,
        net: &mut Net,
        ids: &[EntryId],
        wait: Duration,
        requester: Requester,
        reason: &'static str,
    ) -> DrainId {
        let entries = self.registry.select(ids);
        let keys: Vec<Keys> = entries.map(|(_, entry)| entry.keys.clone()).collect();
        for id in ids {
            let holder = self.identities.holder(*id);
            let peer = holder.and_then(|conn| self.peers.get_mut(conn));
            let addr = peer.map(|peer| {
                peer.entry = None;
                peer.addr
            });
            self.depart(net, *id, addr, Cause::Drained, reason);
        }
        let (owner, revision) = (self.claim_owner(net), self.registry.revision());
        let concerned = self.peers.concerned(&keys);
        self.drains
            .begin(net, owner, concerned, revision, wait, requester)
    }

    /// Opens the session that `conn` requested, and replies.
    fn open_session(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        packet: &Packet<'_>,
        request: &SessionRequest<'_>,
        id: EntryId,
    ) {
        self.record_session_end(net, conn);
        let opened_at_push = self.pushes.pushed_to_sessions();
        // A list without a session has no ids, so that a delta cannot change it.
        let known = request.rev.filter(|rev| {
            request.epoch.as_deref() == Some(self.epoch.as_str())
                // A session with an incomplete list needs a complete one.
                && self.warm_up.can_resume(*rev)
                && self.registry.changes_since(*rev).is_some()
        });
        let (before, before_only) = self.peers.subscription_of(conn).unzip();
        let subscriptions = &mut self.peers.subscriptions;
        let revision = self.registry.revision();
        let only = request.only.clone();
        let subscription = only.and_then(|only| subscriptions.add(conn, only, revision));
        if before != subscription
            && let Some(before) = before
        {
            subscriptions.remove(conn, before);
        }
        let Some(peer) = self.peers.get_mut(conn) else {
            return;
        };
        peer.awaits_first_list = false;
        // It may act by what it was sent before until it has the first list of the new session.
        let replaced = peer
            .session
            .take()
            .filter(|session| session.watch != Watch::None);
        let is_replaced = replaced.is_some() && before != subscription;
        peer.listed_revision = known;
        // A node that takes over its entry unchanged causes no push.
        peer.is_list_due = request.watch != Watch::None && known != Some(self.registry.revision());
        let mut session = Box::new(Session {
            watch: request.watch,
            instance: request.instance.as_deref().map(Into::into),
            acked_revision: known.unwrap_or(0),
            opened_at_push,
            received_at: net.now(),
            was_sent_incomplete: false,
            needs_list: false,
            subscription,
            next: None,
            former: replaced.map_or_else(Vec::new, |session| session.former),
        });
        if is_replaced {
            session.replaced(before_only, revision);
        }
        peer.session = Some(session);
        let results = Registered {
            id: id.number(),
            epoch: Cow::Borrowed(&self.epoch),
            rev: self.registry.revision(),
            heartbeat_ms: super::millis(self.config.heartbeat),
            features: request.only.iter().map(|_| ONLY.into()).collect(),
            only: (request.only.is_some() && subscription.is_none()).then_some(false),
        };
        let key = packet.key().map_or("null", RawValue::get);
        net.send_with(conn, |out| write_reply(out, key, &results));
    }

    /// Closes silent sessions, or holds them as suspect if they are many.
    pub(super) fn check_silence(&mut self, net: &mut Net) {
        let now = net.now();
        self.self_preservation
            .note_stalls(now, net.counters().stalls);
        let peers = self.peers.iter();
        let silent: Vec<(ConnId, Option<EntryId>)> = peers
            .filter(|(_, peer)| liveness::is_silent(&self.config, peer.quiet_for(now)))
            // A heartbeat may be in what is not read yet.
            .filter(|(conn, _)| !net.has_unread_input(*conn))
            .map(|(conn, peer)| (conn, peer.entry))
            .collect();
        let nodes = silent.iter().filter(|(_, entry)| entry.is_some()).count();
        let holds = nodes > 0 && self.holds_silent(net, nodes);
        for (conn, entry) in silent {
            match entry {
                Some(id) if holds => {
                    if let Some(peer) = self.peers.get_mut(conn) {
                        peer.health = Health::Suspect;
                    }
                    self.self_preservation.hold(now, Suspect::Connected(conn));
                    self.emit_suspected(net, id);
                }
                _ => self.close_silent(net, conn),
            }
        }
        self.evict_suspect(net);
        let owner = self.claim_owner(net);
        net.arm(owner, now + liveness::CHECK_INTERVAL, liveness::TAG);
    }

    fn close_silent(&mut self, net: &mut Net, conn: ConnId) {
        if let Some(peer) = self.peers.get_mut(conn) {
            peer.health = Health::Silent;
        }
        net.close(conn, Close::Now);
    }

    /// Returns whether silent nodes are held as suspects, now that `silent` more fell silent.
    pub(super) fn holds_silent(&mut self, net: &Net, silent: usize) -> bool {
        let now = net.now();
        let mode = &mut self.self_preservation;
        mode.note_stalls(now, net.counters().stalls);
        let was_holding = mode.is_holding();
        // Overdue nodes may fall silent next. Once some are held, so are all that follow.
        let mut overdue = 0;
        if !was_holding {
            let peers = self.peers.iter().filter(|(_, peer)| peer.entry.is_some());
            let quiet = peers.map(|(_, peer)| peer.quiet_for(now));
            let is_overdue = |quiet: &Option<Duration>| {
                liveness::is_overdue(&self.config, *quiet)
                    && !liveness::is_silent(&self.config, *quiet)
            };
            overdue = quiet.filter(is_overdue).count();
        }
        let holds = mode.holds(now, silent, overdue, self.registry.len());
        if holds && !was_holding {
            self.emit(
                net,
                None,
                Event::SelfPreservationEntered { silent, overdue },
            );
        }
        holds
    }

    pub(super) fn emit_suspected(&mut self, net: &Net, id: EntryId) {
        let subject = Subject {
            name: self.registry.get(id).map_or("", |entry| &*entry.keys.name),
            entry: Some(id),
            ..Subject::default()
        };
        self.events
            .emit(net.now(), &self.registry, subject, Event::Suspected);
    }

    fn evict_suspect(&mut self, net: &mut Net) {
        let (peers, identities) = (&self.peers, &self.identities);
        let is_suspect = |suspect| match suspect {
            Suspect::Connected(conn) => peers
                .get(conn)
                .is_some_and(|peer| peer.health == Health::Suspect && peer.entry.is_some()),
            Suspect::Unclaimed(id) => identities.unclaimed(id) == Some(Unclaimed::Suspect),
        };
        match self.self_preservation.evict_one(net.now(), is_suspect) {
            // A heartbeat may be in what is not read yet.
            Some(suspect @ Suspect::Connected(conn)) if net.has_unread_input(conn) => {
                self.self_preservation.hold(net.now(), suspect);
            }
            Some(Suspect::Connected(conn)) => self.close_silent(net, conn),
            Some(Suspect::Unclaimed(id)) => {
                self.depart(net, id, None, Cause::Silent, "peer host unreachable");
            }
            None => {}
        }
    }
}

/// Returns one address for both loopbacks: programs that use `localhost` connect over either
/// family.
fn one_loopback(addr: IpAddr) -> IpAddr {
    if addr.is_ipv6() && addr.is_loopback() {
        Ipv4Addr::LOCALHOST.into()
    } else {
        addr
    }
}

/// Returns the `host` in the entry of a peer with this address.
fn listed_host(addr: IpAddr, loopback_host: Option<&str>) -> String {
    let addr = addr.to_canonical();
    match loopback_host {
        Some(host) if addr.is_loopback() => host.to_owned(),
        // Most programs that listen on one family listen on IPv4.
        _ => one_loopback(addr).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_hosts_as_existing_peers_can_dial_them() {
        let host = |addr: &str| listed_host(addr.parse().unwrap(), None);
        assert_eq!(host("10.1.2.3"), "10.1.2.3");
        assert_eq!(host("::ffff:10.1.2.3"), "10.1.2.3");
        assert_eq!(host("::1"), "127.0.0.1");
        assert_eq!(host("::ffff:127.0.0.1"), "127.0.0.1");
        assert_eq!(host("127.0.0.2"), "127.0.0.2");
        assert_eq!(host("2001:db8::7"), "2001:db8::7");
    }

    #[test]
    fn applies_a_loopback_host_to_this_machine_only() {
        let host = |addr: &str| listed_host(addr.parse().unwrap(), Some("10.9.9.9"));
        assert_eq!(host("127.0.0.1"), "10.9.9.9");
        assert_eq!(host("::1"), "10.9.9.9");
        assert_eq!(host("10.1.2.3"), "10.1.2.3");
    }
}
