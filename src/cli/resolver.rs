//! Looks up the Distributor's name for a node, without blocking its loop.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
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
            lookup: Mutex::default(),
        })),
    }
}

/// Looks one name up, in a thread that ends with the lookup: at most one at a time.
struct Resolver {
    host_port: HostPort,
    waker: Waker,
    /// What the lookup found, from its start until it is taken.
    lookup: Mutex<Option<Receiver<io::Result<Vec<SocketAddr>>>>>,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.host_port, f)
    }
}

impl Resolve for Resolver {
    fn start(&self) {
        let mut lookup = self.lookup.lock().unwrap_or_else(PoisonError::into_inner);
        if lookup.is_some() {
            // It may have ended too late for the last attempt, and serves this one.
            return wake(&self.waker);
        }
        let (found, receiver) = mpsc::channel();
        *lookup = Some(receiver);
        let (host_port, waker, failed) =
            (self.host_port.clone(), self.waker.clone(), found.clone());
        let started = thread::Builder::new()
            .name("resolver".to_owned())
            .spawn(move || {
                let _ = found.send(host_port.resolve());
                wake(&waker);
            });
        if let Err(error) = started {
            let _ = failed.send(Err(error));
            wake(&self.waker);
        }
    }

    fn take(&self) -> Option<io::Result<Vec<SocketAddr>>> {
        let mut lookup = self.lookup.lock().unwrap_or_else(PoisonError::into_inner);
        let found = lookup.as_ref()?.try_recv().ok()?;
        *lookup = None;
        Some(found)
    }
}

fn wake(waker: &Waker) {
    if let Err(error) = waker.wake() {
        warn!(%error, "failed to wake the event loop");
    }
}
