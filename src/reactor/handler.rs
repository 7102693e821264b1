//! What a reactor calls.

use super::{CloseReason, ConnId, Net, Origin, Owner, TimerId};

/// What happens, told to whoever knows what it means.
///
/// Callbacks come one at a time, in the thread that turns the reactor. Each connection is told of
/// in this order: `on_open` (not if it could not be established), then any number of the others,
/// then `on_close`, exactly once and as the last.
pub trait Handler {
    /// Whether this handler makes listeners, connections or timers under `owner`.
    ///
    /// It is asked where several share a reactor: see [`Composite`]. One that allocates no owner
    /// makes everything under the default one.
    fn owns(&self, owner: Owner) -> bool {
        owner == Owner::default()
    }

    /// A connection was accepted, or one that [`Net::connect`] began is established.
    fn on_open(&mut self, net: &mut Net, conn: ConnId, origin: Origin) {
        let _ = (net, conn, origin);
    }

    /// A frame was received on a connection with [`Framing::Pilcrow`].
    ///
    /// Without its end, without white space around it, and never empty. It may be neither JSON nor
    /// UTF-8.
    fn on_frame(&mut self, net: &mut Net, conn: ConnId, frame: &[u8]) {
        let _ = (net, conn, frame);
    }

    /// All bytes there are, on a connection with [`Framing::Raw`]. Returns how many of them the
    /// handler is done with; the others come again with what follows. Called again at once while
    /// it consumes some but not all.
    fn on_bytes(&mut self, net: &mut Net, conn: ConnId, bytes: &[u8]) -> usize {
        let _ = (net, conn);
        bytes.len()
    }

    /// What has come of a connection's first frame, while it is unfinished. The bytes come again,
    /// with more behind them, until the frame is complete: a protocol that never ends a frame can
    /// be told by its beginning.
    fn on_first_bytes(&mut self, net: &mut Net, conn: ConnId, bytes: &[u8]) {
        let _ = (net, conn, bytes);
    }

    /// A limit was broken by what the peer sends or fails to send; `on_close` follows with the
    /// same reason. What is sent now is still written.
    fn on_limit(&mut self, net: &mut Net, conn: ConnId, why: CloseReason) {
        let _ = (net, conn, why);
    }

    /// All that was queued is written, after an earlier turn could not write it all.
    fn on_drained(&mut self, net: &mut Net, conn: ConnId) {
        let _ = (net, conn);
    }

    /// The connection is over. Nothing can be sent on it any more; what was queued before an
    /// orderly end is still written.
    fn on_close(&mut self, net: &mut Net, conn: ConnId, why: CloseReason) {
        let _ = (net, conn, why);
    }

    /// A timer of [`Net::arm`] is due. Never early.
    fn on_timer(&mut self, net: &mut Net, timer: TimerId, tag: u64) {
        let _ = (net, timer, tag);
    }

    /// A [`Waker`] rang since the last turn, once or more often. Told to all.
    fn on_wake(&mut self, net: &mut Net) {
        let _ = net;
    }

    /// Everything of this turn was told. What many events caused together is best sent here, once,
    /// before the loop writes. Told to all.
    fn on_turn_end(&mut self, net: &mut Net) {
        let _ = net;
    }
}
