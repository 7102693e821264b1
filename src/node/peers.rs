//! The peers of a node, and the choice of one for each call.

use std::collections::HashMap;
use std::net::SocketAddr;

use slab::Slab;

use super::calls::Call;
use super::peer::Peer;
use super::roster::Member;
use crate::reactor::{Close, Net};

/// All peers, by a place that is stable while the peer is known.
#[derive(Debug, Default)]
pub(super) struct Peers {
    peers: Slab<Peer>,
    /// Places by address; of two peers with one address, the newer one.
    by_addr: HashMap<SocketAddr, usize>,
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
        self.by_addr.get(&addr).copied()
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = &Peer> {
        self.peers.iter().map(|(_, peer)| peer)
    }

    /// Returns the place of the peer at `addr`, adding one if there is none.
    pub(super) fn at(&mut self, addr: SocketAddr) -> usize {
        match self.by_addr.get(&addr) {
            Some(place) => *place,
            None => self.insert(Peer::new(addr)),
        }
    }

    fn insert(&mut self, peer: Peer) -> usize {
        let addr = peer.addr;
        let place = self.peers.insert(peer);
        self.by_addr.insert(addr, place);
        place
    }

    /// Records the members that are listed now. Closes connections that are no longer needed; where
    /// an entry was registered anew, new calls use a new connection.
    pub(super) fn list(&mut self, net: &mut Net, members: &[Member], is_new_epoch: bool) {
        for (_, peer) in &mut self.peers {
            peer.unlist(is_new_epoch);
        }
        for member in members {
            if let Some(addr) = member.addr {
                let place = self.at(addr);
                if let Some(peer) = self.peers.get_mut(place) {
                    peer.list(member);
                }
            }
        }
        let listed = self.peers.iter_mut();
        let anew: Vec<Peer> = listed.filter_map(|(_, peer)| peer.listed_anew()).collect();
        for peer in anew {
            self.insert(peer);
        }
        self.forget_idle(net);
    }

    fn forget_idle(&mut self, net: &mut Net) {
        let idle = self.peers.iter().filter(|(_, peer)| peer.is_idle());
        let idle: Vec<usize> = idle.map(|(place, _)| place).collect();
        for place in idle {
            self.forget_if_idle(net, place);
        }
    }

    /// Keeps a peer that is called by its address without being listed: a new connection for each
    /// call would cost more than the call, and use up the ports. Returns whether to arm the timer
    /// for [`Peers::let_go`].
    pub(super) fn keep(&mut self, place: usize) -> bool {
        let Some(peer) = self.peers.get_mut(place).filter(|peer| !peer.is_listed) else {
            return false;
        };
        peer.was_called = true;
        peer.is_kept = true;
        !std::mem::replace(&mut self.is_letting_go, true)
    }

    /// Removes the kept peers that were not called since this was last called. Returns whether
    /// others are still kept.
    pub(super) fn let_go(&mut self, net: &mut Net) -> bool {
        for (_, peer) in &mut self.peers {
            peer.is_kept &= std::mem::take(&mut peer.was_called) || peer.in_flight > 0;
        }
        self.is_letting_go = self.peers.iter().any(|(_, peer)| peer.is_kept);
        self.forget_idle(net);
        self.is_letting_go
    }

    /// Removes a peer that is not needed, and closes its connection.
    pub(super) fn forget_if_idle(&mut self, net: &mut Net, place: usize) {
        if !self.peers.get(place).is_some_and(Peer::is_idle) {
            return;
        }
        let peer = self.peers.remove(place);
        if self.by_addr.get(&peer.addr) == Some(&place) {
            self.by_addr.remove(&peer.addr);
        }
        if let Some(conn) = peer.conn {
            net.close(conn, Close::AfterFlush);
        }
    }

    /// Returns the one of two random candidates with fewer calls in flight. Peers that are set
    /// aside count only if there is no other; `None` if no candidate can take one more call.
    pub(super) fn choose(
        &self,
        candidates: impl Fn(usize) -> Option<usize>,
        count: usize,
        call: &Call,
        max_in_flight: usize,
        net: &mut Net,
    ) -> Option<usize> {
        let now = net.now();
        let usable = |place: usize, net: &Net| {
            let peer = self.peers.get(place)?;
            peer.takes_more(call, max_in_flight, net).then_some(peer)
        };
        let mut drawn: Option<(&Peer, usize)> = None;
        let draws = if count > 1 { DRAWS } else { 0 };
        for _ in 0..draws {
            let index = draw_below(net, count);
            let Some(place) = candidates(index) else {
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
        (0..count)
            .filter_map(&candidates)
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
