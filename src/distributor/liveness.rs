//! Who is alive among those with a session, and when the Distributor itself knows everybody.

use std::time::Duration;

use super::events::{Event, Subject};
use super::identities::Unclaimed;
use super::peer::Peer;
use super::self_preservation::Suspect;
use super::{Distributor, TAG_SILENCE, TAG_WARM_UP_ENDS};
use crate::protocol::{Applied, ErrorCode, Packet, Refusal, write_success};
use crate::reactor::{Close, CloseReason, ConnId, Net};
use crate::registry::{Cause, EntryId};
use crate::time::Time;
use serde_json::json;

/// How exactly silence is noticed.
pub(super) const SILENCE_CHECK: Duration = Duration::from_millis(500);

/// Who is not back is told before the list is told to be complete: as what it is, and not only by
/// being missing in the next list.
const ABSENT_BEFORE_COMPLETE: Duration = Duration::from_millis(50);

impl Distributor {
    /// Something came of it, whatever it is.
    pub(super) fn hear(&mut self, net: &Net, conn: ConnId) {
        let peer = self.peers.get_mut(conn);
        if peer.is_some_and(|peer| peer.hear(net.now())) {
            self.emit(net, Some(conn), Event::Recovered);
        }
    }

    /// Notes what a session has applied.
    pub(super) fn heartbeat(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        packet: &Packet<'_>,
    ) -> Result<(), Refusal> {
        let applied = Applied::parse(packet.session());
        let peer = self.peers.get_mut(conn);
        let sent = peer.as_ref().and_then(|peer| peer.listed_revision);
        let session = peer.and_then(|peer| peer.session.as_mut());
        let (Some(applied), Some(session)) = (applied, session) else {
            return Err(Refusal {
                code: ErrorCode::InvalidParameters,
                message: "a heartbeat is for those with a session, and names its rev".into(),
            });
        };
        // Nobody has applied what it was not sent, whatever revision of another epoch it knows.
        let awaited_from = session.acked_revision.max(session.opened_at_push);
        session.acked_revision = applied.rev.min(sent.unwrap_or(0));
        let acked = session.acked_revision;
        if acked > awaited_from {
            let acknowledged = Event::Acknowledged {
                from: awaited_from,
                to: acked,
            };
            self.emit(net, Some(conn), acknowledged);
        }
        if packet.key().is_some()
            && let Some(mut reply) = net.send(conn)
        {
            let results = json!({ "rev": self.registry.revision() });
            // Writing to a queue does not fail.
            let _ = write_success(&mut reply, packet.key(), &results);
            reply.finish();
        }
        self.drain_acked(net, conn, acked);
        Ok(())
    }

    /// Closes the connections of those with a session who have been silent for too long, or holds
    /// them if they are many.
    pub(super) fn drop_silent(&mut self, net: &mut Net) {
        let (now, silence) = (net.now(), self.config.silence);
        self.self_preservation
            .note_stalls(now, net.counters().stalls);
        let quiet_for = |peer: &Peer| peer.quiet_for(now);
        let fallen: Vec<ConnId> = self
            .peers
            .iter_mut()
            .filter(|(_, peer)| quiet_for(peer).is_some_and(|quiet| quiet >= silence))
            .map(|(conn, _)| conn)
            .collect();
        let is_node = |conn: &&ConnId| {
            self.peers
                .get(**conn)
                .is_some_and(|peer| peer.entry.is_some())
        };
        let nodes = fallen.iter().filter(is_node).count();
        let holds = nodes > 0 && self.holds_silent(net, nodes);
        for conn in fallen {
            let Some(peer) = self.peers.get_mut(conn) else {
                continue;
            };
            match peer.entry {
                Some(id) if holds => {
                    peer.is_suspect = true;
                    self.note_suspect(net, id);
                    self.self_preservation.hold(now, Suspect::Connected(conn));
                }
                _ => {
                    peer.is_silent = true;
                    net.close(conn, Close::Now);
                }
            }
        }
        self.let_one_suspect_go(net);
        self.arm(net, now + SILENCE_CHECK, TAG_SILENCE);
    }

    /// What the end of this connection says of the node.
    pub(super) fn cause_of(&self, now: Time, peer: &Peer, why: CloseReason) -> Cause {
        let is_late = || peer.quiet_for(now) >= Some(self.lateness());
        match why {
            CloseReason::PeerVanished => Cause::Silent,
            // It neither takes anything nor says anything.
            CloseReason::WriteTimeout if peer.is_suspect || is_late() => Cause::Silent,
            _ if peer.is_silent => Cause::Silent,
            _ => Cause::Closed,
        }
    }

    /// Nodes send heartbeats up to a fifth later than they are told: by this one is missing.
    fn lateness(&self) -> Duration {
        self.config.heartbeat * 3 / 2
    }

    /// Whether so many, who fell silent now, are to be held.
    pub(super) fn holds_silent(&mut self, net: &Net, fallen: usize) -> bool {
        let (now, late) = (net.now(), self.lateness());
        self.self_preservation
            .note_stalls(now, net.counters().stalls);
        // Those who are late already may be next. Once some are held, so are all who follow.
        let falling = match self.self_preservation.is_holding() {
            true => 0,
            false => {
                let silence = self.config.silence;
                let is_falling = |peer: &Peer| {
                    let quiet = peer.quiet_for(now);
                    let is_late = quiet.is_some_and(|quiet| late <= quiet && quiet < silence);
                    is_late && peer.entry.is_some()
                };
                let peers = self.peers.iter_mut();
                peers.filter(|(_, peer)| is_falling(peer)).count()
            }
        };
        let was_holding = self.self_preservation.is_holding();
        let holds = self
            .self_preservation
            .holds(now, fallen, falling, self.registry.len());
        if holds && !was_holding {
            let entered = Event::SelfPreservationEntered {
                silent: fallen,
                late: falling,
            };
            self.emit(net, None, entered);
        }
        holds
    }

    /// Holds an entry whose connection is gone.
    pub(super) fn hold_orphan(&mut self, net: &Net, id: EntryId, was_suspect: bool) {
        if !was_suspect {
            self.note_suspect(net, id);
        }
        self.self_preservation
            .hold(net.now(), Suspect::Unclaimed(id));
        self.identities.detach(id, &self.registry);
    }

    fn note_suspect(&mut self, net: &Net, id: EntryId) {
        let subject = Subject {
            peer: None,
            name: self.registry.get(id).map_or("", |entry| &*entry.name),
            entry: Some(id),
        };
        self.events
            .emit(net.now(), &self.registry, subject, Event::Suspected);
    }

    fn let_one_suspect_go(&mut self, net: &mut Net) {
        let (peers, identities) = (&self.peers, &self.identities);
        let is_suspect = |suspect| match suspect {
            Suspect::Connected(conn) => peers
                .get(conn)
                .is_some_and(|peer| peer.is_suspect && peer.entry.is_some()),
            Suspect::Unclaimed(id) => identities.unclaimed(id) == Some(Unclaimed::Suspect),
        };
        match self.self_preservation.evict_one(net.now(), is_suspect) {
            Some(Suspect::Connected(conn)) => {
                if let Some(peer) = self.peers.get_mut(conn) {
                    peer.is_silent = true;
                }
                net.close(conn, Close::Now);
            }
            Some(Suspect::Unclaimed(id)) => {
                self.depart(net, id, None, Cause::Silent, "its host does not answer");
            }
            None => {}
        }
    }

    /// From now on everybody gets time to come back. Those who are there keep whom they know.
    pub(super) fn begin_warm_up(&mut self, net: &mut Net) {
        self.is_complete = false;
        self.emit(net, None, Event::WarmUpBegan);
        self.warm_up_until(net, net.now() + self.config.warm_up);
        for (_, peer) in self.peers.iter_mut() {
            if let Some(session) = &mut peer.session {
                session.needs_list = true;
            }
        }
    }

    /// Has the warm-up end then, and not when it would have.
    pub(super) fn warm_up_until(&mut self, net: &mut Net, end: Time) {
        self.warms_up_until = end;
        let timer = self.arm(net, end, TAG_WARM_UP_ENDS);
        if let Some(before) = self.warm_up_timer.replace(timer) {
            net.disarm(before);
        }
    }

    /// Whether this process stood still for so long that nodes with a session have given it up. Their
    /// old connections are told as ended before their new ones are served.
    pub(super) fn look_for_standstill(&mut self, net: &mut Net) {
        let stood_still = net.now().saturating_since(self.turned_at);
        self.turned_at = net.now();
        if stood_still >= (self.config.heartbeat * 3 / 2).max(2 * SILENCE_CHECK) {
            self.emit(net, None, Event::Stalled(stood_still));
            self.begin_warm_up(net);
        }
    }

    /// Everybody who was there before has had the time to come back.
    pub(super) fn warm_up_is_over(&mut self, net: &mut Net) {
        let absent = self.identities.absent();
        for id in &absent {
            let reason = "it did not come back after the restart";
            self.depart(net, *id, None, Cause::Absent, reason);
        }
        if !absent.is_empty() {
            self.warm_up_until(net, net.now() + ABSENT_BEFORE_COMPLETE);
        } else {
            self.end_warm_up();
            self.emit(net, None, Event::WarmUpEnded);
        }
    }

    fn end_warm_up(&mut self) {
        self.is_complete = true;
        self.incomplete_revision = self.registry.revision();
        let was_told = |peer: &Peer| {
            peer.session
                .as_ref()
                .is_some_and(|session| session.was_told_incomplete)
        };
        if !self.peers.iter_mut().any(|(_, peer)| was_told(peer)) {
            return;
        }
        // That the list is complete is news to those who were told otherwise, and to them alone.
        let before = self.registry.revision();
        self.registry.renew();
        for (_, peer) in self.peers.iter_mut() {
            let knows = peer
                .session
                .as_ref()
                .is_none_or(|session| !session.was_told_incomplete);
            if knows && peer.listed_revision == Some(before) {
                peer.listed_revision = Some(self.registry.revision());
            }
        }
    }
}
