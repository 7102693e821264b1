//! A node on a reactor of its own.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::builder::Builder;
use super::error::Error;
use super::routes::Routes;
use super::service_node::Node;
use crate::reactor::{Reactor, Waker};
use crate::sys::StopSignals;

/// Stops a node that [`Builder::run_until`] runs, from any thread or handler. Clone it to keep one.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    requests: AtomicUsize,
    waker: Mutex<Option<Waker>>,
}

impl Stop {
    /// Creates a handle for one node.
    pub fn new() -> Stop {
        Stop::default()
    }

    /// Requests an orderly end: the node leaves the list, serves until the others know, waits for
    /// its tasks, and closes its connections, all within [`Builder::drain_timeout`]. A second
    /// request ends it at once.
    pub fn stop(&self) {
        self.0.requests.fetch_add(1, Ordering::AcqRel);
        let waker = self.0.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waker) = &*waker {
            // It fails only if the reactor is gone.
            let _ = waker.wake();
        }
    }

    fn requests(&self) -> usize {
        self.0.requests.load(Ordering::Acquire)
    }
}

/// Time to write the last replies after all waits have ended.
const LAST_WRITES: Duration = Duration::from_secs(1);

impl<T: 'static> Builder<T> {
    /// Builds the node and runs it on a reactor of its own, in this thread, until SIGINT or
    /// SIGTERM. The node then leaves in order, as with [`Stop::stop`], and this returns; on a
    /// second signal it returns at once. It also returns when the service stops the node, with
    /// [`Context::stop`](super::Context::stop) or
    /// [`Context::shut_down`](super::Context::shut_down).
    ///
    /// The signals are handled on a thread. Once this returns they end the process, as before.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Builder::build`], and those of the system.
    pub fn run(self) -> Result<(), Error> {
        let stop = Stop::new();
        let signalled = stop.clone();
        let _signals = StopSignals::handle(move || signalled.stop())?;
        self.run_until(stop)
    }

    /// Builds the node and runs it as [`Builder::run`], until [`Stop::stop`] instead of a signal.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Builder::build`], and those of the system.
    pub fn run_until(self, stop: Stop) -> Result<(), Error> {
        let mut reactor = Reactor::new(self.limits.clone())?;
        let waker = reactor.waker();
        let mut shared = stop.0.waker.lock().unwrap_or_else(PoisonError::into_inner);
        *shared = Some(waker);
        drop(shared);
        let drain_timeout = self.drain_timeout;
        let mut node = self.build(reactor.net())?;
        while stop.requests() == 0 && !node.is_leaving() {
            reactor.turn(None, &mut node)?;
        }
        node.context(reactor.net()).shut_down(drain_timeout);
        end(&mut reactor, &mut node, &stop, drain_timeout)
    }
}

/// Turns until the node has left.
fn end<T: 'static>(
    reactor: &mut Reactor,
    node: &mut Node<Routes<T>>,
    stop: &Stop,
    drain_timeout: Duration,
) -> Result<(), Error> {
    let until = reactor.now() + drain_timeout + LAST_WRITES;
    while !node.has_left() && stop.requests() < 2 && reactor.now() < until {
        let left = until.saturating_since(reactor.now());
        reactor.turn(Some(left), node)?;
    }
    Ok(())
}
