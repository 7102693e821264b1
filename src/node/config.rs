//! Configuration and limits of a node.

use std::net::SocketAddr;
use std::time::Duration;

use super::address::DistributorAddress;
use super::interest::Interest;
use crate::protocol::{Route, Token};
use crate::setters::setters;

/// Configuration of a [`Node`](super::Node). Begin with [`Config::new`], and set what differs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Name under which other nodes find it. Several nodes may have the same name.
    pub name: String,
    /// Routes that it serves.
    pub routes: Vec<Route<'static>>,
    /// Address to listen on. With `None` the node only calls others, and is not listed. (A plain
    /// Distributor lists it nevertheless, and plain gateways crash on an entry without a port:
    /// there, set `advertised_port`.)
    pub listen: Option<SocketAddr>,
    /// Port to be listed, if it is not the port that the node listens on.
    pub advertised_port: Option<u16>,
    /// Address of the Distributor. With `None` the roster stays empty.
    pub distributor: Option<DistributorAddress>,
    /// The nodes that it knows. The default of [`Node::builder`](super::Node::builder) is
    /// [`Interest::Calls`].
    pub interest: Interest,
    /// Token, if the Distributor requires one.
    pub token: Option<Token<'static>>,
    /// Maximum number of calls to one peer without a result. Further calls are not queued: they are
    /// sent to other peers, or end as [`Unavailable`](super::CallError::Unavailable), like those
    /// beyond the reactor's `max_unsent_bytes`.
    pub max_in_flight_per_peer: usize,
    /// Maximum number of tasks. Requests that would start another one are answered with
    /// [`ErrorCode::Busy`](crate::protocol::ErrorCode::Busy).
    pub max_tasks: usize,
    /// Time for a call that does not set [its own](super::Call::timeout).
    pub call_timeout: Duration,
    /// Maximum number of bytes of unread requests at a peer without a session: such peers crash on
    /// more than 64 KiB in one read. A longer request is sent alone. Calls that wait for room until
    /// their deadline were not sent, and end as [`Unavailable`](super::CallError::Unavailable).
    pub max_plain_in_flight_bytes: usize,
    /// Maximum length of a frame from another node, in bytes.
    pub max_frame_bytes: usize,
    /// Maximum length of a list from the Distributor, in bytes.
    pub max_list_bytes: usize,
    /// Mean pause between attempts to reach the Distributor. Each pause is between 0.5 and 1.5
    /// times as long. The first attempt after a lost connection is made at once.
    pub retry: Duration,
    /// Maximum time for the reply to a registration.
    pub registration_timeout: Duration,
    /// Time after the loss of a Distributor without sessions in which new lists are merged with the
    /// previous view: such a Distributor begins with an empty list.
    pub merge: Duration,
}

impl Config {
    /// Returns the defaults, with this name.
    pub fn new(name: impl Into<String>) -> Config {
        Config::default().name(name)
    }

    /// Sets [`distributor`](Self#structfield.distributor).
    #[must_use]
    pub fn distributor(mut self, distributor: impl Into<DistributorAddress>) -> Self {
        self.distributor = Some(distributor.into());
        self
    }

    /// Sets [`routes`](Self#structfield.routes).
    #[must_use]
    pub fn routes(mut self, routes: impl IntoIterator<Item = Route<'static>>) -> Self {
        self.routes = Vec::from_iter(routes);
        self
    }

    setters! {
        name: impl Into<String>,
        listen: impl Into<Option<SocketAddr>>,
        advertised_port: impl Into<Option<u16>>,
        interest: Interest,
        token: impl Into<Option<Token<'static>>>,
        max_in_flight_per_peer: usize,
        max_tasks: usize,
        call_timeout: Duration,
        max_plain_in_flight_bytes: usize,
        max_frame_bytes: usize,
        max_list_bytes: usize,
        retry: Duration,
        registration_timeout: Duration,
        merge: Duration,
    }
}

impl Default for Config {
    fn default() -> Config {
        Config {
            name: String::new(),
            routes: Vec::new(),
            listen: None,
            advertised_port: None,
            distributor: None,
            interest: Interest::All,
            token: None,
            max_in_flight_per_peer: 1024,
            max_tasks: 10_000,
            call_timeout: Duration::from_secs(5),
            max_plain_in_flight_bytes: 32 << 10,
            max_frame_bytes: 1 << 20,
            max_list_bytes: 16 << 20,
            retry: Duration::from_secs(3),
            registration_timeout: Duration::from_secs(2),
            merge: Duration::from_secs(10),
        }
    }
}
