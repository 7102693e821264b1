//! Several handlers on one reactor: the one place that passes callbacks on.

use super::{Close, CloseReason, ConnId, Handler, Net, Origin, Owner, TimerId};

/// A handler that is made of others.
///
/// Each callback goes to the part whose [`Owner`] made what it is about, and `on_wake` and
/// `on_turn_end` go to all. Connections that no part owns are closed.
///
/// Tuples of two to six `&mut` handlers, a `Vec` of handlers and an `Option` of one are composites:
///
/// ```no_run
/// # use std::io;
/// # use pilcrow::distributor::Distributor;
/// # use pilcrow::node::Node;
/// # use pilcrow::reactor::Reactor;
/// # fn f(reactor: &mut Reactor, mut distributor: Distributor, mut node: Node<()>) -> io::Result<()> {
/// reactor.turn(None, &mut (&mut distributor, &mut node))
/// # }
/// ```
///
/// Implement it for what is more than its parts, such as an HTTP server with the app that it
/// borrows.
pub trait Composite {
    /// Whether one of the parts makes things under `owner`. See [`Handler::owns`].
    fn owns(&self, owner: Owner) -> bool;

    /// Calls `act` with the part that owns `owner`, or returns `None` if there is none.
    fn with_part<T>(&mut self, owner: Owner, act: impl FnOnce(&mut dyn Handler) -> T) -> Option<T>;

    /// As [`Handler::on_wake`], for all parts.
    fn on_wake(&mut self, net: &mut Net);

    /// As [`Handler::on_turn_end`], for all parts.
    fn on_turn_end(&mut self, net: &mut Net);
}

impl<C: Composite> Handler for C {
    fn owns(&self, owner: Owner) -> bool {
        Composite::owns(self, owner)
    }

    fn on_open(&mut self, net: &mut Net, conn: ConnId, origin: Origin) {
        let told = self.with_part(net.owner(), |part| part.on_open(net, conn, origin));
        if told.is_none() {
            net.close(conn, Close::Now);
        }
    }

    fn on_frame(&mut self, net: &mut Net, conn: ConnId, frame: &[u8]) {
        self.with_part(net.owner(), |part| part.on_frame(net, conn, frame));
    }

    fn on_bytes(&mut self, net: &mut Net, conn: ConnId, bytes: &[u8]) -> usize {
        self.with_part(net.owner(), |part| part.on_bytes(net, conn, bytes))
            .unwrap_or(bytes.len())
    }

    fn on_first_bytes(&mut self, net: &mut Net, conn: ConnId, bytes: &[u8]) {
        self.with_part(net.owner(), |part| part.on_first_bytes(net, conn, bytes));
    }

    fn on_limit(&mut self, net: &mut Net, conn: ConnId, why: CloseReason) {
        self.with_part(net.owner(), |part| part.on_limit(net, conn, why));
    }

    fn on_drained(&mut self, net: &mut Net, conn: ConnId) {
        self.with_part(net.owner(), |part| part.on_drained(net, conn));
    }

    fn on_close(&mut self, net: &mut Net, conn: ConnId, why: CloseReason) {
        self.with_part(net.owner(), |part| part.on_close(net, conn, why));
    }

    fn on_timer(&mut self, net: &mut Net, timer: TimerId, tag: u64) {
        self.with_part(net.owner(), |part| part.on_timer(net, timer, tag));
    }

    fn on_wake(&mut self, net: &mut Net) {
        Composite::on_wake(self, net);
    }

    fn on_turn_end(&mut self, net: &mut Net) {
        Composite::on_turn_end(self, net);
    }
}

macro_rules! tuples_are_composites {
    ($(($($part:ident $place:tt),+))+) => {$(
        impl<$($part: Handler),+> Composite for ($(&mut $part,)+) {
            fn owns(&self, owner: Owner) -> bool {
                $(self.$place.owns(owner))||+
            }

            fn with_part<T>(
                &mut self,
                owner: Owner,
                act: impl FnOnce(&mut dyn Handler) -> T,
            ) -> Option<T> {
                $(if self.$place.owns(owner) {
                    return Some(act(self.$place));
                })+
                None
            }

            fn on_wake(&mut self, net: &mut Net) {
                $(self.$place.on_wake(net);)+
            }

            fn on_turn_end(&mut self, net: &mut Net) {
                $(self.$place.on_turn_end(net);)+
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

/// Looks at the parts one after the other: for a few, not for thousands.
impl<H: Handler> Composite for Vec<H> {
    fn owns(&self, owner: Owner) -> bool {
        self.iter().any(|part| part.owns(owner))
    }

    fn with_part<T>(&mut self, owner: Owner, act: impl FnOnce(&mut dyn Handler) -> T) -> Option<T> {
        let part = self.iter_mut().find(|part| part.owns(owner))?;
        Some(act(part))
    }

    fn on_wake(&mut self, net: &mut Net) {
        for part in self {
            part.on_wake(net);
        }
    }

    fn on_turn_end(&mut self, net: &mut Net) {
        for part in self {
            part.on_turn_end(net);
        }
    }
}

impl<H: Handler> Composite for Option<H> {
    fn owns(&self, owner: Owner) -> bool {
        self.as_ref().is_some_and(|part| part.owns(owner))
    }

    fn with_part<T>(&mut self, owner: Owner, act: impl FnOnce(&mut dyn Handler) -> T) -> Option<T> {
        let part = self.as_mut().filter(|part| part.owns(owner))?;
        Some(act(part))
    }

    fn on_wake(&mut self, net: &mut Net) {
        if let Some(part) = self {
            part.on_wake(net);
        }
    }

    fn on_turn_end(&mut self, net: &mut Net) {
        if let Some(part) = self {
            part.on_turn_end(net);
        }
    }
}
