//! Who is alive among those with a session, and when the Distributor itself knows everybody.

use std::time::Duration;

use serde_json::json;
use tracing::warn;

use super::session::Session;
use super::{Distributor, TAG_SILENCE, TAG_WARM_UP_ENDS};
use crate::protocol::{Applied, ErrorCode, Packet, Refusal, write_success};
use crate::reactor::{Close, ConnId, Net};

/// How exactly silence is noticed.
pub(super) const SILENCE_CHECK: Duration = Duration::from_millis(500);

impl Distributor {
    /// Notes what a session has applied, and that it is alive.
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
        link.acked_revision = applied.rev.min(sent.unwrap_or(0));
        let acked = link.acked_revision;
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

    /// Closes the connections of those with a session who have been silent for too long.
    pub(super) fn drop_silent(&mut self, net: &mut Net) {
        let (now, silence) = (net.now(), self.config.silence);
        for (conn, session) in self.sessions.iter_mut() {
            // While it waits for a list nothing is read of it, so it can't be heard.
            if let Some(link) = &session.link
                && session.get_key.is_none()
                && now.saturating_since(link.heard_at) >= silence
            {
                session.is_silent = true;
                net.close(conn, Close::Now);
            }
        }
        net.arm(now + SILENCE_CHECK, TAG_SILENCE);
    }

    /// From now on everybody gets time to come back. Those who are there keep whom they know.
    pub(super) fn begin_warm_up(&mut self, net: &mut Net) {
        self.is_complete = false;
        self.warms_up_until = net.now() + self.config.warm_up;
        net.arm(self.warms_up_until, TAG_WARM_UP_ENDS);
        for (_, session) in self.sessions.iter_mut() {
            if session.link.is_some() {
                session.listed_revision = None;
            }
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
    pub(super) fn end_warm_up(&mut self) {
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
