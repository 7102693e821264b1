//! The connections to other nodes, and which of them to ask.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use slab::Slab;

use crate::reactor::{ConnId, ConnectOptions, Net, Owner};
use crate::time::Time;

/// One address that calls go to.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) addr: SocketAddr,
    pub(super) conn: Option<ConnId>,
    /// The connection is established.
    pub(super) is_open: bool,
    /// About how much is to be written as soon as it is.
    pub(super) held_bytes: usize,
    /// Calls that were given to it and have no outcome yet.
    pub(super) in_flight: usize,
    /// Connections in a row that failed.
    failures: u32,
    set_aside_until: Time,
    /// Somebody at this address is in the roster.
    is_listed: bool,
    /// It was called by its address, and may be again.
    is_kept: bool,
    /// It was so since the last look at those who are kept.
    was_called: bool,
}

/// All of them, by a place that stays while the peer is known.
#[derive(Debug, Default)]
pub(super) struct Peers {
    peers: Slab<Peer>,
    by_addr: HashMap<SocketAddr, usize>,
    are_kept_looked_at: bool,
}

/// What one more call is to a peer.
#[derive(Debug)]
pub(super) struct Load<'a> {
    /// How many calls it may have.
    pub(super) max_in_flight: usize,
    /// How long the request is, about.
    pub(super) bytes: usize,
    /// Peers that it could not reach.
    pub(super) unreachable: &'a [Option<usize>],
}

/// What a request has around its text, generously.
const ENVELOPE_BYTES: usize = 256;

impl Peer {
    /// Whether it can be given one more call. What is queued for a peer that reads too slowly would
    /// else be lost with its connection.
    pub(super) fn takes_more(&self, load: &Load<'_>, net: &Net) -> bool {
        self.in_flight < load.max_in_flight
            && self.unsent_bytes(net) + load.bytes + ENVELOPE_BYTES <= net.limits().max_unsent_bytes
    }

    /// What waits for it to read.
    pub(super) fn unsent_bytes(&self, net: &Net) -> usize {
        self.held_bytes + self.conn.map_or(0, |conn| net.pending_bytes(conn))
    }

    /// A request with so much text waits for the connection.
    pub(super) fn hold(&mut self, bytes: usize) {
        self.held_bytes += bytes + ENVELOPE_BYTES;
    }

    /// Whether a call may go to it though others could take it. After it failed one call tries it:
    /// a host that is gone keeps those for it waiting as long as a connect may take.
    fn may_be_well(&self, now: Time) -> bool {
        self.set_aside_until <= now && (self.failures == 0 || self.in_flight == 0)
    }
}

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
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

    /// The place of the peer at `addr`, which is made if there is none.
    pub(super) fn at(&mut self, addr: SocketAddr) -> usize {
        if let Some(place) = self.by_addr.get(&addr) {
            return *place;
        }
        let place = self.peers.insert(Peer {
            addr,
            conn: None,
            is_open: false,
            held_bytes: 0,
            in_flight: 0,
            failures: 0,
            set_aside_until: Time::ZERO,
            is_listed: false,
            is_kept: false,
            was_called: false,
        });
        self.by_addr.insert(addr, place);
        place
    }

    /// Notes who is listed now, and returns the connections that nobody needs any more.
    pub(super) fn list(&mut self, listed: impl Iterator<Item = SocketAddr>) -> Vec<ConnId> {
        for (_, peer) in &mut self.peers {
            peer.is_listed = false;
        }
        for addr in listed {
            let place = self.at(addr);
            if let Some(peer) = self.peers.get_mut(place) {
                peer.is_listed = true;
                peer.is_kept = false;
            }
        }
        self.forget_idle()
    }

    fn forget_idle(&mut self) -> Vec<ConnId> {
        let idle: Vec<usize> = self
            .peers
            .iter()
            .filter(|(_, peer)| !peer.is_listed && peer.in_flight == 0)
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
        let peer = self.peers.get(place)?;
        if peer.is_listed || peer.is_kept || peer.in_flight > 0 {
            return None;
        }
        let peer = self.peers.remove(place);
        self.by_addr.remove(&peer.addr);
        peer.conn
    }

    /// Its connection, which is begun if there is none.
    pub(super) fn connection(
        &mut self,
        place: usize,
        net: &mut Net,
        owner: Owner,
        max_frame_bytes: usize,
    ) -> Option<(ConnId, bool)> {
        let peer = self.peers.get_mut(place)?;
        if let Some(conn) = peer.conn {
            return Some((conn, false));
        }
        let options = ConnectOptions {
            owner,
            max_frame_bytes: Some(max_frame_bytes),
            ..ConnectOptions::default()
        };
        let conn = net.connect(peer.addr, options);
        peer.conn = Some(conn);
        Some((conn, true))
    }

    /// A reply came: whatever was wrong is over.
    pub(super) fn succeeded(&mut self, place: usize) {
        if let Some(peer) = self.peers.get_mut(place) {
            peer.failures = 0;
            peer.set_aside_until = Time::ZERO;
        }
    }

    /// Its connection is gone. It is asked again after a pause, the longer the more often it fails.
    pub(super) fn failed(&mut self, place: usize, net: &mut Net) {
        let draw = net.random();
        if let Some(peer) = self.peers.get_mut(place) {
            let pause = FIRST_PAUSE * 2_u32.pow(peer.failures.min(10));
            // Between half of it and all of it, so that callers don't come back together.
            let percent = 50 + u32::try_from(draw % 51).unwrap_or(50);
            peer.set_aside_until = net.now() + pause.min(LONGEST_PAUSE) * percent / 100;
            peer.failures += 1;
            peer.conn = None;
            peer.is_open = false;
            peer.held_bytes = 0;
        }
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
