//! The receivers of results.

use std::sync::mpsc::Sender;

use super::call_error::CallError;
use crate::protocol::Reply;

/// Receiver of the result of a posted call.
pub(super) type PostedBy = Box<Sender<Result<Reply<'static>, CallError<'static>>>>;

/// Receiver of the result of a call.
#[derive(Debug)]
pub(super) enum Waiter {
    /// [`Service::on_result`](super::Service::on_result).
    Service,
    /// Another thread.
    Thread(PostedBy),
    /// A task.
    Task(WaitKey),
}

/// Identifies a wait of a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct WaitKey {
    pub(super) slot: usize,
    pub(super) generation: u32,
}

/// Number of low bits of a packed key that hold the slot. The other bits are those of the
/// generation: 61 bits fit into the tag of a timer.
const SLOT_BITS: u32 = 29;

impl WaitKey {
    pub(super) fn pack(self) -> u64 {
        u64::from(self.generation) << SLOT_BITS | self.slot as u64
    }

    pub(super) fn unpack(packed: u64) -> Option<WaitKey> {
        Some(WaitKey {
            slot: usize::try_from(packed & ((1 << SLOT_BITS) - 1)).ok()?,
            generation: u32::try_from(packed >> SLOT_BITS).ok()?,
        })
    }
}
