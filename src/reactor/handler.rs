//! The callbacks of a reactor.

use super::{CloseReason, ConnId, Net, Origin, Owner, TimerId};

/// Receives events from a [`Reactor`](super::Reactor).
///
/// Callbacks run one at a time, on the thread that turns the reactor. For each connection the order
/// is `on_open` (unless it was never established), any number of other callbacks, then `on_close`
/// exactly once. The default of every callback does nothing.
#[expect(unused_variables, reason = "most defaults do nothing")]
pub trait Handler {
    /// Returns whether this handler creates listeners, connections or timers under `owner`.
    ///
    /// A [`Composite`](super::Composite) calls it to find the handler of an event. A handler that
    /// allocates no owner creates everything under the default one.
    fn owns(&mut self, owner: Owner) -> bool {
        owner == Owner::default()
    }

    /// Called when a connection was accepted, or an outgoing one ([`Net::connect`]) is established.
    fn on_open(&mut self, net: &mut Net, conn: ConnId, origin: Origin) {}

    /// Called for each frame of a connection with [`Framing::Pilcrow`](super::Framing::Pilcrow).
    ///
    /// `frame` has neither its end nor white space around it, and is never empty. It may be invalid
    /// JSON or UTF-8.
    fn on_frame(&mut self, net: &mut Net, conn: ConnId, frame: &[u8]) {}

    /// Called for the input of a connection with [`Framing::Raw`](super::Framing::Raw).
    ///
    /// Returns the number of bytes that the handler has consumed; the others are passed again,
    /// followed by newer ones. Called again at once while it consumes some but not all.
    fn on_bytes(&mut self, net: &mut Net, conn: ConnId, bytes: &[u8]) -> usize {
        bytes.len()
    }

    /// Called with the beginning of the first frame of a connection. Called again with more bytes
    /// while the frame is incomplete.
    ///
    /// Serves to detect a wrong protocol by its first bytes: such a peer may never end a frame.
    fn on_first_bytes(&mut self, net: &mut Net, conn: ConnId, bytes: &[u8]) {}

    /// Called when the peer exceeded a limit of size or time.
    ///
    /// `on_close` follows with the same reason. Frames that are sent here are still written.
    fn on_limit(&mut self, net: &mut Net, conn: ConnId, why: CloseReason) {}

    /// Called when the queue became empty, if an earlier turn could not write all of it.
    fn on_drained(&mut self, net: &mut Net, conn: ConnId) {}

    /// Called once when a connection ends.
    ///
    /// Nothing can be sent on it any more. Frames that were queued before an orderly end are still
    /// written.
    fn on_close(&mut self, net: &mut Net, conn: ConnId, why: CloseReason) {}

    /// Called when a timer of [`Net::arm`] expires. Never early.
    fn on_timer(&mut self, net: &mut Net, timer: TimerId, tag: u64) {}

    /// Called if a [`Waker`](super::Waker) was used since the last turn, once for any number of
    /// uses. It may have been used for another handler on the same reactor.
    fn on_wake(&mut self, net: &mut Net) {}

    /// Called after all other callbacks of a turn, before the loop writes.
    ///
    /// Send frames here that depend on several events of the turn.
    fn on_turn_end(&mut self, net: &mut Net) {}
}
