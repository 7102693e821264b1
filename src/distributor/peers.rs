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
