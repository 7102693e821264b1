//! The peers of a node, and the choice of one for each call.

use std::net::SocketAddr;

use slab::Slab;

use super::calls::Call;
use super::peer::Peer;
use super::roster::{Member, Members, Roster};
use super::table::Table;
use crate::reactor::{Close, Net};

/// All peers, by a place that is stable while the peer is known.
#[derive(Debug, Default)]
pub(super) struct Peers {
    peers: Slab<Peer>,
    /// Places by address; of two peers with one address, the newer one.
    by_addr: Table<usize>,
    /// Places of the kept peers; some may be listed or gone by now.
    kept: Vec<usize>,
    /// The timer for `let_go` is armed.
    is_letting_go: bool,
}

/// Maximum number of random draws for two usable peers before all are searched.
const DRAWS: usize = 6;

impl Peers {
    pub(super) fn get(&self, place: usize) -> Option<&Peer> {
        self.peers.get(place)
    }

    pub(super) fn get_mut(&mut self, place: usize) -> Option<&mut Peer> {
        self.peers.get_mut(place)
    }

    pub(super) fn find(&self, addr: SocketAddr) -> Option<usize> {
        self.by_addr.get(self.entry(addr)?).copied()
    }

    /// Returns the place of an address in `by_addr`.
    fn entry(&self, addr: SocketAddr) -> Option<usize> {
        let is_it = |place: &usize| {
            let peer = self.peers.get(*place);
            peer.is_some_and(|peer| peer.addr == addr)
        };
        self.by_addr.find(self.by_addr.hash(&addr), is_it)
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = &Peer> {
        self.peers.iter().map(|(_, peer)| peer)
    }

    /// Returns the place of the peer at `addr`, adding one if there is none.
    pub(super) fn at(&mut self, addr: SocketAddr) -> usize {
        self.find(addr)
            .unwrap_or_else(|| self.insert(Peer::new(addr)))
    }

    fn insert(&mut self, peer: Peer) -> usize {
        let addr = peer.addr;
        let earlier = self.entry(addr);
        let place = self.peers.insert(peer);
        match earlier.and_then(|earlier| self.by_addr.get_mut(earlier)) {
            Some(newest) => *newest = place,
            None => {
                self.by_addr.insert(self.by_addr.hash(&addr), place);
            }
        }
        place
    }

    /// Records what is listed now at the addresses whose listing has changed. Closes connections
    /// that are no longer needed; where an entry was registered anew, new calls use a new
    /// connection.
    pub(super) fn list(&mut self, net: &mut Net, roster: &mut Roster, is_new_epoch: bool) {
        if is_new_epoch {
            for (_, peer) in &mut self.peers {
                peer.forget_ids();
            }
        }
        let mut touched = roster.take_touched();
        for addr in touched.drain(..) {
            let listing = roster.listing(addr);
            let known = self.find(addr);
            let Some(place) = known.or_else(|| listing.map(|_| self.at(addr))) else {
                continue;
            };
            let peer = self.peers.get_mut(place);
            if let Some(anew) = peer.and_then(|peer| peer.list(listing)) {
                self.insert(anew);
            }
            self.forget_if_idle(net, place);
        }
        roster.give_touched(touched);
    }

    /// Keeps a peer that is called by its address without being listed: a new connection for each
    /// call would cost more than the call, and use up the ports. Returns whether to arm the timer
    /// for [`Peers::let_go`].
    pub(super) fn keep(&mut self, place: usize) -> bool {
        let Some(peer) = self.peers.get_mut(place).filter(|peer| !peer.is_listed) else {
            return false;
        };
        peer.was_called = true;
        if !std::mem::replace(&mut peer.is_kept, true) {
            self.kept.push(place);
        }
        !std::mem::replace(&mut self.is_letting_go, true)
    }

    /// Removes the kept peers that were not called since this was last called. Returns whether
    /// others are still kept.
    pub(super) fn let_go(&mut self, net: &mut Net) -> bool {
        let mut kept = std::mem::take(&mut self.kept);
        // A peer that was listed meanwhile may have been added twice.
        kept.sort_unstable();
        kept.dedup();
        kept.retain(|place| {
            let Some(peer) = self.peers.get_mut(*place) else {
                return false;
            };
            peer.is_kept &= std::mem::take(&mut peer.was_called) || peer.in_flight > 0;
            let is_kept = peer.is_kept;
            self.forget_if_idle(net, *place);
            is_kept
        });
        self.is_letting_go = !kept.is_empty();
        self.kept = kept;
        self.is_letting_go
    }

    /// Removes a peer that is not needed, and closes its connection.
    pub(super) fn forget_if_idle(&mut self, net: &mut Net, place: usize) {
        if !self.peers.get(place).is_some_and(Peer::is_idle) {
            return;
        }
        let hash = |addr: SocketAddr| self.by_addr.hash(&addr);
        let Some(hash) = self.peers.get(place).map(|peer| hash(peer.addr)) else {
            return;
        };
        if let Some(entry) = self.by_addr.find(hash, |newest| *newest == place) {
            self.by_addr.remove(entry);
        }
        let peer = self.peers.remove(place);
        if let Some(conn) = peer.conn {
            net.close(conn, Close::AfterFlush);
        }
    }

    /// Returns the one of two random candidates with fewer calls in flight. Peers that are set
    /// aside count only if there is no other; `None` if no candidate can take one more call.
    pub(super) fn choose(
        &self,
        candidates: &Members<'_>,
        call: &Call,
        max_in_flight: usize,
        net: &mut Net,
    ) -> Option<usize> {
        let count = candidates.len();
        let now = net.now();
        let usable = |place: usize, net: &Net| {
            let peer = self.peers.get(place)?;
            peer.takes_more(call, max_in_flight, net).then_some(peer)
        };
        let peer_of = |member: &Member| self.find(member.addr?);
        let mut drawn: Option<(&Peer, usize)> = None;
        let draws = if count > 1 { DRAWS } else { 0 };
        for _ in 0..draws {
            let index = draw_below(net, count);
            let Some(place) = candidates.at(index).and_then(peer_of) else {
                continue;
            };
            let Some(peer) = usable(place, net).filter(|peer| peer.may_be_well(now)) else {
                continue;
            };
            match drawn {
                None => drawn = Some((peer, place)),
                Some((_, other)) if other == place => {}
                Some((other, _)) if peer.in_flight < other.in_flight => return Some(place),
                Some((_, other)) => return Some(other),
            }
        }
        if let Some((_, place)) = drawn {
            return Some(place);
        }
        (candidates.iter())
            .filter_map(peer_of)
            .filter(|place| !call.unreachable.contains(&Some(*place)))
            .filter_map(|place| {
                let peer = usable(place, net)?;
                let since = peer.set_aside_until.max(now);
                Some((!peer.may_be_well(now), since, peer.in_flight, place))
            })
            .min()
            .map(|(_, _, _, place)| place)
    }
}

fn draw_below(net: &mut Net, count: usize) -> usize {
    let count = u64::try_from(count.max(1)).unwrap_or(u64::MAX);
    usize::try_from(net.random() % count).unwrap_or(0)
}
