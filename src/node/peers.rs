//! The peers of a node, and which of them a call goes to.

use std::collections::HashMap;
use std::net::SocketAddr;

use slab::Slab;

use super::peer::{Load, Peer};
use super::roster::Member;
use crate::reactor::{ConnId, Net};

/// All peers, by a place that stays while the peer is known.
#[derive(Debug, Default)]
pub(super) struct Peers {
    peers: Slab<Peer>,
    /// Of two peers with one address, the newer one.
    by_addr: HashMap<SocketAddr, usize>,
    are_kept_looked_at: bool,
}

/// How often chance is asked for two peers that can be used before all are looked at.
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

    /// Returns the place of the peer at `addr`, which is made if there is none.
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

    /// Notes the members that are listed now. Returns the connections that are not needed any more.
    pub(super) fn list(&mut self, members: &[Member], is_new_epoch: bool) -> Vec<ConnId> {
        for (_, peer) in &mut self.peers {
            peer.unlist(is_new_epoch);
        }
        for member in members {
            let Some(addr) = member.addr else {
                continue;
            };
            let place = self.at(addr);
            if let Some(peer) = self.peers.get_mut(place) {
                peer.list(member);
            }
        }
        let listed = self.peers.iter_mut().map(|(_, peer)| peer);
        let anew = listed.filter_map(|peer| peer.is_listed_anew().then(|| peer.replaced()));
        for peer in anew.collect::<Vec<_>>() {
            self.insert(peer);
        }
        self.forget_idle()
    }

    fn forget_idle(&mut self) -> Vec<ConnId> {
        let idle: Vec<usize> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.is_idle())
            .map(|(place, _)| place)
            .collect();
        idle.into_iter()
            .filter_map(|place| self.forget_if_idle(place))
            .collect()
    }

    /// Keeps a peer that is called by its address without being listed: to connect anew for each
    /// call would cost more than the call, and the ports run out. `true` if nobody looks yet for
    /// those who are called no more.
    pub(super) fn keep(&mut self, place: usize) -> bool {
        let Some(peer) = self.peers.get_mut(place).filter(|peer| !peer.is_listed) else {
            return false;
        };
        peer.was_called = true;
        peer.is_kept = true;
        !std::mem::replace(&mut self.are_kept_looked_at, true)
    }

    /// Keeps those no longer that were not called since the last time. Returns the connections to
    /// be closed, and whether there are more who are kept.
    pub(super) fn let_go(&mut self) -> (Vec<ConnId>, bool) {
        for (_, peer) in &mut self.peers {
            peer.is_kept &= std::mem::take(&mut peer.was_called) || peer.in_flight > 0;
        }
        self.are_kept_looked_at = self.peers.iter().any(|(_, peer)| peer.is_kept);
        (self.forget_idle(), self.are_kept_looked_at)
    }

    /// Forgets a peer that is not listed and has no calls; returns its connection to be closed.
    pub(super) fn forget_if_idle(&mut self, place: usize) -> Option<ConnId> {
        self.peers.get(place).filter(|peer| peer.is_idle())?;
        let peer = self.peers.remove(place);
        if self.by_addr.get(&peer.addr) == Some(&place) {
            self.by_addr.remove(&peer.addr);
        }
        peer.conn
    }

    /// Of two drawn by chance the one with fewer calls in flight. Those set aside are asked only if
    /// there is no other; `None` if there is nobody who can take one more.
    pub(super) fn choose(
        &self,
        candidates: impl Fn(usize) -> Option<usize>,
        count: usize,
        load: &Load<'_>,
        net: &mut Net,
    ) -> Option<usize> {
        let now = net.now();
        let usable = |place: usize, net: &Net| {
            let peer = self.peers.get(place)?;
            peer.takes_more(load, net).then_some(peer)
        };
        let fit =
            |place: usize, net: &Net| usable(place, net).is_some_and(|peer| peer.may_be_well(now));
        if count > 1 {
            let mut first: Option<(usize, usize)> = None;
            for _ in 0..DRAWS {
                let index = draw_below(net, count);
                if first.is_some_and(|(other, _)| other == index) {
                    continue;
                }
                let Some(place) = candidates(index).filter(|place| fit(*place, net)) else {
                    continue;
                };
                match first {
                    None => first = Some((index, place)),
                    Some((_, other)) => {
                        let calls = |place| self.peers.get(place).map(|peer| peer.in_flight);
                        return Some(if calls(place) < calls(other) {
                            place
                        } else {
                            other
                        });
                    }
                }
            }
            if let Some((_, place)) = first {
                return Some(place);
            }
        }
        (0..count)
            .filter_map(&candidates)
            .filter(|place| !load.unreachable.contains(&Some(*place)))
            .filter_map(|place| {
                usable(place, net).map(|peer| {
                    let since = peer.set_aside_until.max(now);
                    (!peer.may_be_well(now), since, peer.in_flight, place)
                })
            })
            .min()
            .map(|(_, _, _, place)| place)
    }
}

fn draw_below(net: &mut Net, count: usize) -> usize {
    let count = u64::try_from(count.max(1)).unwrap_or(u64::MAX);
    usize::try_from(net.random() % count).unwrap_or(0)
}
