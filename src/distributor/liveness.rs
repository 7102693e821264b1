//! Who is alive among those with a session, and when the Distributor itself knows everybody.

use std::time::Duration;

use serde_json::json;
use tracing::{info, warn};

use super::log::{Escaped, Subject};
use super::observer::{About, What};
use super::orphans::Why;
use super::self_preservation::Suspect;
use super::session::Session;
use super::{Distributor, TAG_SILENCE, TAG_WARM_UP_ENDS};
use crate::protocol::{Applied, ErrorCode, Packet, Refusal, write_success};
use crate::reactor::{Close, CloseReason, ConnId, Net};
use crate::registry::{Cause, EntryId};
use crate::time::Time;

/// How exactly silence is noticed.
pub(super) const SILENCE_CHECK: Duration = Duration::from_millis(500);

/// Who is not back is told before the list is told to be complete: as what it is, and not only by
/// being missing in the next list.
const ABSENT_BEFORE_COMPLETE: Duration = Duration::from_millis(50);

impl Distributor {
    /// Something came of it, whatever it is.
    pub(super) fn hear(&mut self, net: &Net, conn: ConnId) {
        let session = self.sessions.get_mut(conn);
        if session.is_some_and(|session| session.hear(net.now())) {
            let peer = self.peer(conn);
            self.note_conn(net.now(), What::Heard, conn);
            self.log.say(net.now(), Subject::Suspect, |more| {
                info!(%peer, more, "suspect no more: it was heard of");
            });
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
        let session = self.sessions.get_mut(conn);
        let sent = session.as_ref().and_then(|session| session.listed_revision);
        let link = session.and_then(|session| session.link.as_mut());
        let (Some(applied), Some(link)) = (applied, link) else {
            return Err(Refusal {
                code: ErrorCode::InvalidParameters,
                message: "a heartbeat is for those with a session, and names its rev".into(),
            });
        };
        // Nobody has applied what it was not sent, whatever revision of another epoch it knows.
        let awaited_from = link.acked_revision.max(link.opened_at_push);
        link.acked_revision = applied.rev.min(sent.unwrap_or(0));
        let acked = link.acked_revision;
        if acked > awaited_from {
            self.note_acked(net.now(), awaited_from, acked);
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
        let quiet_for = |session: &Session| session.quiet_for(now);
        let fallen: Vec<ConnId> = self
            .sessions
            .iter_mut()
            .filter(|(_, session)| quiet_for(session).is_some_and(|quiet| quiet >= silence))
            .map(|(conn, _)| conn)
            .collect();
        let is_node = |conn: &&ConnId| {
            self.sessions
                .get(**conn)
                .is_some_and(|session| session.entry.is_some())
        };
        let nodes = fallen.iter().filter(is_node).count();
        let holds = nodes > 0 && self.holds_silent(net, nodes);
        for conn in fallen {
            let Some(session) = self.sessions.get_mut(conn) else {
                continue;
            };
            match session.entry {
                Some(id) if holds => {
                    session.is_suspect = true;
                    self.note_suspect(net, id);
                    self.self_preservation.hold(now, Suspect::Connected(conn));
                }
                _ => {
                    session.is_silent = true;
                    net.close(conn, Close::Now);
                }
            }
        }
        self.let_one_suspect_go(net);
        net.arm(now + SILENCE_CHECK, TAG_SILENCE);
    }

    /// What the end of this connection says of the node.
    pub(super) fn cause_of(&self, now: Time, session: &Session, why: CloseReason) -> Cause {
        let is_late = || session.quiet_for(now) >= Some(self.lateness());
        match why {
            CloseReason::PeerVanished => Cause::Silent,
            // It neither takes anything nor says anything.
            CloseReason::WriteTimeout if session.is_suspect || is_late() => Cause::Silent,
            _ if session.is_silent => Cause::Silent,
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
                let is_falling = |session: &Session| {
                    let quiet = session.quiet_for(now);
                    let is_late = quiet.is_some_and(|quiet| late <= quiet && quiet < silence);
                    is_late && session.entry.is_some()
                };
                let sessions = self.sessions.iter_mut();
                sessions.filter(|(_, session)| is_falling(session)).count()
            }
        };
        let was_holding = self.self_preservation.is_holding();
        let holds = self
            .self_preservation
            .holds(now, fallen, falling, self.registry.len());
        if holds && !was_holding {
            let entries = self.registry.len();
            self.log.say(now, Subject::Suspicion, |more| {
                warn!(
                    fallen,
                    falling,
                    entries,
                    more,
                    "many nodes fell silent, or this process stood still: holding the silent as \
                     suspect, and letting one go a second"
                );
            });
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
        self.abandon(id, Why::Suspect);
    }

    fn note_suspect(&mut self, net: &Net, id: EntryId) {
        self.stats.suspects_held += 1;
        if let Some(entry) = self.registry.get(id) {
            let name = entry.name.clone();
            let about = About {
                peer: None,
                name: &name,
                entry: Some(id),
            };
            self.note(net.now(), What::Suspect, about);
            let name = Escaped::text(&name);
            self.log.say(net.now(), Subject::Suspect, |more| {
                info!(name = name.to_string(), more, "suspect");
            });
        }
    }

    fn let_one_suspect_go(&mut self, net: &mut Net) {
        let (sessions, orphans) = (&self.sessions, &self.orphans);
        let is_suspect = |suspect| match suspect {
            Suspect::Connected(conn) => sessions
                .get(conn)
                .is_some_and(|session| session.is_suspect && session.entry.is_some()),
            Suspect::Unclaimed(id) => orphans.is_suspect(id),
        };
        match self.self_preservation.evict_one(net.now(), is_suspect) {
            Some(Suspect::Connected(conn)) => {
                if let Some(session) = self.sessions.get_mut(conn) {
                    session.is_silent = true;
                }
                net.close(conn, Close::Now);
            }
            Some(Suspect::Unclaimed(id)) => self.let_orphan_go(net, id, Cause::Silent),
            None => {}
        }
    }

    /// From now on everybody gets time to come back. Those who are there keep whom they know.
    pub(super) fn begin_warm_up(&mut self, net: &mut Net) {
        self.is_complete = false;
        self.note(net.now(), What::WarmUpBegan, About::default());
        self.warm_up_until(net, net.now() + self.config.warm_up);
        for (_, session) in self.sessions.iter_mut() {
            if let Some(link) = &mut session.link {
                link.needs_list = true;
            }
        }
    }

    /// Has the warm-up end then, and not when it would have.
    pub(super) fn warm_up_until(&mut self, net: &mut Net, end: Time) {
        self.warms_up_until = end;
        let timer = net.arm(end, TAG_WARM_UP_ENDS);
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
            warn!(
                ?stood_still,
                "this process stood still: waiting for nodes to come back"
            );
            self.begin_warm_up(net);
        }
    }

    /// Everybody who was there before has had the time to come back.
    pub(super) fn warm_up_is_over(&mut self, net: &mut Net) {
        if self.let_absent_go(net) {
            self.warm_up_until(net, net.now() + ABSENT_BEFORE_COMPLETE);
        } else {
            self.end_warm_up();
            self.note(net.now(), What::WarmUpEnded, About::default());
        }
    }

    fn end_warm_up(&mut self) {
        self.is_complete = true;
        self.incomplete_revision = self.registry.revision();
        let was_told = |session: &Session| {
            session
                .link
                .as_ref()
                .is_some_and(|link| link.was_told_incomplete)
        };
        if !self
            .sessions
            .iter_mut()
            .any(|(_, session)| was_told(session))
        {
            return;
        }
        // That the list is complete is news to those who were told otherwise, and to them alone.
        let before = self.registry.revision();
        self.registry.renew();
        for (_, session) in self.sessions.iter_mut() {
            let knows = session
                .link
                .as_ref()
                .is_none_or(|link| !link.was_told_incomplete);
            if knows && session.listed_revision == Some(before) {
                session.listed_revision = Some(self.registry.revision());
            }
        }
    }
}
