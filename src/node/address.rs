//! Addresses of the Distributor: known ones, or those of a name.

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

/// Looks up the addresses of a name without blocking the caller.
///
/// Its `Debug` output is the name, for the log.
pub trait Resolve: Debug + Send + Sync {
    /// Starts a lookup if none is in progress. When it ends, it must wake the reactor of the node.
    fn start(&self);

    /// Returns the result of the lookup, once. `None` while it is in progress.
    fn take(&self) -> Option<io::Result<Vec<SocketAddr>>>;
}

/// Time after which a lookup counts as failed.
pub(super) const LONGEST_LOOKUP: Duration = Duration::from_secs(5);

/// Addresses to connect to, one per attempt.
#[derive(Debug)]
pub(super) struct Addresses {
    source: Option<DistributorAddress>,
    /// Addresses of the last lookup that found any.
    found: Vec<SocketAddr>,
    /// Number of addresses that were tried in this round.
    tried: usize,
    is_failing: bool,
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

    /// Starts a lookup. Returns whether a Distributor is configured.
    pub(super) fn look_up(&self) -> bool {
        if let Some(DistributorAddress::Named(resolver)) = &self.source {
            resolver.start();
        }
        self.source.is_some()
    }

    /// Starts a round if the lookup has ended, and returns whether it has. If the lookup failed,
    /// the previous addresses are used, which may be none.
    pub(super) fn take_lookup(&mut self) -> bool {
        let result = match &self.source {
            Some(DistributorAddress::Fixed(addrs)) => Some(Ok(addrs.clone())),
            Some(DistributorAddress::Named(resolver)) => resolver.take(),
            None => None,
        };
        match result {
            None => return false,
            Some(Ok(found)) if found.is_empty() => {
                self.lookup_failed(&io::ErrorKind::NotFound.into());
            }
            Some(Ok(found)) => {
                if std::mem::take(&mut self.is_failing) {
                    info!(address = ?self.source, "Distributor name resolved again");
                }
                self.found = found;
                self.tried = 0;
            }
            Some(Err(error)) => self.lookup_failed(&error),
        }
        true
    }

    /// Starts a round with the previous addresses. Only the first failure in a row is logged.
    pub(super) fn lookup_failed(&mut self, error: &io::Error) {
        if let Some(DistributorAddress::Named(name)) = &self.source
            && !std::mem::replace(&mut self.is_failing, true)
        {
            warn!(?name, %error, "failed to resolve the name of the Distributor, retrying");
        }
        self.tried = 0;
    }

    pub(super) fn next(&mut self) -> Option<SocketAddr> {
        let next = self.found.get(self.tried).copied();
        self.tried += 1;
        next
    }

    /// Returns the address of the current attempt.
    pub(super) fn current(&self) -> Option<SocketAddr> {
        let last = self.tried.checked_sub(1)?;
        self.found.get(last).copied()
    }

    /// Returns whether the round has untried addresses.
    pub(super) fn has_next(&self) -> bool {
        self.tried < self.found.len()
    }

    pub(super) fn end_round(&mut self) {
        self.tried = self.found.len();
    }
}
