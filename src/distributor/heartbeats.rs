//! Heartbeats: what sessions have applied, and their subscriptions.

use serde_json::json;

use super::Distributor;
use super::peer::{NextSubscription, Peer};
use crate::protocol::{Applied, ErrorCode, Packet, Refusal, Subscription, Watch, write_reply};
use crate::reactor::{ConnId, Net};

impl Distributor {
    /// Records the revision that a session has applied.
    pub(super) fn heartbeat(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        packet: &Packet<'_>,
    ) -> Result<(), Refusal> {
        let applied = Applied::parse(packet.session())?;
        let peer = self.peers.get_mut(conn);
        let sent = peer.as_ref().and_then(|peer| peer.listed_revision);
        let session = peer.and_then(|peer| peer.session.as_mut());
        let (Some(applied), Some(session)) = (applied, session) else {
            let message = "invalid heartbeat: open a session, and set `session.rev`";
            return Err(Refusal::new(ErrorCode::InvalidParameters, message));
        };
        if applied.only.is_some() && session.watch == Watch::None {
            let message = "session: only without updates: register with watch list or delta";
            return Err(Refusal::new(ErrorCode::InvalidParameters, message));
        }
        // A session cannot have applied a revision that was not sent to it: that revision is of
        // another epoch.
        let from = session.acked_revision.max(session.opened_at_push);
        session.acked_revision = applied.rev.min(sent.unwrap_or(0));
        let to = session.acked_revision;
        self.peers.acknowledged(conn, to);
        if to > from
            && let Some(journal) = &mut self.events.journal
        {
            let peer = self.peers.get(conn);
            match peer.and_then(|peer| self.peers.shared_by(peer)) {
                Some(shared) => {
                    let pushed = shared.pushed_between(from, to);
                    journal.pushes.acknowledged_each(net.now(), pushed);
                }
                None => journal.pushes.acknowledged(net.now(), from, to),
            }
        }
        if let Some(only) = applied.only {
            self.request_subscription(net, conn, packet, only);
        } else if let Some(key) = packet.key() {
            let results = json!({ "rev": self.registry.revision() });
            net.send_with(conn, |out| write_reply(out, key.get(), &results));
        }
        self.drains.acknowledged(net, conn, to);
        Ok(())
    }

    /// Schedules the update to another subscription, which precedes the reply.
    fn request_subscription(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        packet: &Packet<'_>,
        only: Subscription,
    ) {
        let Some(peer) = self.peers.get_mut(conn) else {
            return;
        };
        if let Some(session) = &mut peer.session {
            let key = packet.key().map(|key| key.get().into());
            session.next = Some(Box::new(NextSubscription { only, key }));
        }
        // The acknowledgement of the update must not be mistaken for that of an earlier one.
        if peer.listed_revision == Some(self.registry.revision()) {
            self.registry.renew();
            self.pushes.renewed(self.registry.revision());
        }
        net.pause(conn);
        self.pushes.schedule(conn);
    }

    /// Records that the session of `conn`, if any, ended or begins anew.
    pub(super) fn record_session_end(&mut self, net: &Net, conn: ConnId) {
        let peer = self.peers.get(conn);
        if let Some(from) = peer.and_then(Peer::awaited_from)
            && let Some(journal) = &mut self.events.journal
        {
            match peer.and_then(|peer| self.peers.shared_by(peer)) {
                Some(shared) => {
                    let pushed = shared.pushed_between(from, u64::MAX);
                    journal.pushes.subscriber_ended(net.now(), pushed);
                }
                None => journal.pushes.session_ended(net.now(), from),
            }
        }
    }
}
