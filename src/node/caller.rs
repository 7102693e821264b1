//! Makes calls: gives each to a peer, and to another one if that can't have served it.

use std::collections::VecDeque;
use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use super::call::{Attempt, CallId, CompletedCall, MAX_ATTEMPTS, NewCall, Target};
use super::call_error::CallError;
use super::calls::Calls;
use super::config::Config;
use super::peer::Load;
use super::peers::Peers;
use super::roster::Roster;
use super::tag::Tag;
use crate::protocol::{Route, write_request, write_request_head};
use crate::reactor::conn_map::ConnMap;
use crate::reactor::{Close, CloseReason, ConnId, Net, Owner};

/// The calls without a result, and the peers that they are given to.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) owner: Owner,
    max_in_flight: usize,
    max_plain_in_flight_bytes: usize,
    max_frame_bytes: usize,
    calls: Calls,
    /// Scratch for the calls of one connection.
    slots: Vec<usize>,
    /// Calls that failed otherwise than by a reply, and whose result is still to be given.
    pub(super) completed: VecDeque<(CompletedCall, CallError<'static>)>,
    peers: Peers,
    conns: ConnMap<usize>,
    is_stopped: bool,
}

/// How long the connection to a peer that is not listed is kept without a call: up to twice this.
const KEPT: Duration = Duration::from_secs(30);

impl Caller {
    pub(super) fn new(config: &Config) -> Caller {
        Caller {
            owner: Owner::default(),
            max_in_flight: config.max_in_flight_per_peer,
            max_plain_in_flight_bytes: config.max_plain_in_flight_bytes,
            max_frame_bytes: config.max_frame_bytes,
            calls: Calls::default(),
            slots: Vec::new(),
            completed: VecDeque::new(),
            peers: Peers::default(),
            conns: ConnMap::default(),
            is_stopped: false,
        }
    }

    /// Returns the number of calls without a result.
    pub(super) fn len(&self) -> usize {
        self.calls.len()
    }

    #[cfg(test)]
    pub(super) fn peers(&self) -> &Peers {
        &self.peers
    }

    /// Returns what the next call will be named.
    pub(super) fn next_id(&self) -> CallId {
        self.calls.next_id()
    }

    pub(super) fn call<P: Serialize + ?Sized>(
        &mut self,
        net: &mut Net,
        roster: &Roster,
        new: NewCall<'_, P>,
    ) -> CallId {
        let id = self.calls.next_id();
        let (slot, can_be_sent) = self.calls.insert(net, self.owner, new);
        if can_be_sent {
            self.attempt(net, roster, slot);
        } else {
            self.give_up(net, slot);
        }
        id
    }

    /// Gives a call to a peer, or ends it if there is none.
    fn attempt(&mut self, net: &mut Net, roster: &Roster, slot: usize) {
        let Some((place, conn)) = self.choose(net, roster, slot) else {
            return self.give_up(net, slot);
        };
        let (Some(call), Some(peer)) = (self.calls.get_mut(slot), self.peers.get_mut(place)) else {
            return;
        };
        // Written when it is known: never, if the connection fails or is just being closed. Then it
        // moves on as soon as that is told.
        call.attempt = Some(Attempt {
            peer: place,
            conn,
            written_at: None,
            read_before: 0,
        });
        call.responder = Some(peer.addr);
        peer.in_flight += 1;
        peer.held_bytes += call.text.request_bytes();
        // What is left of its time is known when it can be written.
        if peer.opened_at.is_some() {
            self.write_or_wait(net, slot);
        }
    }

    fn choose(&mut self, net: &mut Net, roster: &Roster, slot: usize) -> Option<(usize, ConnId)> {
        let call = self.calls.get_mut(slot)?;
        call.attempts += 1;
        if call.attempts > MAX_ATTEMPTS || self.is_stopped {
            return None;
        }
        let load = Load {
            max_in_flight: self.max_in_flight,
            bytes: call.text.request_bytes(),
            unreachable: &call.unreachable,
        };
        let place = match call.target {
            Target::At(addr) => {
                let place = self.peers.at(addr);
                if self.peers.keep(place) {
                    net.arm(self.owner, net.now() + KEPT, Tag::Kept.pack());
                }
                let takes_more = self.peers.get(place)?.takes_more(&load, net);
                takes_more.then_some(place)?
            }
            Target::Anyone => {
                let (route, _) = call.text.parts();
                let places = roster.places_serving_prefix(&route);
                let candidate = |index: usize| {
                    let member = roster.members().get(*places.get(index)?)?;
                    self.peers.find(member.addr?)
                };
                self.peers.choose(candidate, places.len(), &load, net)?
            }
        };
        Some((place, self.connection(net, place)?))
    }

    fn connection(&mut self, net: &mut Net, place: usize) -> Option<ConnId> {
        let peer = self.peers.get_mut(place)?;
        let (conn, is_new) = peer.connection(net, self.owner, self.max_frame_bytes);
        if is_new {
            self.conns.insert(conn, place);
        }
        Some(conn)
    }

    /// Writes a call to the connection of its peer, or lets it wait there for room.
    fn write_or_wait(&mut self, net: &mut Net, slot: usize) {
        let limit = self.max_plain_in_flight_bytes;
        let Some(call) = self.calls.get_mut(slot) else {
            return;
        };
        let bytes = call.text.request_bytes();
        if let Some(attempt) = &mut call.attempt
            && let Some(peer) = self.peers.get_mut(attempt.peer)
        {
            attempt.read_before = net.read_bytes(attempt.conn);
            let is_first = peer.window.first_waiting().is_none();
            if peer.is_plain && !(is_first && peer.window.has_room(bytes, limit)) {
                return peer.window.wait(call.id.0);
            }
            self.write(net, slot);
        }
    }

    fn write(&mut self, net: &mut Net, slot: usize) {
        let Some(call) = self.calls.get_mut(slot) else {
            return;
        };
        let Some(attempt) = &mut call.attempt else {
            return;
        };
        let (route, params) = call.text.parts();
        let left = call.deadline.saturating_since(net.now());
        let left = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        let key = call.id.0;
        let queued_before = net.pending_bytes(attempt.conn);
        let is_queued = net.send_with(attempt.conn, |out| {
            write_request_head(&mut *out, &route, key, Some(left))?;
            out.write_all(params)?;
            out.write_all(b"}")
        });
        if !is_queued {
            return;
        }
        let queued = net.pending_bytes(attempt.conn);
        attempt.written_at = Some(net.written_bytes(attempt.conn) + queued as u64);
        if let Some(peer) = self.peers.get_mut(attempt.peer) {
            peer.release(call.text.request_bytes());
            if peer.is_plain {
                peer.window.written(key, queued - queued_before);
            }
        }
    }

    /// The connection to a peer is established: what waited for it is written.
    pub(super) fn opened(&mut self, net: &mut Net, conn: ConnId) {
        let place = self.conns.get(conn);
        let Some(peer) = place.and_then(|place| self.peers.get_mut(*place)) else {
            return;
        };
        if peer.conn != Some(conn) {
            return;
        }
        peer.opened_at = Some(net.now());
        let mut slots = self.slots_on(conn);
        for slot in slots.drain(..) {
            self.write_or_wait(net, slot);
        }
        self.slots = slots;
    }

    /// Returns the calls that were given to a connection, in the scratch for that.
    fn slots_on(&mut self, conn: ConnId) -> Vec<usize> {
        let mut slots = std::mem::take(&mut self.slots);
        self.calls.on(conn, &mut slots);
        slots
    }

    /// Takes a reply with this key. Returns its call, if it was that peer's to answer.
    pub(super) fn replied(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        key: Option<u64>,
    ) -> Option<CompletedCall> {
        let place = *self.conns.get(conn)?;
        self.peers.get_mut(place)?.answered(key);
        let completed = self.take_replied(net, place, key);
        self.write_waiting(net, place);
        completed
    }

    fn take_replied(
        &mut self,
        net: &mut Net,
        place: usize,
        key: Option<u64>,
    ) -> Option<CompletedCall> {
        let slot = self.calls.slot(key?)?;
        let attempt = self.calls.get(slot)?.attempt;
        let is_its_call = attempt.is_some_and(|attempt| attempt.peer == place);
        if !is_its_call {
            return None;
        }
        self.peers.get_mut(place)?.succeeded();
        self.close(net, slot)
    }

    /// Writes what waited for room on the connection of a peer, as far as there is any.
    fn write_waiting(&mut self, net: &mut Net, place: usize) {
        while let Some(slot) = self.take_waiting(place) {
            self.write(net, slot);
        }
    }

    fn take_waiting(&mut self, place: usize) -> Option<usize> {
        let limit = self.max_plain_in_flight_bytes;
        let peer = self.peers.get_mut(place)?;
        let key = peer.window.first_waiting()?;
        let slot = self.calls.slot(key)?;
        let bytes = self.calls.get(slot)?.text.request_bytes();
        let is_due = !peer.is_plain || peer.window.has_room(bytes, limit);
        is_due.then(|| peer.window.leave(key))?;
        Some(slot)
    }

    pub(super) fn deadline_passed(&mut self, net: &mut Net, key: u64) {
        let Some(slot) = self.calls.slot(key) else {
            return;
        };
        let Some(call) = self.calls.get(slot) else {
            return;
        };
        let attempt = call.attempt;
        let is_sent = attempt.is_some_and(|attempt| attempt.written_at.is_some());
        let error = if is_sent || call.may_be_done {
            CallError::Deadline
        } else {
            CallError::Unavailable
        };
        self.fail(net, slot, error);
        if let Some(attempt) = attempt
            && let Some(peer) = self.peers.get_mut(attempt.peer)
            && peer.expired(attempt.conn, attempt.read_before, net)
        {
            net.close(attempt.conn, Close::Now);
        }
    }

    /// Notes the list. A connection that is not needed any more is closed; where an entry was
    /// registered anew, new calls go to a new one.
    pub(super) fn list(&mut self, net: &mut Net, roster: &Roster, is_new_epoch: bool) {
        for idle in self.peers.list(roster.members(), is_new_epoch) {
            net.close(idle, Close::AfterFlush);
        }
    }

    /// Forgets peers that were called by their address, and are no more.
    pub(super) fn let_go(&mut self, net: &mut Net) {
        let (idle, is_kept) = self.peers.let_go();
        for conn in idle {
            net.close(conn, Close::AfterFlush);
        }
        if is_kept {
            net.arm(self.owner, net.now() + KEPT, Tag::Kept.pack());
        }
    }

    /// The connection to a peer is gone. What it can't have served goes to another.
    pub(super) fn closed(
        &mut self,
        net: &mut Net,
        roster: &Roster,
        conn: ConnId,
        why: CloseReason,
    ) {
        let Some(place) = self.conns.remove(conn) else {
            return;
        };
        let peer = self.peers.get_mut(place);
        let Some(peer) = peer.filter(|peer| peer.conn == Some(conn)) else {
            return;
        };
        let was_reached = !matches!(
            why,
            CloseReason::ConnectFailed(_) | CloseReason::ConnectTimeout
        );
        let written = net.written_bytes(conn);
        peer.failed(net);
        if !self.is_stopped {
            // A peer that only sends no more could still read what is given to another now.
            net.close(conn, Close::Now);
        }
        let mut slots = self.slots_on(conn);
        for slot in slots.drain(..) {
            self.end_attempt(slot);
            let Some(call) = self.calls.get_mut(slot) else {
                continue;
            };
            // A request that was not written whole can't have been read as one.
            let written_at = call.attempt.take().and_then(|attempt| attempt.written_at);
            let was_written = written_at.is_some_and(|end| end <= written);
            call.may_be_done |= was_written;
            if let Some(unreachable) = call.unreachable.get_mut(call.attempts - 1)
                && !was_reached
            {
                *unreachable = Some(place);
            }
            let may_move = !was_written || call.is_idempotent;
            // After a stop, what is queued is still written.
            if !may_move || self.is_stopped {
                self.fail(net, slot, CallError::ConnectionLost);
            } else if matches!(call.target, Target::Anyone) {
                self.attempt(net, roster, slot);
            } else {
                self.give_up(net, slot);
            }
        }
        self.slots = slots;
        self.peers.forget_if_idle(place);
    }

    /// Takes a call off its peer.
    fn end_attempt(&mut self, slot: usize) {
        if let Some(call) = self.calls.get(slot)
            && let Some(attempt) = call.attempt
            && let Some(peer) = self.peers.get_mut(attempt.peer)
        {
            peer.in_flight -= 1;
            if attempt.written_at.is_none() {
                peer.release(call.text.request_bytes());
                peer.window.leave(call.id.0);
            }
        }
    }

    /// Ends a call that no peer can take.
    fn give_up(&mut self, net: &mut Net, slot: usize) {
        let may_be_done = self.calls.get(slot).is_some_and(|call| call.may_be_done);
        let why = if may_be_done {
            CallError::ConnectionLost
        } else {
            CallError::Unavailable
        };
        self.fail(net, slot, why);
    }

    fn fail(&mut self, net: &mut Net, slot: usize, why: CallError<'static>) {
        if let Some(call) = self.close(net, slot) {
            if self.completed.is_empty() {
                net.arm(self.owner, net.now(), Tag::News.pack());
            }
            self.completed.push_back((call, why));
        }
    }

    fn close(&mut self, net: &mut Net, slot: usize) -> Option<CompletedCall> {
        self.end_attempt(slot);
        let call = self.calls.remove(net, slot)?;
        let peer = call.attempt.map(|attempt| attempt.peer);
        if let Some(conn) = peer.and_then(|peer| self.peers.forget_if_idle(peer)) {
            net.close(conn, Close::AfterFlush);
        }
        Some(CompletedCall {
            id: call.id,
            responder: call.responder,
            posted_by: call.posted_by,
        })
    }

    /// Sends a request that wants no reply. Returns whether there is room for it: a notice never
    /// fills the queue, calls come first.
    pub(super) fn notify(
        &mut self,
        net: &mut Net,
        addr: SocketAddr,
        route: &Route<'_>,
        params: &(impl Serialize + ?Sized),
    ) -> bool {
        let place = self.peers.at(addr);
        let (Some(conn), Some(peer)) = (self.connection(net, place), self.peers.get(place)) else {
            return false;
        };
        let mut most = net.limits().max_unsent_bytes / 4;
        if peer.is_plain {
            most = most.min(self.max_plain_in_flight_bytes);
        }
        peer.unsent_bytes(net) <= most
            && net.send_with(conn, |out| write_request(out, route, 0, None, params))
    }

    /// Gives no call to a peer any more, and closes all connections after what is queued for them.
    pub(super) fn stop(&mut self, net: &mut Net) {
        self.is_stopped = true;
        for (conn, _) in self.conns.iter() {
            net.close(conn, Close::AfterFlush);
        }
    }
}
