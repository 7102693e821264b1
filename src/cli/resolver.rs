//! Looks up the Distributor's name for a node, without blocking its loop.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use tracing::warn;

use crate::Waker;
use crate::cli::address::HostPort;
use crate::node::{DistributorAddress, Resolve};

/// Returns where a node looks for its Distributor. `waker` is that of the node's reactor.
pub(crate) fn distributor_address(host_port: &HostPort, waker: Waker) -> DistributorAddress {
    match host_port.to_string().parse::<SocketAddr>() {
        Ok(address) => address.into(),
        Err(_) => DistributorAddress::Named(Arc::new(Resolver {
            host_port: host_port.clone(),
            waker,
            lookup: Arc::default(),
        })),
    }
}

/// Looks one name up, in a thread that ends with the lookup: at most one at a time.
struct Resolver {
    host_port: HostPort,
    waker: Waker,
    lookup: Arc<Mutex<Lookup>>,
}

#[derive(Default)]
enum Lookup {
    #[default]
    Idle,
    Running,
    Ended(io::Result<Vec<SocketAddr>>),
}

fn lock(lookup: &Mutex<Lookup>) -> MutexGuard<'_, Lookup> {
    lookup.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.host_port, f)
    }
}

impl Resolve for Resolver {
    fn start(&self) {
        match *lock(&self.lookup) {
            // One that takes very long is not joined by others.
            Lookup::Running => return,
            // It ended too late for the last attempt, and serves this one.
            Lookup::Ended(_) => return wake(&self.waker),
            ref mut idle => *idle = Lookup::Running,
        }
        let (host_port, lookup) = (self.host_port.clone(), Arc::clone(&self.lookup));
        let waker = self.waker.clone();
        let started = thread::Builder::new()
            .name("resolver".to_owned())
            .spawn(move || {
                let result = host_port.resolve();
                *lock(&lookup) = Lookup::Ended(result);
                wake(&waker);
            });
        if let Err(error) = started {
            *lock(&self.lookup) = Lookup::Ended(Err(error));
            wake(&self.waker);
        }
    }

    fn take(&self) -> Option<io::Result<Vec<SocketAddr>>> {
        let mut lookup = lock(&self.lookup);
        match std::mem::take(&mut *lookup) {
            Lookup::Ended(result) => Some(result),
            other => {
                *lookup = other;
                None
            }
        }
    }
}

fn wake(waker: &Waker) {
    if let Err(error) = waker.wake() {
        warn!(%error, "failed to wake the event loop");
    }
}
