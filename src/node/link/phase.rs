//! The phases of the link to the Distributor.
//!
//! | phase | the timer is for | ends in |
//! |---|---|---|
//! | `Apart` | the next attempt | `Connecting` to the next address; `LookingUp` if it has a name |
//! | `LookingUp` | the longest lookup | `Connecting`; `Apart` if no address was found |
//! | `Connecting` | – (the reactor has one) | `Registering` when established |
//! | `Registering` | the registration timeout | `Session`, `Plain` (only lists), or `Apart` |
//! | `Plain` | the end of merging | `Session` if the reply is late |
//! | `Session` | the next heartbeat | `Apart` after three without a frame |
//!
//! 1. Each phase with a connection ends in `Apart` when that is closed; then another attempt may
//!    follow.
//! 2. At most one timer is armed, the phase's.
//! 3. A node that stops or drains stays in `Apart` and `LookingUp`.
//! 4. The [`LinkState`] follows: `Registered` in `Plain` and `Session`; in others `Lost` once the
//!    node was registered, and `Searching` before.
//!
//! # Drains
//!
//! A [`Drain`] is separate from the phase, since it outlives connections, and has its own timer:
//! `None` → `Pending` (only in `Session`) or `Unproven`; `Pending` → `Unproven` when the connection
//! is lost; both → `Over`, which is reported once. No drain begins during another one.

use std::time::Duration;

use super::super::event::LinkState;
use crate::reactor::ConnId;
use crate::time::Time;

#[derive(Debug)]
pub(super) enum Phase {
    Apart,
    LookingUp {
        /// Place of the name among the Distributors.
        host: usize,
    },
    Connecting {
        conn: ConnId,
    },
    Registering {
        conn: ConnId,
        key: u64,
        /// The last list without a session.
        list: Vec<u8>,
    },
    Plain {
        conn: ConnId,
        key: u64,
        list: Vec<u8>,
        /// End of the time in which lists are merged with the previous view.
        merges_until: Option<Time>,
    },
    Session {
        conn: ConnId,
        heartbeat: Duration,
        heard_at: Time,
    },
}

impl Phase {
    pub(super) fn conn(&self) -> Option<ConnId> {
        match self {
            Phase::Apart | Phase::LookingUp { .. } => None,
            Phase::Connecting { conn }
            | Phase::Registering { conn, .. }
            | Phase::Plain { conn, .. }
            | Phase::Session { conn, .. } => Some(*conn),
        }
    }

    pub(super) fn state(&self, was_registered: bool) -> LinkState {
        match self {
            Phase::Plain { .. } | Phase::Session { .. } => LinkState::Registered,
            _ if was_registered => LinkState::Lost,
            _ => LinkState::Searching,
        }
    }
}

#[derive(Debug)]
pub(super) enum Drain {
    None,
    /// The Distributor waits for acknowledgements until `until`, and replies with this key.
    Pending {
        key: u64,
        until: Time,
    },
    /// No Distributor will reply. The node serves until the time to wait is over.
    Unproven,
    /// The end of the drain was reported.
    Over,
}
