//! Taking a node in.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};

use super::Distributor;
use super::admission::Claim;
use super::admission::TokenMark;
use super::events::{Event, Subject};
use super::orphans::OrphanClaim;
use super::peer::Session;
use super::state::Identity;
use crate::protocol::{
    ErrorCode, Packet, Refusal, Registered, Registration, SessionRequest, Watch, write_success,
};
use crate::reactor::{Close, ConnId, Net};
use crate::registry::{Entry, EntryId, Full};

impl Distributor {
    /// Serves a registration. Its sender, and all others, get the list at the end of the turn.
    pub(super) fn register(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        packet: &Packet<'_>,
    ) -> Result<(), Refusal> {
        let request = packet.session().map(SessionRequest::parse).transpose()?;
        let token = request.as_ref().and_then(|request| request.token.as_ref());
        self.admit(conn, token)?;
        let registration = Registration::check(packet.params(), &self.config.registration)?;
        self.check_binding(conn, &registration)?;
        let instance = request
            .as_ref()
            .and_then(|request| request.instance.as_deref());
        let Some(peer) = self.peers.get(conn) else {
            return Ok(());
        };
        let (own, token) = (peer.entry, peer.token.as_deref().copied());
        let addr = peer.addr.ip();
        let host_addr = one_loopback(addr);
        let held = match instance {
            Some(instance) => self.claim(net, conn, instance, token)?,
            None => None,
        };
        let host = listed_host(addr, self.config.loopback_host.as_deref());
        let mut encoded = Vec::new();
        registration.write_with_host(&mut encoded, &host);
        let entry = Entry {
            encoded: encoded.into(),
            name: registration.name().into(),
            listed: registration.port().is_some(),
        };
        // A node that only calls others has a session and no port: it need not be warned of that.
        if !entry.listed && request.is_none() {
            let subject = Subject {
                peer: Some(self.addr_of(conn)),
                name: registration.name(),
                entry: None,
            };
            self.events
                .emit(net.now(), &self.registry, subject, Event::NotListed);
        }
        let place = match held.map(|(_, id)| id).or(own) {
            Some(id) => Some(id),
            None => match self.claimable(&entry, instance, host_addr, token) {
                OrphanClaim::None => None,
                OrphanClaim::Entry(id) => Some(id),
                OrphanClaim::NotAllowed => return Err(not_the_same()),
            },
        };
        let orphaned = place.and_then(|id| Some((id, self.adopt(id)?)));
        let id = match self.put(net, conn, place, entry, &host) {
            Ok(id) => id,
            Err(full) => {
                self.emit(net, Some(conn), Event::CapacityExceeded);
                if let Some((id, why)) = orphaned {
                    self.abandon(id, why);
                }
                return Err(full);
            }
        };
        if orphaned.is_some() {
            self.emit(net, Some(conn), Event::Claimed);
        }
        // Not before there is room for what the new connection says of itself.
        if let Some((from, _)) = held {
            self.supersede(net, conn, from);
        }

        let now = net.now();
        if let Some(peer) = self.peers.get_mut(conn) {
            peer.is_registered = true;
            // Those with a session know what they were sent, and get what is new.
            peer.owes_list = peer.session.is_none();
        }
        if let Some(request) = &request {
            self.open_session(net, conn, packet, request, id);
            if let Some(instance) = instance {
                self.instances
                    .hold(instance, conn, id, host_addr, token, now);
                self.drain_returned(instance, conn);
            }
            let session = self.peers.get(conn).and_then(|peer| peer.session.as_ref());
            if let Some(revision) = session.map(|session| session.acked_revision) {
                self.drain_acked(net, conn, revision);
            }
        }
        let session = self.peers.get(conn).and_then(|peer| peer.session.as_ref());
        let identity = Identity {
            address: host_addr,
            instance: session.and_then(|session| session.instance.clone()),
            token,
        };
        self.identities.insert(id, identity);
        self.saving.changed();
        Ok(())
    }

    /// The other connection that holds the entry of `instance`, if `conn` may take it over.
    fn claim(
        &mut self,
        net: &Net,
        conn: ConnId,
        instance: &str,
        token: Option<TokenMark>,
    ) -> Result<Option<(ConnId, EntryId)>, Refusal> {
        let Some(peer) = self.peers.get(conn) else {
            return Ok(None);
        };
        let host = one_loopback(peer.addr.ip());
        let refused = |code, message: &'static str| {
            let message = Cow::Borrowed(message);
            Err(Refusal { code, message })
        };
        match self.instances.claim(instance, conn, host, token, net.now()) {
            Claim::Free => Ok(None),
            Claim::Held { .. } if peer.entry.is_some() => refused(
                ErrorCode::NotAllowed,
                "this instance has another connection, and this connection an entry of its own",
            ),
            Claim::Held { by, entry } => Ok(Some((by, entry))),
            Claim::NotAllowed => Err(not_the_same()),
            Claim::TooOften => refused(
                ErrorCode::Busy,
                "this instance was taken over more than 3 times within a minute",
            ),
        }
    }

    /// The entry of `from` is that of `conn` now.
    fn supersede(&mut self, net: &mut Net, conn: ConnId, from: ConnId) {
        let before = self.addr_of(from);
        if let Some(old) = self.peers.get_mut(from) {
            old.entry = None;
        }
        self.registry.superseded();
        self.emit(net, Some(conn), Event::Superseded { before });
        net.close(from, Close::Now);
    }

    /// Enters `entry` for `conn`, in the place of another if there is one.
    fn put(
        &mut self,
        net: &Net,
        conn: ConnId,
        place: Option<EntryId>,
        entry: Entry,
        host: &str,
    ) -> Result<EntryId, Refusal> {
        let full = |full: Full| Refusal {
            code: ErrorCode::TooMuch,
            message: full.to_string().into(),
        };
        let name = entry.name.clone();
        let (id, event) = match place {
            None => {
                let id = self.registry.join(entry).map_err(full)?;
                (id, Event::Joined { host })
            }
            Some(id) => {
                let changed = self.registry.replace(id, entry).map_err(full)?;
                let event = if changed {
                    Event::Changed { host }
                } else {
                    Event::Unchanged
                };
                (id, event)
            }
        };
        let subject = Subject {
            peer: Some(self.addr_of(conn)),
            name: &name,
            entry: Some(id),
        };
        self.events.emit(net.now(), &self.registry, subject, event);
        if let Some(peer) = self.peers.get_mut(conn) {
            peer.entry = Some(id);
        }
        Ok(id)
    }

    /// Gives `conn` the session that it asked for, and says so.
    fn open_session(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        packet: &Packet<'_>,
        request: &SessionRequest<'_>,
        id: EntryId,
    ) {
        self.emit_session_ended(net, conn);
        let opened_at_push = self.pushes.pushed_revision();
        let Some(peer) = self.peers.get_mut(conn) else {
            return;
        };
        // Who names another instance than before holds that one no more.
        if let Some(before) = peer
            .session
            .as_ref()
            .and_then(|session| session.instance.as_deref())
            && request.instance.as_deref() != Some(before)
        {
            self.instances.release(before, conn);
        }
        // A list without a session has no ids: what it says can't be changed by a delta.
        let known = request.rev.filter(|rev| {
            request.epoch.as_deref() == Some(self.epoch.as_str())
                && self.is_complete
                // Who was told that others may be missing is to hear that none is: by a list.
                && *rev > self.incomplete_revision
                && self.registry.delta_since(*rev).is_some()
        });
        peer.listed_revision = known;
        // No push need follow: a node that takes its entry over as it was changes nothing.
        peer.owes_list = request.watch != Watch::None && known != Some(self.registry.revision());
        peer.session = Some(Box::new(Session {
            watch: request.watch,
            instance: request.instance.as_deref().map(Into::into),
            acked_revision: known.unwrap_or(0),
            opened_at_push,
            heard_at: net.now(),
            was_told_incomplete: false,
            needs_list: false,
        }));
        let results = Registered {
            id: id.number(),
            epoch: Cow::Borrowed(&self.epoch),
            rev: self.registry.revision(),
            heartbeat_ms: super::millis(self.config.heartbeat),
        };
        if let Some(mut reply) = net.send(conn) {
            // Writing to a queue does not fail.
            let _ = write_success(&mut reply, packet.key(), &results);
            reply.finish();
        }
    }
}

fn not_the_same() -> Refusal {
    let message = "this instance is registered from another host, or with another token";
    Refusal::new(ErrorCode::NotAllowed, message)
}

/// Programs that say `localhost` arrive over either family, now the one and then the other.
fn one_loopback(addr: IpAddr) -> IpAddr {
    match addr.is_ipv6() && addr.is_loopback() {
        true => Ipv4Addr::LOCALHOST.into(),
        false => addr,
    }
}

/// What stands as `host` in the entry of a peer with this address.
fn listed_host(addr: IpAddr, loopback_host: Option<&str>) -> String {
    let addr = addr.to_canonical();
    if addr.is_loopback() {
        if let Some(host) = loopback_host {
            return host.to_owned();
        }
        if addr.is_ipv6() {
            // Who listens on both finds the other; who listens on one mostly means this one.
            return Ipv4Addr::LOCALHOST.to_string();
        }
    }
    addr.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_written_as_existing_peers_can_dial_them() {
        let host = |addr: &str| listed_host(addr.parse().unwrap(), None);
        assert_eq!(host("10.1.2.3"), "10.1.2.3");
        assert_eq!(host("::ffff:10.1.2.3"), "10.1.2.3");
        assert_eq!(host("::1"), "127.0.0.1");
        assert_eq!(host("::ffff:127.0.0.1"), "127.0.0.1");
        assert_eq!(host("127.0.0.2"), "127.0.0.2");
        assert_eq!(host("2001:db8::7"), "2001:db8::7");
    }

    #[test]
    fn a_loopback_host_stands_for_this_machine_only() {
        let host = |addr: &str| listed_host(addr.parse().unwrap(), Some("10.9.9.9"));
        assert_eq!(host("127.0.0.1"), "10.9.9.9");
        assert_eq!(host("::1"), "10.9.9.9");
        assert_eq!(host("10.1.2.3"), "10.1.2.3");
    }
}
