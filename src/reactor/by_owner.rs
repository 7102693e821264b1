//! Several handlers on one reactor.

use super::{CloseReason, ConnId, Handler, Net, Origin, Owner, TimerId};

/// Hands each callback to the handler whose place is the number of its [`Owner`]; what is told to
/// all goes to all, each under its own owner.
///
/// Make it anew for each turn: `reactor.turn(wait, &mut ByOwner(&mut [&mut first, &mut second]))`.
/// What belongs to an owner without a handler is dropped, and its connections are closed.
pub struct ByOwner<'s, 'h>(pub &'s mut [&'h mut dyn Handler]);

impl ByOwner<'_, '_> {
    fn with(&mut self, net: &mut Net, act: impl FnOnce(&mut dyn Handler, &mut Net)) -> bool {
        let place = usize::from(net.owner().0);
        match self.0.get_mut(place) {
            Some(handler) => {
                act(*handler, net);
                true
            }
            None => false,
        }
    }

    fn each(&mut self, net: &mut Net, mut act: impl FnMut(&mut dyn Handler, &mut Net)) {
        for (place, handler) in (0..).zip(self.0.iter_mut()) {
            net.set_owner(Owner(place));
            act(*handler, net);
        }
    }
}

impl Handler for ByOwner<'_, '_> {
    fn on_open(&mut self, net: &mut Net, conn: ConnId, origin: Origin) {
        if !self.with(net, |handler, net| handler.on_open(net, conn, origin)) {
            net.close(conn, super::Close::Now);
        }
    }

    fn on_frame(&mut self, net: &mut Net, conn: ConnId, frame: &[u8]) {
        self.with(net, |handler, net| handler.on_frame(net, conn, frame));
    }

    fn on_bytes(&mut self, net: &mut Net, conn: ConnId, bytes: &[u8]) -> usize {
        let mut consumed = bytes.len();
        self.with(net, |handler, net| {
            consumed = handler.on_bytes(net, conn, bytes)
        });
        consumed
    }

    fn on_first_bytes(&mut self, net: &mut Net, conn: ConnId, bytes: &[u8]) {
        self.with(net, |handler, net| handler.on_first_bytes(net, conn, bytes));
    }

    fn on_limit(&mut self, net: &mut Net, conn: ConnId, why: CloseReason) {
        self.with(net, |handler, net| handler.on_limit(net, conn, why));
    }

    fn on_drained(&mut self, net: &mut Net, conn: ConnId) {
        self.with(net, |handler, net| handler.on_drained(net, conn));
    }

    fn on_close(&mut self, net: &mut Net, conn: ConnId, why: CloseReason) {
        self.with(net, |handler, net| handler.on_close(net, conn, why));
    }

    fn on_timer(&mut self, net: &mut Net, timer: TimerId, tag: u64) {
        self.with(net, |handler, net| handler.on_timer(net, timer, tag));
    }

    fn on_wake(&mut self, net: &mut Net) {
        self.each(net, |handler, net| handler.on_wake(net));
    }

    fn on_turn_end(&mut self, net: &mut Net) {
        self.each(net, |handler, net| handler.on_turn_end(net));
    }
}

impl std::fmt::Debug for ByOwner<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ByOwner({} handlers)", self.0.len())
    }
}
