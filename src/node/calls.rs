//! Calls that have no outcome yet.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;
use slab::Slab;

use super::call_error::CallError;
use super::handle::{PostedBy, PostedCall};
use super::peers::Load;
use super::{Core, Role, Tag};
use crate::protocol::write_encoded_request;
use crate::reactor::buffer_pool::BufferPool;
use crate::reactor::{Close, CloseReason, ConnId, Net, TimerId};
use crate::time::Time;

/// Names one call of a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CallId(u64);

impl CallId {
    /// The number that the request carries as its key, and its reply again.
    pub fn key(self) -> u64 {
        self.0
    }
}

/// The key of a request has the slot of its call in the low bits, and stays below 2^53: JavaScript
/// has no larger whole numbers.
const SLOT_BITS: u32 = 21;
const MAX_CALLS: usize = 1 << SLOT_BITS;

#[derive(Debug, Default)]
pub(super) struct Calls {
    open: Slab<Call>,
    drawn: u32,
    pool: BufferPool,
    /// Scratch for the calls of one connection that is gone.
    slots: Vec<usize>,
    /// Calls that ended otherwise than by a reply, and whose end is still to be told.
    pub(super) completed: VecDeque<(CompletedCall, CallError<'static>)>,
}

#[derive(Debug)]
struct Call {
    id: CallId,
    target: Target,
    is_idempotent: bool,
    deadline: Time,
    timer: TimerId,
    /// The method, the uri and the encoded params with what follows them in the packet, one behind
    /// the other: kept until there is an
    /// outcome, so that the call can be sent to another peer.
    text: Vec<u8>,
    method_bytes: usize,
    uri_bytes: usize,
    asked: Option<Asked>,
    /// Whom it was given to last.
    asked_addr: Option<SocketAddr>,
    /// Peers that it was given to.
    attempts: usize,
    /// Those of them that could not be reached, by the number of the attempt.
    unreachable: [Option<usize>; MAX_ATTEMPTS],
    posted_by: Option<PostedBy>,
}

/// Whom a call goes to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    /// Whoever serves its method and path.
    Anyone,
    /// This address alone.
    At(SocketAddr),
}

/// The peer that has it now.
#[derive(Clone, Copy, Debug)]
struct Asked {
    peer: usize,
    conn: ConnId,
    /// When the connection has written so many bytes, the whole request has been written.
    written_at: u64,
}

/// A call that has its result.
#[derive(Debug)]
pub(super) struct CompletedCall {
    pub(super) id: CallId,
    /// The peer that it was given to last.
    pub(super) responder: Option<SocketAddr>,
    pub(super) posted_by: Option<PostedBy>,
}

/// Peers that one call is given to, one after the other, before it counts as having nobody.
const MAX_ATTEMPTS: usize = 8;

/// How long the connection to a peer that is not listed is kept without a call: up to twice this.
const KEPT: Duration = Duration::from_secs(30);

/// What is asked, of whom, and until when.
pub(super) struct NewCall<'a, P: ?Sized> {
    pub(super) target: Target,
    pub(super) method: &'a str,
    pub(super) uri: &'a str,
    pub(super) params: &'a P,
    pub(super) deadline: Time,
    pub(super) is_idempotent: bool,
    pub(super) request_id: Option<&'a str>,
    pub(super) posted_by: Option<PostedBy>,
}

impl Core {
    pub(super) fn call<P: Serialize + ?Sized>(
        &mut self,
        net: &mut Net,
        new: NewCall<'_, P>,
    ) -> CallId {
        let owner = self.claim_owner(net);
        let calls = &mut self.calls;
        let mut text = calls.pool.take();
        text.extend_from_slice(new.method.as_bytes());
        text.extend_from_slice(new.uri.as_bytes());
        let mut is_encoded = serde_json::to_writer(&mut text, new.params).is_ok();
        if let Some(request_id) = new.request_id {
            text.extend_from_slice(b",\"request_id\":");
            is_encoded &= serde_json::to_writer(&mut text, request_id).is_ok();
        }

        let id = calls.next_id();
        calls.drawn = calls.drawn.wrapping_add(1);
        let timer = net.arm(owner, new.deadline, Tag::Call(id.0).pack());
        let slot = calls.open.insert(Call {
            id,
            target: new.target,
            is_idempotent: new.is_idempotent,
            deadline: new.deadline,
            timer,
            text,
            method_bytes: new.method.len(),
            uri_bytes: new.uri.len(),
            asked: None,
            asked_addr: None,
            attempts: 0,
            unreachable: [None; MAX_ATTEMPTS],
            posted_by: new.posted_by,
        });
        if is_encoded && slot < MAX_CALLS {
            self.ask(net, slot);
        } else {
            self.end(net, slot, CallError::Unavailable);
        }
        id
    }

    pub(super) fn call_posted(&mut self, net: &mut Net, posted: PostedCall) {
        let Ok(params) = RawValue::from_string(posted.params) else {
            super::handle::answer(&posted.posted_by, Err(CallError::Unavailable));
            return;
        };
        self.call(
            net,
            NewCall {
                target: Target::Anyone,
                method: &posted.method,
                uri: &posted.uri,
                params: &*params,
                deadline: net.now() + posted.deadline,
                is_idempotent: posted.is_idempotent,
                request_id: None,
                posted_by: Some(posted.posted_by),
            },
        );
    }

    /// Gives a call to a peer, or ends it if there is none.
    fn ask(&mut self, net: &mut Net, slot: usize) {
        let owner = self.claim_owner(net);
        let Some(call) = self.calls.open.get_mut(slot) else {
            return;
        };
        call.asked = None;
        call.attempts += 1;
        let (method, uri, _) = parts(&call.text, call.method_bytes, call.uri_bytes);

        let load = Load {
            max_in_flight: self.config.max_in_flight_per_peer,
            bytes: call.text.len(),
            unreachable: &call.unreachable,
        };
        let chosen = match call.target {
            Target::At(addr) => {
                let place = self.peers.at(addr);
                if self.peers.keep(place) {
                    net.arm(owner, net.now() + KEPT, Tag::Kept.pack());
                }
                self.peers
                    .get(place)
                    .filter(|peer| peer.takes_more(&load, net))
                    .map(|_| place)
            }
            Target::Anyone => {
                let mut places = self.roster.places_serving(method, uri);
                if places.is_empty() {
                    places = self.roster.places_serving_prefix(method, uri);
                }
                let members = self.roster.members();
                let candidate = |index: usize| {
                    let member = places.get(index).and_then(|place| members.get(*place))?;
                    self.peers.find(member.addr?)
                };
                self.peers.choose(candidate, places.len(), &load, net)
            }
        };
        let may_ask = call.attempts <= MAX_ATTEMPTS && !self.link.is_stopped();
        let chosen = chosen.filter(|_| may_ask);
        let max_frame_bytes = self.config.max_frame_bytes;
        let connection = chosen.and_then(|peer| {
            let (conn, is_new) = self.peers.connection(peer, net, owner, max_frame_bytes)?;
            if is_new {
                self.roles.insert(conn, Role::Peer(peer));
            }
            Some((peer, conn))
        });
        let Some((peer, conn)) = connection else {
            self.end(net, slot, CallError::Unavailable);
            return;
        };
        // Written when it is known: never, if the connection fails or is just being closed. Then it
        // moves on as soon as that is told.
        call.asked = Some(Asked {
            peer,
            conn,
            written_at: u64::MAX,
        });
        let bytes = call.text.len();
        if let Some(peer) = self.peers.get_mut(peer) {
            call.asked_addr = Some(peer.addr);
            peer.in_flight += 1;
            // What is left of its time is known when it can be written.
            if !peer.is_open {
                return peer.hold(bytes);
            }
        }
        self.write_call(net, slot);
    }

    fn write_call(&mut self, net: &mut Net, slot: usize) {
        let Some(call) = self.calls.open.get_mut(slot) else {
            return;
        };
        let Some(asked) = &mut call.asked else {
            return;
        };
        let (method, uri, params) = parts(&call.text, call.method_bytes, call.uri_bytes);
        let left = call.deadline.saturating_since(net.now());
        let left = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        let Some(mut request) = net.send(asked.conn) else {
            return;
        };
        let key = call.id.0;
        // Writing to a queue does not fail.
        let _ = write_encoded_request(&mut request, method, uri, key, Some(left), params);
        request.finish();
        asked.written_at = net.written_bytes(asked.conn) + net.pending_bytes(asked.conn) as u64;
    }

    /// The connection to a peer is established: what waited for it is written.
    pub(super) fn peer_opened(&mut self, net: &mut Net, peer: usize, conn: ConnId) {
        let Some(known) = self.peers.get_mut(peer) else {
            return;
        };
        if known.conn != Some(conn) {
            return;
        }
        known.is_open = true;
        known.held_bytes = 0;
        let mut slots = self.slots_asked_on(conn);
        slots.sort_unstable_by_key(|slot| self.calls.open.get(*slot).map(|call| call.id));
        for slot in slots.drain(..) {
            self.write_call(net, slot);
        }
        self.calls.slots = slots;
    }

    /// The calls that were given to a connection, in the scratch for that.
    fn slots_asked_on(&mut self, conn: ConnId) -> Vec<usize> {
        let mut slots = std::mem::take(&mut self.calls.slots);
        let was_asked = |call: &Call| call.asked.is_some_and(|asked| asked.conn == conn);
        let asked = self.calls.open.iter();
        slots.extend(
            asked
                .filter(|(_, call)| was_asked(call))
                .map(|(slot, _)| slot),
        );
        slots
    }

    /// A reply with this key came from a peer: the call, if it was that peer's to answer.
    pub(super) fn take_answered(
        &mut self,
        net: &mut Net,
        key: u64,
        peer: usize,
    ) -> Option<CompletedCall> {
        let slot = self.calls.slot(key)?;
        let call = self.calls.open.get(slot)?;
        let is_asked = call.asked.is_some_and(|asked| asked.peer == peer);
        if !is_asked {
            return None;
        }
        self.peers.succeeded(peer);
        self.close_call(net, slot)
    }

    pub(super) fn call_deadline(&mut self, net: &mut Net, key: u64) {
        if let Some(slot) = self.calls.slot(key) {
            self.end(net, slot, CallError::Deadline);
        }
    }

    /// Peers that were called by their address, and are no more, are forgotten.
    pub(super) fn look_at_kept(&mut self, net: &mut Net) {
        let (idle, is_kept) = self.peers.let_go();
        for conn in idle {
            net.close(conn, Close::AfterFlush);
        }
        if is_kept {
            self.arm(net, net.now() + KEPT, Tag::Kept);
        }
    }

    /// The connection to a peer is gone. What it can't have served goes to another.
    pub(super) fn peer_closed(
        &mut self,
        net: &mut Net,
        peer: usize,
        conn: ConnId,
        why: CloseReason,
    ) {
        let was_reached = !matches!(
            why,
            CloseReason::ConnectFailed(_) | CloseReason::ConnectTimeout
        );
        if self
            .peers
            .get(peer)
            .is_none_or(|known| known.conn != Some(conn))
        {
            return;
        }
        let written = net.written_bytes(conn);
        if !self.link.is_stopped() {
            // A peer that only sends no more could still read what is given to another now.
            net.close(conn, Close::Now);
        }
        self.peers.failed(peer, net);
        let mut slots = self.slots_asked_on(conn);
        for slot in slots.drain(..) {
            let Some(call) = self.calls.open.get_mut(slot) else {
                continue;
            };
            // A request that was not written whole can't have been read as one.
            let was_written = call
                .asked
                .take()
                .is_some_and(|asked| asked.written_at <= written);
            // After a stop, what is queued is still written.
            let may_move = !was_written || call.is_idempotent;
            let goes_on = may_move && !self.link.is_stopped();
            if let Some(place) = call.unreachable.get_mut(call.attempts - 1)
                && !was_reached
            {
                *place = Some(peer);
            }
            if let Some(peer) = self.peers.get_mut(peer) {
                peer.in_flight -= 1;
            }
            match (goes_on, call.target) {
                (false, _) => self.end(net, slot, CallError::ConnectionLost),
                (true, Target::Anyone) => self.ask(net, slot),
                (true, Target::At(_)) => self.end(net, slot, CallError::Unavailable),
            }
        }
        self.calls.slots = slots;
        self.peers.forget_if_idle(peer);
    }

    fn end(&mut self, net: &mut Net, slot: usize, error: CallError<'static>) {
        if let Some(call) = self.close_call(net, slot) {
            if self.calls.completed.is_empty() {
                self.wake_next_turn(net);
            }
            self.calls.completed.push_back((call, error));
        }
    }

    fn close_call(&mut self, net: &mut Net, slot: usize) -> Option<CompletedCall> {
        let call = self.calls.open.try_remove(slot)?;
        net.disarm(call.timer);
        self.calls.pool.give(call.text);
        if let Some(asked) = call.asked {
            if let Some(peer) = self.peers.get_mut(asked.peer) {
                peer.in_flight -= 1;
            }
            if let Some(conn) = self.peers.forget_if_idle(asked.peer) {
                net.close(conn, Close::AfterFlush);
            }
        }
        Some(CompletedCall {
            id: call.id,
            responder: call.asked_addr,
            posted_by: call.posted_by,
        })
    }
}

/// The method, the uri and the params of a call's text.
fn parts(text: &[u8], method_bytes: usize, uri_bytes: usize) -> (&str, &str, &[u8]) {
    let (method, rest) = text.split_at(method_bytes);
    let (uri, params) = rest.split_at(uri_bytes);
    let words = |bytes| std::str::from_utf8(bytes).unwrap_or_default();
    (words(method), words(uri), params)
}

impl Calls {
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// What the next call will be named.
    pub(super) fn next_id(&self) -> CallId {
        let slot = self.open.vacant_key();
        CallId(u64::from(self.drawn.wrapping_add(1)) << SLOT_BITS | slot as u64)
    }

    fn slot(&self, key: u64) -> Option<usize> {
        let slot = usize::try_from(key & ((1 << SLOT_BITS) - 1)).ok()?;
        let call = self.open.get(slot)?;
        (call.id.0 == key).then_some(slot)
    }
}
