//! Calls and notifications that wait until the view has all nodes that may receive them.

use std::collections::VecDeque;

use super::calls::AssignedCalls;

#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) calls: AssignedCalls,
    /// Number of bytes of their requests.
    pub(super) bytes: usize,
    pub(super) notifications: VecDeque<WaitingNotification>,
    /// Number of bytes of the notifications.
    pub(super) notification_bytes: usize,
}

#[derive(Debug)]
pub(super) struct WaitingNotification {
    /// Number of the interest that it waits for.
    pub(super) awaits: u64,
    pub(super) name: Box<str>,
    /// The encoded request.
    pub(super) request: Vec<u8>,
}

/// Maximum number of notifications that wait.
pub(super) const MAX_WAITING_NOTIFICATIONS: usize = 1024;
