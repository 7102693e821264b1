//! Calls: each is assigned to a peer, and reassigned if that peer cannot have served it.

mod notifications;
mod waits;

use std::collections::VecDeque;
use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use super::call_error::CallError;
use super::calls::{
    Attempt, Call, CallId, Calls, CompletedCall, MAX_ATTEMPTS, NewCall, Target, Text,
};
use super::config::Config;
use super::correlation::Correlation;
use super::peers::Peers;
use super::roster::Roster;
use super::tag::Tag;
use super::waiting::Waiting;
use crate::protocol::{Route, write_request_head};
use crate::reactor::conn_map::ConnMap;
use crate::reactor::{Close, CloseReason, ConnId, ConnectOptions, Net, Owner};

/// Calls without a result, and the peers that they are assigned to.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) owner: Owner,
    max_in_flight: usize,
    max_plain_in_flight_bytes: usize,
    max_frame_bytes: usize,
    calls: Calls,
    /// Reused buffer for the calls of one connection.
    slots: Vec<usize>,
    /// Calls that failed without a reply, whose result is still to be reported.
    pub(super) completed: VecDeque<(CompletedCall, CallError<'static>)>,
    pub(super) peers: Peers,
    conns: ConnMap<usize>,
    waiting: Waiting,
    is_stopped: bool,
}

/// Minimum time that the idle connection to an unlisted peer is kept. The maximum is twice this.
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
            waiting: Waiting::default(),
            is_stopped: false,
        }
    }

    /// Returns whether any peer has a connection.
    pub(super) fn is_connected(&self) -> bool {
        self.conns.len() > 0
    }

    /// Returns the number of calls without a result.
    pub(super) fn len(&self) -> usize {
        self.calls.len()
    }

    /// Returns the id of the next call.
    pub(super) fn next_id(&self) -> CallId {
        self.calls.next_id()
    }

    /// Encodes the text of a call.
    pub(super) fn encode(
        &mut self,
        route: &Route<'_>,
        params: &(impl Serialize + ?Sized),
        correlation: Correlation<'_>,
    ) -> Text {
        let mut text = Text::new(self.take_buffer(), &route.method, &route.path);
        text.set_params(params);
        text.add_correlation(correlation);
        text
    }

    /// Returns an empty buffer for the text of a call.
    pub(super) fn take_buffer(&mut self) -> Vec<u8> {
        self.calls.take_buffer()
    }

    /// Makes a call. If it `awaits` an interest, it is assigned when that is in view.
    pub(super) fn call(
        &mut self,
        net: &mut Net,
        roster: &Roster,
        new: NewCall,
        awaits: Option<u64>,
    ) -> CallId {
        let id = self.calls.next_id();
        let (slot, refusal) = self.calls.insert(net, self.owner, new);
        match (refusal, awaits) {
            (Some(error), _) => self.complete(net, slot, error),
            (None, None) => self.attempt(net, roster, slot),
            (None, Some(number)) => self.wait(net, slot, number),
        }
        id
    }

    /// Calls each member with this name, once.
    pub(super) fn call_all(
        &mut self,
        net: &mut Net,
        roster: &Roster,
        name: &str,
        text: &Text,
        new: impl Fn(SocketAddr, Text) -> NewCall,
        mut each: impl FnMut(SocketAddr, CallId),
    ) {
        for addr in roster.known_name(name).filter_map(|member| member.addr) {
            let copy = text.copy(self.take_buffer());
            each(addr, self.call(net, roster, new(addr, copy), None));
        }
    }

    /// Discards a call that has no result yet. The request may have been served, or may still be.
    pub(super) fn cancel(&mut self, net: &mut Net, id: CallId) {
        if let Some(slot) = self.calls.slot(id.0) {
            self.close(net, slot);
        } else {
            // Its result may wait for the end of the turn.
            self.completed.retain(|(call, _)| call.id != id);
        }
    }

    /// Assigns a call to a peer, or completes it if there is none.
    fn attempt(&mut self, net: &mut Net, roster: &Roster, slot: usize) {
        let Some((place, conn)) = self.choose(net, roster, slot) else {
            return self.fail(net, slot, CallError::ConnectionLost);
        };
        let (Some(call), Some(peer)) = (self.calls.get_mut(slot), self.peers.get_mut(place)) else {
            return;
        };
        // The request may never be written: if the connection fails or is being closed, `closed`
        // reassigns the call.
        call.attempt = Some(Attempt {
            peer: place,
            conn,
            written_at: None,
            read_before: 0,
        });
        call.responder = Some(peer.addr);
        peer.in_flight += 1;
        peer.held_bytes += call.text.request_bytes();
        self.calls.assign(&mut peer.assigned, slot);
        if peer.opened_at.is_some() {
            self.enqueue(net, slot);
        }
    }

    fn choose(&mut self, net: &mut Net, roster: &Roster, slot: usize) -> Option<(usize, ConnId)> {
        let call = self.calls.get_mut(slot)?;
        call.attempts += 1;
        if call.attempts > MAX_ATTEMPTS || self.is_stopped {
            return None;
        }
        let place = match call.target {
            Target::At(addr) => {
                let place = self.peers.at(addr);
                if self.peers.keep(place) {
                    net.arm(self.owner, net.now() + KEPT, Tag::Kept.pack());
                }
                let peer = self.peers.get(place)?;
                peer.takes_more(call, self.max_in_flight, net)
                    .then_some(place)?
            }
            Target::Anyone => {
                let (route, _) = call.text.parts();
                let candidates = roster.known_prefix(&route);
                self.peers
                    .choose(&candidates, call, self.max_in_flight, net)?
            }
            Target::None => return None,
        };
        Some((place, self.connection(net, place)?))
    }

    /// Returns the connection to a peer, connecting if there is none.
    fn connection(&mut self, net: &mut Net, place: usize) -> Option<ConnId> {
        let peer = self.peers.get_mut(place)?;
        if peer.conn.is_none() {
            let options = ConnectOptions {
                owner: self.owner,
                max_frame_bytes: Some(self.max_frame_bytes),
                ..ConnectOptions::default()
            };
            let conn = net.connect(peer.addr, options);
            peer.conn = Some(conn);
            self.conns.insert(conn, place);
        }
        peer.conn
    }

    /// Queues a call on its connection, which is established.
    fn enqueue(&mut self, net: &mut Net, slot: usize) {
        if let Some(call) = self.calls.get_mut(slot)
            && let Some(attempt) = &mut call.attempt
            && let Some(peer) = self.peers.get_mut(attempt.peer)
        {
            attempt.read_before = net.read_bytes(attempt.conn);
            peer.window.wait(call.id.0);
            let place = attempt.peer;
            self.write_waiting(net, place);
        }
    }

    /// Writes the calls that wait for room on the connection of a peer, as far as there is room.
    fn write_waiting(&mut self, net: &mut Net, place: usize) {
        while let Some(peer) = self.peers.get_mut(place)
            && let Some(key) = peer.window.first_waiting()
            && let Some(slot) = self.calls.slot(key)
            && let Some(call) = self.calls.get_mut(slot)
            && let Some(attempt) = &mut call.attempt
        {
            let (conn, bytes) = (attempt.conn, call.text.request_bytes());
            if peer.is_plain && !(peer.window).has_room(bytes, self.max_plain_in_flight_bytes) {
                return;
            }
            peer.window.leave(key);
            let (route, params) = call.text.parts();
            // The remaining time is known only now.
            let left = call.deadline.saturating_since(net.now());
            let left = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
            let queued_before = net.pending_bytes(conn);
            let is_queued = net.send_with(conn, |out| {
                write_request_head(&mut *out, &route, key, Some(left))?;
                out.write_all(params)?;
                out.write_all(b"}")
            });
            if !is_queued {
                continue;
            }
            let queued = net.pending_bytes(conn);
            attempt.written_at = Some(net.written_bytes(conn) + queued as u64);
            peer.release(bytes);
            if peer.is_plain {
                peer.window.written(key, queued - queued_before);
            }
        }
    }

    /// Handles an established connection to a peer: writes the calls that waited for it.
    pub(super) fn opened(&mut self, net: &mut Net, conn: ConnId) {
        let place = self.conns.get(conn);
        let Some(peer) = place.and_then(|place| self.peers.get_mut(*place)) else {
            return;
        };
        if peer.conn != Some(conn) {
            return;
        }
        peer.opened_at = Some(net.now());
        let mut slots = std::mem::take(&mut self.slots);
        self.calls.assigned(&peer.assigned, &mut slots);
        for slot in slots.drain(..) {
            self.enqueue(net, slot);
        }
        self.slots = slots;
    }

    /// Handles a reply with this key. Returns its call, if that is assigned to this peer.
    pub(super) fn replied(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        key: Option<u64>,
    ) -> Option<CompletedCall> {
        let place = *self.conns.get(conn)?;
        self.peers.get_mut(place)?.answered(key);
        let slot = key.and_then(|key| self.calls.slot(key)).filter(|slot| {
            let attempt = self.calls.get(*slot).and_then(|call| call.attempt);
            attempt.is_some_and(|attempt| attempt.peer == place)
        });
        let completed = slot.and_then(|slot| {
            self.peers.get_mut(place)?.succeeded();
            self.close(net, slot)
        });
        self.write_waiting(net, place);
        completed
    }

    pub(super) fn deadline_passed(&mut self, net: &mut Net, key: u64) {
        let Some(slot) = self.calls.slot(key) else {
            return;
        };
        let attempt = self.calls.get(slot).and_then(|call| call.attempt);
        self.fail(net, slot, CallError::Deadline);
        if let Some(attempt) = attempt
            && let Some(peer) = self.peers.get_mut(attempt.peer)
            && peer.expired(attempt.conn, attempt.read_before, net)
        {
            net.close(attempt.conn, Close::Now);
        }
    }

    /// Removes idle peers that were called by address.
    pub(super) fn let_go(&mut self, net: &mut Net) {
        if self.peers.let_go(net) {
            net.arm(self.owner, net.now() + KEPT, Tag::Kept.pack());
        }
    }

    /// Handles the end of the connection to a peer. Calls that it cannot have served are
    /// reassigned.
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
        let mut slots = std::mem::take(&mut self.slots);
        self.calls.assigned(&peer.assigned, &mut slots);
        if !self.is_stopped {
            // A peer that has only shut down its sending side could otherwise still read calls that
            // are reassigned.
            net.close(conn, Close::Now);
        }
        for slot in slots.drain(..) {
            self.end_attempt(slot);
            let Some(call) = self.calls.get_mut(slot) else {
                continue;
            };
            // A request that was not written completely cannot have been served.
            let written_at = call.attempt.take().and_then(|attempt| attempt.written_at);
            let was_written = written_at.is_some_and(|end| end <= written);
            // After a stop, queued requests are still written.
            call.may_be_done |= was_written || self.is_stopped;
            if let Some(unreachable) = call.unreachable.get_mut(call.attempts - 1)
                && !was_reached
            {
                *unreachable = Some(place);
            }
            let may_move = !was_written || call.is_idempotent;
            if may_move && matches!(call.target, Target::Anyone) {
                self.attempt(net, roster, slot);
            } else {
                self.fail(net, slot, CallError::ConnectionLost);
            }
        }
        self.slots = slots;
        self.peers.forget_if_idle(net, place);
    }

    /// Removes a call from its peer, or from those that wait for the view.
    fn end_attempt(&mut self, slot: usize) {
        self.end_wait(slot);
        if let Some(call) = self.calls.get(slot)
            && let Some(attempt) = call.attempt
            && let Some(peer) = self.peers.get_mut(attempt.peer)
        {
            peer.in_flight -= 1;
            if attempt.written_at.is_none() {
                peer.release(call.text.request_bytes());
                peer.window.leave(call.id.0);
            }
            self.calls.unassign(&mut peer.assigned, slot);
        }
    }

    /// Completes a call without a reply: with `error` if it may have been served, otherwise as
    /// unavailable.
    fn fail(&mut self, net: &mut Net, slot: usize, error: CallError<'static>) {
        let may_be_done = |call: &Call| {
            let written_at = call.attempt.and_then(|attempt| attempt.written_at);
            call.may_be_done || written_at.is_some()
        };
        let why = if self.calls.get(slot).is_some_and(may_be_done) {
            error
        } else {
            CallError::Unavailable
        };
        self.complete(net, slot, why);
    }

    fn complete(&mut self, net: &mut Net, slot: usize, error: CallError<'static>) {
        if let Some(call) = self.close(net, slot) {
            if self.completed.is_empty() {
                net.arm(self.owner, net.now(), Tag::Events.pack());
            }
            self.completed.push_back((call, error));
        }
    }

    fn close(&mut self, net: &mut Net, slot: usize) -> Option<CompletedCall> {
        self.end_attempt(slot);
        let call = self.calls.remove(net, slot)?;
        if let Some(attempt) = call.attempt {
            self.peers.forget_if_idle(net, attempt.peer);
        }
        Some(CompletedCall {
            id: call.id,
            responder: call.responder,
            waiter: call.waiter,
        })
    }

    /// Stops assigning calls, and closes all connections once their queues are written.
    pub(super) fn stop(&mut self, net: &mut Net) {
        self.is_stopped = true;
        for (conn, _) in self.conns.iter() {
            net.close(conn, Close::AfterFlush);
        }
    }
}
