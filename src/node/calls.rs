//! The calls without a result, by their keys.

use serde::Serialize;
use slab::Slab;

use super::call::{Call, CallId, MAX_ATTEMPTS, NewCall, Text};
use super::tag::Tag;
use crate::reactor::buffer_pool::BufferPool;
use crate::reactor::{ConnId, Net, Owner};

/// A table of calls, by a slot that stays while the call has no result.
#[derive(Debug, Default)]
pub(super) struct Calls {
    calls: Slab<Call>,
    drawn: u32,
    pool: BufferPool,
}

/// The key of a request has the slot of its call in the low bits, and stays below 2^53: JavaScript
/// has no larger whole numbers.
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

    /// Returns what the next call will be named.
    pub(super) fn next_id(&self) -> CallId {
        let slot = self.calls.vacant_key();
        CallId(u64::from(self.drawn.wrapping_add(1)) << SLOT_BITS | slot as u64)
    }

    /// Adds a call and arms its deadline. Returns its slot, and whether it can be sent: its params
    /// can be encoded, and there are not too many calls.
    pub(super) fn insert<P: Serialize + ?Sized>(
        &mut self,
        net: &mut Net,
        owner: Owner,
        new: NewCall<'_, P>,
    ) -> (usize, bool) {
        let mut buffer = self.pool.take();
        buffer.extend_from_slice(new.route.method.as_bytes());
        buffer.extend_from_slice(new.route.path.as_bytes());
        let mut is_encoded = serde_json::to_writer(&mut buffer, new.params).is_ok();
        if let Some(request_id) = new.request_id {
            buffer.extend_from_slice(b",\"request_id\":");
            is_encoded &= serde_json::to_writer(&mut buffer, request_id).is_ok();
        }
        let id = self.next_id();
        self.drawn = self.drawn.wrapping_add(1);
        let slot = self.calls.insert(Call {
            id,
            target: new.target,
            is_idempotent: new.is_idempotent,
            deadline: new.deadline,
            timer: net.arm(owner, new.deadline, Tag::Call(id.0).pack()),
            text: Text {
                buffer,
                method_bytes: new.route.method.len(),
                path_bytes: new.route.path.len(),
            },
            attempt: None,
            responder: None,
            attempts: 0,
            unreachable: [None; MAX_ATTEMPTS],
            may_be_done: false,
            posted_by: new.posted_by,
        });
        (slot, is_encoded && slot < MAX_CALLS)
    }

    /// Removes a call and disarms its deadline.
    pub(super) fn remove(&mut self, net: &mut Net, slot: usize) -> Option<Call> {
        let mut call = self.calls.try_remove(slot)?;
        net.disarm(call.timer);
        self.pool.give(std::mem::take(&mut call.text.buffer));
        Some(call)
    }

    /// Adds the slots of the calls that were given to a connection, the oldest call first.
    pub(super) fn on(&self, conn: ConnId, slots: &mut Vec<usize>) {
        let is_on = |call: &Call| call.attempt.is_some_and(|attempt| attempt.conn == conn);
        let calls = self.calls.iter().filter(|(_, call)| is_on(call));
        slots.extend(calls.map(|(slot, _)| slot));
        slots.sort_unstable_by_key(|slot| self.get(*slot).map(|call| call.id));
    }
}
