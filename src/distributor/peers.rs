//! The connections of a Distributor, and those of them that watch the list.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::peer::Peer;
use super::subscriptions::{Shared, SubscriptionId, Subscriptions};
use crate::protocol::Subscription;
use crate::reactor::ConnId;
use crate::reactor::conn_map::ConnMap;
use crate::registry::Keys;

/// All connections.
#[derive(Debug, Default)]
pub(super) struct Peers {
    all: ConnMap<Peer>,
    /// Connections that receive every change of the list. A change costs what these cost, however
    /// many others there are.
    watching: BTreeSet<ConnId>,
    /// Connections that receive the changes that match their subscription.
    pub(super) subscriptions: Subscriptions,
    /// Connections whose session has not acknowledged a change of its subscription.
    changing: BTreeSet<ConnId>,
}

impl Peers {
    pub(super) fn insert(&mut self, conn: ConnId, peer: Peer) {
        self.all.insert(conn, peer);
    }

    pub(super) fn get(&self, conn: ConnId) -> Option<&Peer> {
        self.all.get(conn)
    }

    pub(super) fn get_mut(&mut self, conn: ConnId) -> Option<&mut Peer> {
        self.all.get_mut(conn)
    }

    pub(super) fn remove(&mut self, conn: ConnId) -> Option<Peer> {
        self.watching.remove(&conn);
        self.changing.remove(&conn);
        let peer = self.all.remove(conn)?;
        let session = peer.session.as_ref();
        if let Some(id) = session.and_then(|session| session.subscription) {
            self.subscriptions.remove(conn, id);
        }
        Some(peer)
    }

    /// Returns all connections, in a fixed order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (ConnId, &Peer)> {
        self.all.iter()
    }

    /// Returns all connections, in a fixed order.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (ConnId, &mut Peer)> {
        self.all.iter_mut()
    }

    /// Records which changes a connection receives. Call it after each registration and change of
    /// its subscription.
    pub(super) fn registered(&mut self, conn: ConnId) {
        if self.all.get(conn).is_some_and(Peer::receives_all) {
            self.watching.insert(conn);
        } else {
            self.watching.remove(&conn);
        }
        let session = self.all.get(conn).and_then(|peer| peer.session.as_ref());
        if session.is_some_and(|session| !session.former.is_empty()) {
            self.changing.insert(conn);
        } else {
            self.changing.remove(&conn);
        }
    }

    /// Returns the connections that receive every change, in a fixed order.
    pub(super) fn watching(&self) -> impl Iterator<Item = (ConnId, &Peer)> {
        let watching = self.watching.iter();
        watching.filter_map(|conn| Some((*conn, self.all.get(*conn)?)))
    }

    /// Returns the subscription of a connection, if its session has one.
    pub(super) fn subscription_of(
        &self,
        conn: ConnId,
    ) -> Option<(SubscriptionId, Rc<Subscription>)> {
        let peer = self.all.get(conn)?;
        let shared = self.shared_by(peer)?;
        Some((peer.subscription()?, Rc::clone(&shared.only)))
    }

    /// Returns what a peer shares with those that have the same subscription, if it has one.
    pub(super) fn shared_by(&self, peer: &Peer) -> Option<&Shared> {
        self.subscriptions.get(peer.subscription()?)
    }

    /// Returns the connections that may have an entry with one of these `keys`, in a fixed order.
    pub(super) fn concerned(&self, keys: &[Keys]) -> Vec<Concerned<'_>> {
        let mut found = BTreeMap::new();
        for conn in &self.changing {
            let session = self.all.get(*conn).and_then(|peer| peer.session.as_ref());
            let until = keys.iter().filter_map(|keys| session?.former_until(keys));
            if let Some(until) = until.max() {
                found.insert(*conn, Some(until));
            }
        }
        found.extend(self.watching.iter().map(|conn| (*conn, None)));
        for keys in keys {
            for id in self.subscriptions.matching(keys) {
                found.extend(self.subscribed(id).map(|(conn, _)| (conn, None)));
            }
        }
        let found = found.into_iter().filter_map(|(conn, until)| {
            let peer = self.all.get(conn)?;
            Some(Concerned { conn, peer, until })
        });
        found.collect()
    }

    /// Records that the session of a connection has acknowledged this revision.
    pub(super) fn acknowledged(&mut self, conn: ConnId, revision: u64) {
        if let Some(session) = self
            .all
            .get_mut(conn)
            .and_then(|peer| peer.session.as_mut())
        {
            session.former.retain(|former| former.until > revision);
            if session.former.is_empty() {
                self.changing.remove(&conn);
            }
        }
    }

    /// Returns the connections with this subscription, in a fixed order.
    pub(super) fn subscribed(&self, id: SubscriptionId) -> impl Iterator<Item = (ConnId, &Peer)> {
        let shared = self.subscriptions.get(id);
        let conns = shared.into_iter().flat_map(|shared| &shared.sessions);
        conns.filter_map(|conn| Some((*conn, self.all.get(*conn)?)))
    }

    /// Calls `visit` with each connection with this subscription, in a fixed order.
    pub(super) fn for_each_subscribed(
        &mut self,
        id: SubscriptionId,
        mut visit: impl FnMut(ConnId, &mut Peer),
    ) {
        let shared = self.subscriptions.get(id);
        for conn in shared.into_iter().flat_map(|shared| &shared.sessions) {
            if let Some(peer) = self.all.get_mut(*conn) {
                visit(*conn, peer);
            }
        }
    }

    /// Calls `visit` with each connection that receives every change, in a fixed order.
    pub(super) fn for_each_watching(&mut self, mut visit: impl FnMut(ConnId, &mut Peer)) {
        for conn in &self.watching {
            if let Some(peer) = self.all.get_mut(*conn) {
                visit(*conn, peer);
            }
        }
    }
}

/// A connection that may have an entry that leaves.
pub(super) struct Concerned<'a> {
    pub(super) conn: ConnId,
    pub(super) peer: &'a Peer,
    /// Revision whose acknowledgement says that it does not have the entry any more, if it has
    /// replaced the subscription that matched.
    pub(super) until: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distributor::peer::Session;
    use crate::protocol::Watch;
    use crate::time::Time;

    fn register(peers: &mut Peers, conn: ConnId, watch: Option<Watch>) {
        let peer = peers.get_mut(conn).unwrap();
        peer.is_registered = true;
        peer.session = watch.map(|watch| {
            Box::new(Session {
                watch,
                instance: None,
                acked_revision: 0,
                opened_at_push: 0,
                received_at: Time::ZERO,
                was_sent_incomplete: false,
                needs_list: false,
                subscription: None,
                next: None,
                former: Vec::new(),
            })
        });
        peers.registered(conn);
    }

    #[test]
    fn visits_only_peers_that_watch() {
        let mut peers = Peers::default();
        let conns: Vec<ConnId> = (0..1000).map(|slot| ConnId::new(slot, 1)).collect();
        for conn in &conns {
            let addr = ([127, 0, 0, 1], 9010).into();
            peers.insert(*conn, Peer::new(addr, Time::ZERO, None));
        }
        let visited = |peers: &mut Peers| {
            let mut all = Vec::new();
            peers.for_each_watching(|conn, _| all.push(conn));
            let watching: Vec<ConnId> = peers.watching().map(|(conn, _)| conn).collect();
            assert_eq!(all, watching);
            all
        };
        assert_eq!(visited(&mut peers), []);
        for conn in &conns {
            register(&mut peers, *conn, Some(Watch::None));
        }
        assert_eq!(visited(&mut peers), []);
        register(&mut peers, conns[7], Some(Watch::Delta));
        register(&mut peers, conns[3], None);
        register(&mut peers, conns[5], Some(Watch::List));
        assert_eq!(visited(&mut peers), [conns[3], conns[5], conns[7]]);
        // A session may be opened anew, and connections end.
        register(&mut peers, conns[5], Some(Watch::None));
        peers.remove(conns[7]);
        assert_eq!(visited(&mut peers), [conns[3]]);
        // The slot of an ended connection is used again.
        let again = ConnId::new(7, 2);
        let addr = ([127, 0, 0, 1], 9010).into();
        peers.insert(again, Peer::new(addr, Time::ZERO, None));
        assert_eq!(visited(&mut peers), [conns[3]]);
    }
}
