//! A lookup of a name.

use std::net::SocketAddr;
use std::sync::mpsc::Sender;

use super::ids::ProcessId;
use crate::sys::Found;

/// A lookup in progress.
pub(super) struct PendingLookup {
    pub(super) process: ProcessId,
    pub(super) found: Sender<Found>,
    pub(super) addrs: Vec<SocketAddr>,
}
