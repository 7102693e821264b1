//! Updates of the list, and the requests of a whole one.

use std::time::Duration;

use super::super::event::Event;
use super::super::roster::Changes;
use super::phase::Phase;
use super::{DistributorLink, packets};
use crate::protocol::Update;
use crate::reactor::{ConnId, Net};
use crate::time::Time;

impl DistributorLink {
    pub(super) fn update(&mut self, net: &mut Net, frame: &[u8], update: &Update<'_>) {
        let session = match update {
            Update::Draining { retry_after_ms } => {
                self.retry.told = retry_after_ms.map(Duration::from_millis);
                return;
            }
            Update::List { session: None, .. } => {
                return self.plain_list(frame, net.now());
            }
            Update::List {
                session: Some(session),
                ..
            }
            | Update::Delta { session, .. } => session,
        };
        let may_repeat = self.subscription.may_repeat();
        let applied = self.roster.apply(update, session, may_repeat, net.now());
        let Some(conn) = self.phase.conn() else {
            return;
        };
        let Some((changes, is_new_epoch)) = applied else {
            return self.request_list(net, conn);
        };
        self.note_list(changes, is_new_epoch);
        let is_list = matches!(update, Update::List { .. });
        let last = self.roster.interests().last();
        self.subscription.applied(is_list, last);
        self.note_view();
        if session.ack {
            let rev = self.roster.rev();
            net.send_with(conn, |out| packets::heartbeat(out, None, rev, None));
        }
    }

    /// Requests the whole list.
    pub(super) fn request_list(&mut self, net: &mut Net, conn: ConnId) {
        let key = self.take_key();
        self.subscription.list_requested();
        net.send_with(conn, |out| packets::list_request(out, key));
    }

    fn plain_list(&mut self, frame: &[u8], now: Time) {
        if let Phase::Registering { list, .. } | Phase::Plain { list, .. } = &mut self.phase {
            list.clear();
            list.extend_from_slice(frame);
        }
        let is_registering = matches!(self.phase, Phase::Registering { .. });
        if !(is_registering && self.was_registered) {
            self.apply_plain_list(now);
        }
    }

    pub(super) fn apply_plain_list(&mut self, now: Time) {
        let (list, merges) = match &self.phase {
            // The kind of Distributor is not known yet: some nodes are better than none.
            Phase::Registering { list, .. } => (list, true),
            Phase::Plain {
                list, merges_until, ..
            } => (list, merges_until.is_some_and(|until| now < until)),
            _ => return,
        };
        if let Some(Update::List { entries, .. }) = Update::parse(list) {
            let changes = self.roster.apply_list(&entries, None, merges, now);
            self.note_list(changes, true);
            if self.is_plain() {
                let mut interests = self.roster.interests();
                let last = interests.last();
                interests.set_viewed(last);
            }
        }
    }

    fn note_list(&mut self, changes: Changes, is_new_epoch: bool) {
        self.events
            .extend(changes.left.into_iter().map(Event::Left));
        self.events
            .extend(changes.joined.into_iter().map(Event::Joined));
        self.listed = Some(is_new_epoch);
    }
}
