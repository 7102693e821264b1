//! Lookups of the name of a Distributor that do not block the loop of a node.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tracing::warn;

use crate::cli::address::HostPort;
use crate::node::{DistributorAddress, Resolve};
use crate::reactor::Waker;

/// Returns the address of a Distributor for a node. `waker` is that of the reactor of the node.
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

/// Looks up one name, at most once at a time, on a thread that ends with the lookup.
struct Resolver {
    host_port: HostPort,
    waker: Waker,
    /// Result of the lookup, from its start until it is taken.
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
            // The result of a lookup that was too late for the last attempt is used now.
            return wake(&self.waker);
        }
        let (found, receiver) = mpsc::channel();
        *lookup = Some(receiver);
        let (host_port, waker) = (self.host_port.clone(), self.waker.clone());
        let look_up = move || {
            let _ = found.send(host_port.resolve());
            wake(&waker);
        };
        let thread = thread::Builder::new().name("resolver".to_owned());
        if thread.spawn(look_up).is_err() {
            wake(&self.waker);
        }
    }

    fn take(&self) -> Option<io::Result<Vec<SocketAddr>>> {
        let mut lookup = self.lookup.lock().unwrap_or_else(PoisonError::into_inner);
        let found = match lookup.as_ref()?.try_recv() {
            Ok(found) => found,
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Disconnected) => Err(io::Error::other("cannot start a thread")),
        };
        *lookup = None;
        Some(found)
    }
}

fn wake(waker: &Waker) {
    if let Err(error) = waker.wake() {
        warn!(%error, "failed to wake the event loop");
    }
}
