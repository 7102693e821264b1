//! The connections of a Distributor, and those of them that watch the list.

use std::collections::BTreeSet;

use super::peer::Peer;
use crate::reactor::ConnId;
use crate::reactor::conn_map::ConnMap;

/// All connections.
#[derive(Debug, Default)]
pub(super) struct Peers {
    all: ConnMap<Peer>,
    /// Connections that receive every change of the list. A change costs what these cost, however
    /// many others there are.
    watching: BTreeSet<ConnId>,
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
        self.all.remove(conn)
    }

    /// Returns all connections, in a fixed order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (ConnId, &Peer)> {
        self.all.iter()
    }

    /// Returns all connections, in a fixed order.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (ConnId, &mut Peer)> {
        self.all.iter_mut()
    }

    /// Records whether a connection watches the list. Call it after each registration.
    pub(super) fn registered(&mut self, conn: ConnId) {
        if self.all.get(conn).is_some_and(Peer::is_watching) {
            self.watching.insert(conn);
        } else {
            self.watching.remove(&conn);
        }
    }

    /// Returns the connections that watch the list, in a fixed order.
    pub(super) fn watching(&self) -> impl Iterator<Item = (ConnId, &Peer)> {
        let watching = self.watching.iter();
        watching.filter_map(|conn| Some((*conn, self.all.get(*conn)?)))
    }

    /// Calls `visit` with each connection that watches the list, in a fixed order.
    pub(super) fn for_each_watching(&mut self, mut visit: impl FnMut(ConnId, &mut Peer)) {
        for conn in &self.watching {
            if let Some(peer) = self.all.get_mut(*conn) {
                visit(*conn, peer);
            }
        }
    }
}
