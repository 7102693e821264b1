//! The receivers of results.

use std::sync::mpsc::Sender;

use super::call_error::CallError;
use super::slot_key::SlotKey;
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
    Task(SlotKey),
}
