//! Updates of sessions with a subscription.

use std::rc::Rc;

use serde_json::json;

use super::pacing::Sent;
use super::{Context, Pushes};
use crate::distributor::events::Pushed;
use crate::distributor::peer::{NextSubscription, Peer};
use crate::distributor::subscriptions::SubscriptionId;
use crate::protocol::{Subscription, Watch, write_reply};
use crate::reactor::{ConnId, SharedFrame};
use crate::registry::Update;

impl Pushes {
    /// Pushes the changes to the sessions whose subscription they match.
    pub(super) fn push_matching(
        &mut self,
        cx: &mut Context<'_>,
        pushed: &mut Pushed,
        sent: &mut Sent,
    ) {
        let revision = cx.source.registry.revision();
        for id in cx.peers.subscriptions.take_pending() {
            let Some(shared) = cx.peers.subscriptions.get_mut(id) else {
                continue;
            };
            let (only, from) = (Rc::clone(&shared.only), shared.updated);
            let since = shared.pending_since.take().unwrap_or(from);
            shared.record_pushed(revision);
            // One frame for all sessions that have the view of the last update. A session that was
            // sent some of these changes alone may have an entry that came and went meanwhile,
            // which this frame does not mention.
            let update = || {
                cx.source
                    .registry
                    .update_since(since, Some(&only), Some(&only))
            };
            let common = self.frames.matching_update(cx.source, id, from, update);
            cx.peers.for_each_subscribed(id, |conn, peer| {
                pushed.total += 1;
                if cx.net.is_backlogged(conn) {
                    pushed.add_backlogged(cx.source.registry, peer, cx.events.journal.is_some());
                    return;
                }
                pushed.sent += 1;
                // It was sent the current list in this turn, or is to be sent its first one.
                if peer.listed_revision.is_none_or(|listed| listed == revision) {
                    return;
                }
                let known = known_revision(peer, cx.source.is_complete);
                let has_its_view = known.is_some_and(|known| (from..=since).contains(&known));
                let update = match &common {
                    Some(common) if has_its_view => Some((common.clone(), false)),
                    _ => self.frames.for_subscriber(cx.source, id, &only, peer, true),
                };
                let Some((frame, is_list)) = update else {
                    return;
                };
                let is_sent = cx.net.send_shared(conn, &frame);
                peer.record_sent(revision, cx.source.is_complete);
                cx.events.stats.lists_sent += u64::from(is_sent);
                sent.add(&frame, is_list);
            });
        }
    }

    /// Sends the newest update to one session, if it lacks any change that matches.
    pub(super) fn send_matching(
        &mut self,
        cx: &mut Context<'_>,
        conn: ConnId,
        id: SubscriptionId,
        only: &Subscription,
    ) {
        let Some(peer) = cx.peers.get_mut(conn) else {
            return;
        };
        peer.is_list_due = false;
        self.frames.set_revision(cx.source, cx.net.now());
        // Drains wait for all whom they concern, and an acknowledgement needs an update.
        let sends_empty = cx.source.awaits_acks;
        let update = self
            .frames
            .for_subscriber(cx.source, id, only, peer, sends_empty);
        if let Some((frame, _)) = update {
            peer.record_sent(cx.source.registry.revision(), cx.source.is_complete);
            cx.events.stats.lists_sent += u64::from(cx.net.send_shared(conn, &frame));
        } else if let Some(known) = peer.listed_revision
            && let Some(shared) = cx.peers.subscriptions.get_mut(id)
        {
            // Its view is the current one: the next update applies to it too.
            shared.updated = shared.updated.min(known);
        }
    }

    /// Replaces the subscription of a session: sends the update that turns its view into that of
    /// the new one, and then the reply.
    pub(super) fn change_subscription(
        &mut self,
        cx: &mut Context<'_>,
        conn: ConnId,
        next: NextSubscription,
    ) {
        let (source, revision) = (cx.source, cx.source.registry.revision());
        let (old, old_only) = cx.peers.subscription_of(conn).unzip();
        let new = cx.peers.subscriptions.add(conn, next.only, revision);
        if old != new
            && let Some(old) = old
        {
            cx.peers.subscriptions.remove(conn, old);
        }
        let shared = new.and_then(|id| cx.peers.subscriptions.get(id));
        let new_only = shared.map(|shared| Rc::clone(&shared.only));
        let Some(peer) = cx.peers.get_mut(conn) else {
            return;
        };
        let from = known_revision(peer, source.is_complete);
        let update = from.and_then(|from| {
            let (old, new) = (old_only.as_deref(), new_only.as_deref());
            Some((from, source.registry.update_since(from, old, new)?))
        });
        let frame = match (&update, &new_only) {
            (Some((from, update)), _) => source.update(*from, update, true),
            (None, Some(only)) => SharedFrame::new(|out| source.write_matching(out, only, true)),
            (None, None) => SharedFrame::new(|out| source.write(out, true, true)),
        };
        peer.record_sent(revision, source.is_complete);
        if let Some(session) = &mut peer.session {
            session.received_at = cx.net.now();
            session.subscription = new;
            session.replaced(old_only, revision);
        }
        cx.peers.registered(conn);
        cx.events.stats.lists_sent += u64::from(cx.net.send_shared(conn, &frame));
        if let Some(key) = next.key {
            let results = match new {
                Some(_) => json!({ "rev": revision }),
                None => json!({ "rev": revision, "only": false }),
            };
            cx.net
                .send_with(conn, |out| write_reply(out, &key, &results));
        }
    }
}

/// Returns the revision of the view of a session, if it can be sent changes of it.
fn known_revision(peer: &Peer, is_complete: bool) -> Option<u64> {
    let session = peer.session.as_ref()?;
    let needs_list = session.needs_list || (session.was_sent_incomplete && is_complete);
    if session.watch == Watch::Delta && !needs_list {
        peer.listed_revision
    } else {
        None
    }
}

impl super::Frames {
    /// Returns the update for a session, and whether it is a whole list. `None` if nothing that
    /// matches has changed, unless `sends_empty`.
    fn for_subscriber(
        &mut self,
        source: super::Source<'_>,
        id: SubscriptionId,
        only: &Subscription,
        peer: &Peer,
        sends_empty: bool,
    ) -> Option<(SharedFrame, bool)> {
        if let Some(from) = known_revision(peer, source.is_complete) {
            if let Some(made) = self.made_update(id, from) {
                return Some((made, false));
            }
            let update = source.registry.update_since(from, Some(only), Some(only));
            if update.as_ref().is_some_and(Update::is_empty) && !sends_empty {
                return None;
            }
            if let Some(frame) = self.matching_update(source, id, from, || update) {
                return Some((frame, false));
            }
        }
        Some((self.matching_list(source, id, only), true))
    }
}
