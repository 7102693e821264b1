//! Several handlers on one reactor: dispatch of callbacks.

use super::{Close, CloseReason, ConnId, Handler, Net, Origin, Owner, TimerId};

/// A handler that consists of others.
///
/// Passes each callback to the part that [owns](Handler::owns) its connection or timer, and
/// `on_wake` and `on_turn_end` to all. Connections without an owner among the parts are closed.
///
/// Tuples of two to six `&mut` handlers, a `Vec` of handlers and an `Option` of one are composites:
///
/// ```no_run
/// # use std::io;
/// # use pilcrow::distributor::Distributor;
/// # use pilcrow::node::Node;
/// # use pilcrow::reactor::Reactor;
/// # fn f(
/// #     reactor: &mut Reactor,
/// #     mut distributor: Distributor,
/// #     mut node: Node<()>,
/// # ) -> io::Result<()> {
/// reactor.turn(None, &mut (&mut distributor, &mut node))
/// # }
/// ```
///
/// Implement it for handlers that borrow from each other, such as an HTTP server and its app.
pub trait Composite {
    /// Calls `act` with each part. Each callback searches the parts in this order, so there should
    /// be few.
    fn for_each(&mut self, act: impl FnMut(&mut dyn Handler));

    /// Calls [`Handler::on_turn_end`] of all parts.
    fn on_turn_end(&mut self, net: &mut Net) {
        self.for_each(|part| part.on_turn_end(net));
    }
}

/// Calls `act` with the part that owns `owner`. Returns `None` if no part does.
fn with_owner<T>(
    parts: &mut impl Composite,
    owner: Owner,
    act: impl FnOnce(&mut dyn Handler) -> T,
) -> Option<T> {
    let (mut act, mut done) = (Some(act), None);
    parts.for_each(|part| {
        if act.is_some() && part.owns(owner) {
            done = act.take().map(|act| act(part));
        }
    });
    done
}

impl<C: Composite> Handler for C {
    fn owns(&mut self, owner: Owner) -> bool {
        with_owner(self, owner, |_| ()).is_some()
    }

    fn on_open(&mut self, net: &mut Net, conn: ConnId, origin: Origin) {
        if with_owner(self, net.owner(), |part| part.on_open(net, conn, origin)).is_none() {
            net.close(conn, Close::Now);
        }
    }

    fn on_frame(&mut self, net: &mut Net, conn: ConnId, frame: &[u8]) {
        with_owner(self, net.owner(), |part| part.on_frame(net, conn, frame));
    }

    fn on_bytes(&mut self, net: &mut Net, conn: ConnId, bytes: &[u8]) -> usize {
        with_owner(self, net.owner(), |part| part.on_bytes(net, conn, bytes)).unwrap_or(bytes.len())
    }

    fn on_first_bytes(&mut self, net: &mut Net, conn: ConnId, bytes: &[u8]) {
        with_owner(self, net.owner(), |part| {
            part.on_first_bytes(net, conn, bytes)
        });
    }

    fn on_limit(&mut self, net: &mut Net, conn: ConnId, why: CloseReason) {
        with_owner(self, net.owner(), |part| part.on_limit(net, conn, why));
    }

    fn on_drained(&mut self, net: &mut Net, conn: ConnId) {
        with_owner(self, net.owner(), |part| part.on_drained(net, conn));
    }

    fn on_close(&mut self, net: &mut Net, conn: ConnId, why: CloseReason) {
        with_owner(self, net.owner(), |part| part.on_close(net, conn, why));
    }

    fn on_timer(&mut self, net: &mut Net, timer: TimerId, tag: u64) {
        with_owner(self, net.owner(), |part| part.on_timer(net, timer, tag));
    }

    fn on_wake(&mut self, net: &mut Net) {
        self.for_each(|part| part.on_wake(net));
    }

    fn on_turn_end(&mut self, net: &mut Net) {
        Composite::on_turn_end(self, net);
    }
}

macro_rules! tuples_are_composites {
    ($(($($part:ident $place:tt),+))+) => {$(
        impl<$($part: Handler),+> Composite for ($(&mut $part,)+) {
            fn for_each(&mut self, mut act: impl FnMut(&mut dyn Handler)) {
                $(act(self.$place);)+
            }
        }
    )+};
}

tuples_are_composites! {
    (A 0, B 1)
    (A 0, B 1, C 2)
    (A 0, B 1, C 2, D 3)
    (A 0, B 1, C 2, D 3, E 4)
    (A 0, B 1, C 2, D 3, E 4, F 5)
}

impl<H: Handler> Composite for Vec<H> {
    fn for_each(&mut self, mut act: impl FnMut(&mut dyn Handler)) {
        self.iter_mut().for_each(|part| act(part));
    }
}

impl<H: Handler> Composite for Option<H> {
    fn for_each(&mut self, mut act: impl FnMut(&mut dyn Handler)) {
        self.iter_mut().for_each(|part| act(part));
    }
}
