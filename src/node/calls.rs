//! The calls without a result, by their keys.

use std::iter::successors;
use std::net::SocketAddr;

use serde::Serialize;
use slab::Slab;

use super::call_error::CallError;
use super::correlation::Correlation;
use super::tag::Tag;
use super::waiter::Waiter;
use crate::protocol::{Route, TraceContext};
use crate::reactor::buffer_pool::BufferPool;
use crate::reactor::{ConnId, Net, Owner, TimerId};
use crate::time::Time;

/// Identifies one call of a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CallId(pub(super) u64);

impl CallId {
    /// Returns the key of the request and its reply.
    pub fn key(self) -> u64 {
        self.0
    }
}

#[derive(Debug)]
pub(super) struct NewCall {
    pub(super) target: Target,
    pub(super) text: Text,
    pub(super) deadline: Time,
    pub(super) is_idempotent: bool,
    pub(super) waiter: Waiter,
}

/// Destination of a call.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    /// Any node that serves its route.
    Anyone,
    /// Only this address.
    At(SocketAddr),
    /// No node: the call only waits for its interest to be in view, and ends as unavailable.
    None,
}

/// Maximum number of attempts of a call, each at another peer.
pub(super) const MAX_ATTEMPTS: usize = 8;

#[derive(Debug)]
pub(super) struct Call {
    pub(super) id: CallId,
    pub(super) target: Target,
    pub(super) is_idempotent: bool,
    pub(super) deadline: Time,
    timer: TimerId,
    pub(super) text: Text,
    pub(super) attempt: Option<Attempt>,
    /// Number of the interest that it waits for, before its first attempt.
    pub(super) awaits: Option<u64>,
    /// Peer that it was last assigned to.
    pub(super) responder: Option<SocketAddr>,
    /// Calls before and after it in the list of its peer.
    neighbours: Neighbours,
    /// Number of peers that it was assigned to.
    pub(super) attempts: usize,
    /// Unreachable peers, by the number of the attempt.
    pub(super) unreachable: [Option<usize>; MAX_ATTEMPTS],
    /// The whole request was written to a peer whose connection was lost.
    pub(super) may_be_done: bool,
    pub(super) waiter: Waiter,
}

/// The peer that a call is assigned to now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt {
    pub(super) peer: usize,
    pub(super) conn: ConnId,
    /// Number of bytes that the connection has written when the request is complete. `None` while
    /// the request waits for the connection, or for room on it.
    pub(super) written_at: Option<u64>,
    /// Number of bytes that the connection had read before the request could be written.
    pub(super) read_before: u64,
}

/// The calls that are assigned to one peer, or that wait for the view, linked by their slots: when
/// the connection of a peer ends, only these are looked at.
#[derive(PartialEq, Eq, Debug, Default)]
pub(super) struct AssignedCalls {
    first: Option<usize>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Neighbours {
    previous: Option<usize>,
    next: Option<usize>,
}

/// A call that has its result.
#[derive(Debug)]
pub(super) struct CompletedCall {
    pub(super) id: CallId,
    pub(super) responder: Option<SocketAddr>,
    pub(super) waiter: Waiter,
}

/// The route, and the encoded params with all that follows them in the packet, in one buffer. Kept
/// until there is a result, so that the call can be reassigned.
#[derive(Debug)]
pub(super) struct Text {
    buffer: Vec<u8>,
    method_bytes: usize,
    path_bytes: usize,
    /// The params could not be encoded, for this reason.
    fault: Option<String>,
}

/// Minimum size of a request without this text.
const ENVELOPE_BYTES: usize = 256;

impl Text {
    /// Starts a text in an empty buffer. Call [`Text::set_params`] next.
    pub(super) fn new(mut buffer: Vec<u8>, method: &str, path: &str) -> Text {
        buffer.extend_from_slice(method.as_bytes());
        buffer.extend_from_slice(path.as_bytes());
        Text {
            buffer,
            method_bytes: method.len(),
            path_bytes: path.len(),
            fault: None,
        }
    }

    /// Encodes the params, in place of those encoded before.
    pub(super) fn set_params(&mut self, params: &(impl Serialize + ?Sized)) {
        self.buffer.truncate(self.method_bytes + self.path_bytes);
        let encoded = serde_json::to_writer(&mut self.buffer, params);
        self.fault = encoded.err().map(|error| error.to_string());
    }

    /// Adds the fields that calls pass on, after the params.
    pub(super) fn add_correlation(&mut self, correlation: Correlation<'_>) {
        let Correlation { request_id, trace } = correlation;
        let fields = [
            ("request_id", request_id),
            ("traceparent", trace.map(TraceContext::traceparent)),
            ("tracestate", trace.and_then(TraceContext::tracestate)),
        ];
        for (name, value) in fields {
            if let Some(value) = value {
                for part in [",\"", name, "\":"] {
                    self.buffer.extend_from_slice(part.as_bytes());
                }
                // A string can be encoded, and writing to memory does not fail.
                let _ = serde_json::to_writer(&mut self.buffer, value);
            }
        }
    }

    /// Returns a copy in another buffer, which is empty.
    pub(super) fn copy(&self, mut buffer: Vec<u8>) -> Text {
        buffer.extend_from_slice(&self.buffer);
        Text {
            buffer,
            fault: self.fault.clone(),
            ..*self
        }
    }

    pub(super) fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    pub(super) fn parts(&self) -> (Route<'_>, &[u8]) {
        let (method, rest) = self.buffer.split_at(self.method_bytes);
        let (path, params) = rest.split_at(self.path_bytes);
        let words = |bytes| std::str::from_utf8(bytes).unwrap_or_default();
        (Route::new(words(method), words(path)), params)
    }

    /// Returns an upper limit of the length of the request; a `¶` makes it a little longer.
    pub(super) fn request_bytes(&self) -> usize {
        self.buffer.len() + ENVELOPE_BYTES
    }
}

/// A table of calls, by a slot that is stable while the call has no result.
#[derive(Debug, Default)]
pub(super) struct Calls {
    calls: Slab<Call>,
    drawn: u32,
    pool: BufferPool,
}

/// Number of low bits of a key that hold the slot of its call. Keys stay below 2^53: JavaScript has
/// no larger integers.
const SLOT_BITS: u32 = 21;
const MAX_CALLS: usize = 1 << SLOT_BITS;

impl Calls {
    pub(super) fn len(&self) -> usize {
        self.calls.len()
    }

    pub(super) fn get(&self, slot: usize) -> Option<&Call> {
        self.calls.get(slot)
    }

    pub(super) fn get_mut(&mut self, slot: usize) -> Option<&mut Call> {
        self.calls.get_mut(slot)
    }

    /// Returns the slot of the call whose request has this key.
    pub(super) fn slot(&self, key: u64) -> Option<usize> {
        let slot = usize::try_from(key & ((1 << SLOT_BITS) - 1)).ok()?;
        let call = self.calls.get(slot)?;
        (call.id.0 == key).then_some(slot)
    }

    /// Returns the id of the next call.
    pub(super) fn next_id(&self) -> CallId {
        let slot = self.calls.vacant_key();
        CallId(u64::from(self.drawn.wrapping_add(1)) << SLOT_BITS | slot as u64)
    }

    /// Returns an empty buffer for the text of a call.
    pub(super) fn take_buffer(&mut self) -> Vec<u8> {
        self.pool.take()
    }

    /// Adds a call and arms its deadline. Returns its slot, and the reason if it cannot be sent:
    /// its params could not be encoded, or there are too many calls.
    pub(super) fn insert(
        &mut self,
        net: &mut Net,
        owner: Owner,
        mut new: NewCall,
    ) -> (usize, Option<CallError<'static>>) {
        let fault = new.text.fault.take().map(CallError::InvalidParams);
        let id = self.next_id();
        self.drawn = self.drawn.wrapping_add(1);
        let slot = self.calls.insert(Call {
            id,
            target: new.target,
            is_idempotent: new.is_idempotent,
            deadline: new.deadline,
            timer: net.arm(owner, new.deadline, Tag::Call(id.0).pack()),
            text: new.text,
            attempt: None,
            awaits: None,
            responder: None,
            neighbours: Neighbours::default(),
            attempts: 0,
            unreachable: [None; MAX_ATTEMPTS],
            may_be_done: false,
            waiter: new.waiter,
        });
        let is_full = slot >= MAX_CALLS;
        (slot, fault.or(is_full.then_some(CallError::TooManyCalls)))
    }

    /// Removes a call and disarms its deadline.
    pub(super) fn remove(&mut self, net: &mut Net, slot: usize) -> Option<Call> {
        let mut call = self.calls.try_remove(slot)?;
        net.disarm(call.timer);
        self.pool.give(std::mem::take(&mut call.text.buffer));
        Some(call)
    }

    /// Adds a call to those of a peer.
    pub(super) fn assign(&mut self, assigned: &mut AssignedCalls, slot: usize) {
        let next = assigned.first.replace(slot);
        if let Some(next) = next.and_then(|next| self.calls.get_mut(next)) {
            next.neighbours.previous = Some(slot);
        }
        if let Some(call) = self.calls.get_mut(slot) {
            call.neighbours = Neighbours {
                previous: None,
                next,
            };
        }
    }

    /// Removes a call from those of its peer.
    pub(super) fn unassign(&mut self, assigned: &mut AssignedCalls, slot: usize) {
        let Some(call) = self.calls.get_mut(slot) else {
            return;
        };
        let Neighbours { previous, next } = std::mem::take(&mut call.neighbours);
        match previous.and_then(|previous| self.calls.get_mut(previous)) {
            Some(previous) => previous.neighbours.next = next,
            None => assigned.first = next,
        }
        if let Some(next) = next.and_then(|next| self.calls.get_mut(next)) {
            next.neighbours.previous = previous;
        }
    }

    /// Adds the slots of the calls of a peer to `slots`, the oldest call first.
    pub(super) fn assigned(&self, assigned: &AssignedCalls, slots: &mut Vec<usize>) {
        let next = |slot: &usize| self.calls.get(*slot)?.neighbours.next;
        slots.extend(successors(assigned.first, next));
        slots.sort_unstable_by_key(|slot| self.get(*slot).map(|call| call.id));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::reactor::{Limits, Reactor};

    /// Returns the slots that are visited when a peer with three calls is lost.
    fn visited(others: usize) -> Vec<usize> {
        let mut reactor = Reactor::new(Limits::default()).unwrap();
        let mut calls = Calls::default();
        let (mut other, mut lost) = (AssignedCalls::default(), AssignedCalls::default());
        let peers = std::iter::repeat_n(false, others);
        for is_lost in peers.chain([true, false, true, false, true]) {
            let new = NewCall {
                target: Target::Anyone,
                text: Text::new(calls.take_buffer(), "GET", "/goods"),
                deadline: reactor.net().now() + Duration::from_secs(60),
                is_idempotent: false,
                waiter: Waiter::Service,
            };
            let (slot, refusal) = calls.insert(reactor.net(), Owner::default(), new);
            assert_eq!(refusal, None);
            calls.assign(if is_lost { &mut lost } else { &mut other }, slot);
        }
        // No call is found other than by the links of its peer.
        let next = |slot: &usize| calls.calls[*slot].neighbours.next;
        let linked = successors(lost.first, next).count();
        let mut slots = Vec::new();
        calls.assigned(&lost, &mut slots);
        assert_eq!((linked, slots.len()), (3, 3));
        for slot in &slots {
            calls.unassign(&mut lost, *slot);
        }
        assert_eq!(lost, AssignedCalls::default());
        let next = |slot: &usize| calls.calls[*slot].neighbours.next;
        assert_eq!(successors(other.first, next).count(), others + 2);
        slots.iter().map(|slot| slot - others).collect()
    }

    #[test]
    fn visits_only_the_calls_of_the_lost_peer() {
        assert_eq!(visited(10), [0, 2, 4]);
        assert_eq!(visited(10_000), [0, 2, 4]);
    }
}
