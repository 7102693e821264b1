//! Connections of a routed service, beside those of its node.

use super::context::ServiceContext;
use crate::reactor::{CloseReason, ConnId, Origin};

/// Receives events of connections that a service has created itself, with
/// [`Context::connect`](super::super::Context::connect) and
/// [`Context::listen`](super::super::Context::listen). All methods have a default.
#[expect(unused_variables, reason = "the defaults do nothing")]
pub trait Connections<T> {
    /// Called when a connection is established.
    fn on_open(&mut self, cx: &mut ServiceContext<'_, T>, conn: ConnId, origin: Origin) {}

    /// Called for each frame.
    fn on_frame(&mut self, cx: &mut ServiceContext<'_, T>, conn: ConnId, frame: &[u8]) {}

    /// Called for the input of connections with raw framing. Returns the number of bytes consumed:
    /// see [`Handler::on_bytes`](crate::reactor::Handler::on_bytes).
    fn on_bytes(&mut self, cx: &mut ServiceContext<'_, T>, conn: ConnId, bytes: &[u8]) -> usize {
        bytes.len()
    }

    /// Called when the queue became empty, if an earlier turn could not write all of it.
    fn on_drained(&mut self, cx: &mut ServiceContext<'_, T>, conn: ConnId) {}

    /// Called once when a connection ends.
    fn on_close(&mut self, cx: &mut ServiceContext<'_, T>, conn: ConnId, why: CloseReason) {}
}
