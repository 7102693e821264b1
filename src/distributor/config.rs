//! Configuration of a Distributor.

use std::time::Duration;

use super::admission::Access;
use crate::protocol::RegistrationLimits;
use crate::registry::Capacity;
use crate::setters::setters;

/// Configuration of a [`Distributor`](super::Distributor). Begin with the default, and set what
/// differs.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Rules of admission: which peers may register and receive the list.
    pub access: Access,
    /// Limits of one registration.
    pub registration: RegistrationLimits,
    /// Limits of all registrations together.
    pub capacity: Capacity,
    /// Maximum number of connections of peers; further ones get errorcode 6. `None` leaves only
    /// [`Limits::max_connections`](crate::reactor::Limits::max_connections), which other handlers
    /// on the same reactor share.
    pub max_connections: Option<usize>,
    /// Host under which peers on this machine are listed. Set it if nodes on other machines must
    /// reach them. `None` means their loopback address, and for `::1` `127.0.0.1` if the machine
    /// has it.
    pub loopback_host: Option<String>,
    /// Time between two heartbeats of a session.
    pub heartbeat: Duration,
    /// Time after which a session that sends nothing is closed.
    pub silence: Duration,
    /// Length of a warm-up, in which lists are marked as incomplete. It begins at the start, and
    /// after a stall in which nodes may have given up this process. Nodes of the last run that have
    /// not reconnected when it ends are removed.
    pub warm_up: Duration,
}

impl Config {
    setters! {
        access: Access,
        registration: RegistrationLimits,
        capacity: Capacity,
        max_connections: impl Into<Option<usize>>,
        loopback_host: impl Into<Option<String>>,
        heartbeat: Duration,
        silence: Duration,
        warm_up: Duration,
    }
}

impl Default for Config {
    fn default() -> Config {
        Config {
            access: Access::default(),
            registration: RegistrationLimits::default(),
            capacity: Capacity::default(),
            max_connections: None,
            loopback_host: None,
            heartbeat: Duration::from_secs(5),
            silence: Duration::from_secs(15),
            warm_up: Duration::from_secs(10),
        }
    }
}
