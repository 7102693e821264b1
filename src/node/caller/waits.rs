//! Waits of calls for the view.

use super::super::call_error::CallError;
use super::super::roster::Roster;
use super::Caller;
use crate::reactor::Net;

impl Caller {
    /// Holds a call until the interest with this number is in view, or until its deadline.
    pub(super) fn wait(&mut self, net: &mut Net, slot: usize, number: u64) {
        let Some(call) = self.calls.get_mut(slot) else {
            return;
        };
        let bytes = self.waiting.bytes + call.text.request_bytes();
        if self.is_stopped || bytes > net.limits().max_unsent_bytes {
            return self.complete(net, slot, CallError::Unavailable);
        }
        self.waiting.bytes = bytes;
        call.awaits = Some(number);
        self.calls.assign(&mut self.waiting.calls, slot);
    }

    /// Assigns the calls, and sends the notifications, whose interest is in view.
    pub(in crate::node) fn view_grew(&mut self, net: &mut Net, roster: &Roster, viewed: u64) {
        let mut slots = std::mem::take(&mut self.slots);
        self.calls.assigned(&self.waiting.calls, &mut slots);
        for slot in slots.drain(..) {
            let call = self.calls.get(slot);
            let awaits = call.and_then(|call| call.awaits);
            if awaits.is_some_and(|number| number <= viewed) {
                self.end_wait(slot);
                self.attempt(net, roster, slot);
            }
        }
        self.slots = slots;
        self.send_waiting(net, roster, viewed);
    }

    /// Removes a call from those that wait.
    pub(super) fn end_wait(&mut self, slot: usize) {
        if let Some(call) = self.calls.get_mut(slot)
            && call.awaits.take().is_some()
        {
            self.waiting.bytes -= call.text.request_bytes();
            self.calls.unassign(&mut self.waiting.calls, slot);
        }
    }
}
