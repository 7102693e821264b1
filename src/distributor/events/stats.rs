//! The counters of a Distributor. Departures are counted by the registry, by cause.

use crate::reactor::CloseReason;

/// Counters of a [`Distributor`](super::super::Distributor). They only grow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Registrations accepted, of new nodes and in place of old ones.
    pub registrations: u64,
    /// Packets answered with an errorcode.
    pub rejected_packets: u64,
    /// Connections closed because they are not admitted: see
    /// [`Access`](super::super::Access).
    pub not_admitted: u64,
    /// Connections closed because they speak another protocol.
    pub wrong_protocol: u64,
    /// Pushes of a change, or several together, to all watching peers.
    pub pushes: u64,
    /// Lists and changes queued, for whatever reason.
    pub lists_sent: u64,
    /// Pushes of a list that is longer than the read buffer of plain peers.
    pub oversized_pushes: u64,
    /// Nodes held as suspect, because they fell silent together with many others.
    pub suspects_held: u64,
    /// Registrations rejected because there are too many entries, or the list is too long.
    pub capacity_exceeded: u64,
    /// Connections that sent a frame of more than `Limits::max_frame_bytes`.
    pub frames_too_large: u64,
    /// Connections that did not end a frame within `Limits::frame_timeout`.
    pub frame_timeouts: u64,
    /// Connections that sent nothing within `Limits::first_byte_timeout`.
    pub first_byte_timeouts: u64,
    /// Connections that read too slowly for what they request (`Limits::max_unsent_bytes`).
    pub unsent_overflows: u64,
    /// Connections that read nothing within `Limits::write_timeout`.
    pub write_timeouts: u64,
    /// Connections closed because the old lists that they hold up are too much together.
    pub old_lists_cut: u64,
}

impl Stats {
    /// Returns the counter of the limit that a connection exceeded, if that is why it ended.
    pub(super) fn limit(&mut self, reason: CloseReason) -> Option<&mut u64> {
        Some(match reason {
            CloseReason::FrameTooLarge => &mut self.frames_too_large,
            CloseReason::FrameTimeout => &mut self.frame_timeouts,
            CloseReason::NoFirstByte => &mut self.first_byte_timeouts,
            CloseReason::TooMuchUnsent => &mut self.unsent_overflows,
            CloseReason::WriteTimeout => &mut self.write_timeouts,
            _ => return None,
        })
    }
}
