//! What a Distributor counts. Who left, by cause, is counted by the registry.

use crate::reactor::CloseReason;

/// What the Distributor has done so far. The totals only grow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Registrations that were taken, of new nodes and in place of old ones.
    pub registrations: u64,
    /// Packets that were answered with an errorcode.
    pub refused_packets: u64,
    /// Connections that were closed because they are not admitted: see
    /// [`Access`](super::Access).
    pub not_admitted: u64,
    /// Connections closed because they spoke another protocol.
    pub foreign_connections: u64,
    /// Times a change, or several together, was sent to all who are registered.
    pub pushes: u64,
    /// Lists queued, for whatever reason.
    pub lists_sent: u64,
    /// Pushes of a list that is longer than the read buffer of existing peers.
    pub oversized_pushes: u64,
    /// Nodes that fell silent together with many others, and were held for a while.
    pub suspects_held: u64,
    /// Registrations for which there was no room: too many entries, or too long a list.
    pub refused_for_room: u64,
    /// Connections that sent a frame of more than `Limits::max_frame_bytes`.
    pub frames_too_large: u64,
    /// Connections that did not end a frame within `Limits::frame_timeout`.
    pub frame_timeouts: u64,
    /// Connections that sent nothing within `Limits::first_byte_timeout`.
    pub first_byte_timeouts: u64,
    /// Connections that read too slowly for what they ask (`Limits::max_unsent_bytes`).
    pub unsent_overflows: u64,
    /// Connections that took nothing within `Limits::write_timeout`.
    pub write_timeouts: u64,
    /// Times that the list was kept: see
    /// [`Distributor::note_states`](super::Distributor::note_states).
    pub states_kept: u64,
    /// Times that it could not be.
    pub state_failures: u64,
    /// Connections cut because the old lists that nobody takes were too much together.
    pub old_lists_cut: u64,
}

impl Stats {
    pub(super) fn count_limit(&mut self, why: CloseReason) {
        *match why {
            CloseReason::FrameTooLarge => &mut self.frames_too_large,
            CloseReason::FrameTimeout => &mut self.frame_timeouts,
            CloseReason::NoFirstByte => &mut self.first_byte_timeouts,
            CloseReason::TooMuchUnsent => &mut self.unsent_overflows,
            CloseReason::WriteTimeout => &mut self.write_timeouts,
            _ => return,
        } += 1;
    }
}
