//! Where a node finds its Distributor: known addresses, or those of a name.

use std::fmt::Debug;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

/// The address of a Distributor.
#[derive(Clone, Debug)]
pub enum DistributorAddress {
    /// Addresses that are tried in turn.
    Fixed(Vec<SocketAddr>),
    /// The addresses of a name, looked up before each round of attempts and tried in turn.
    Named(Arc<dyn Resolve>),
}

impl From<SocketAddr> for DistributorAddress {
    fn from(addr: SocketAddr) -> DistributorAddress {
        DistributorAddress::Fixed(vec![addr])
    }
}

impl From<Vec<SocketAddr>> for DistributorAddress {
    fn from(addrs: Vec<SocketAddr>) -> DistributorAddress {
        DistributorAddress::Fixed(addrs)
    }
}

/// Looks up the addresses of one name without blocking the caller.
///
/// Its `Debug` output is the name, for the log.
pub trait Resolve: Debug + Send + Sync {
    /// Starts a lookup if none is under way. When it ends, the waker of the node's reactor must be
    /// rung.
    fn start(&self);

    /// Returns what the lookup found, once. `None` while it is under way.
    fn take(&self) -> Option<io::Result<Vec<SocketAddr>>>;
}

/// A lookup that takes longer has failed.
pub(super) const LONGEST_LOOKUP: Duration = Duration::from_secs(5);

/// The addresses to connect to, one per attempt.
#[derive(Debug)]
pub(super) struct Addresses {
    source: Option<DistributorAddress>,
    /// What the last lookup that found any has found.
    found: Vec<SocketAddr>,
    /// How many of them were tried in this round.
    tried: usize,
    is_failing: bool,
}

/// What a round of attempts begins with.
pub(super) enum Round {
    /// [`Addresses::next`] has addresses.
    Ready,
    /// The reactor's waker rings when they are found.
    LookingUp,
    /// There is no Distributor.
    Nowhere,
}

impl Addresses {
    pub(super) fn new(source: Option<DistributorAddress>) -> Addresses {
        Addresses {
            source,
            found: Vec::new(),
            tried: 0,
            is_failing: false,
        }
    }

    pub(super) fn start_round(&mut self) -> Round {
        match &self.source {
            None => Round::Nowhere,
            Some(DistributorAddress::Fixed(addrs)) => {
                self.found.clone_from(addrs);
                self.tried = 0;
                Round::Ready
            }
            Some(DistributorAddress::Named(resolver)) => {
                resolver.start();
                Round::LookingUp
            }
        }
    }

    /// Whether the lookup has ended. Then the round has its addresses: those from before if it
    /// failed, which may be none.
    pub(super) fn take_lookup(&mut self) -> bool {
        let Some(DistributorAddress::Named(resolver)) = &self.source else {
            return false;
        };
        match resolver.take() {
            None => return false,
            Some(Ok(found)) if found.is_empty() => {
                self.lookup_failed(&io::ErrorKind::NotFound.into());
            }
            Some(Ok(found)) => {
                if std::mem::take(&mut self.is_failing) {
                    info!(name = ?resolver, "resolved the name of the Distributor again");
                }
                self.found = found;
                self.tried = 0;
            }
            Some(Err(error)) => self.lookup_failed(&error),
        }
        true
    }

    /// Begins a round with the addresses from before. A failure is logged when it is the first.
    pub(super) fn lookup_failed(&mut self, error: &io::Error) {
        if let Some(DistributorAddress::Named(resolver)) = &self.source
            && !std::mem::replace(&mut self.is_failing, true)
        {
            warn!(name = ?resolver, %error, "failed to resolve the name of the Distributor, retrying");
        }
        self.tried = 0;
    }

    pub(super) fn next(&mut self) -> Option<SocketAddr> {
        let next = self.found.get(self.tried).copied();
        self.tried += 1;
        next
    }

    /// Whether the round has addresses that were not tried.
    pub(super) fn has_next(&self) -> bool {
        self.tried < self.found.len()
    }

    pub(super) fn end_round(&mut self) {
        self.tried = self.found.len();
    }
}
