//! Configuration and limits of a node.

use std::net::SocketAddr;
use std::time::Duration;

use super::address::DistributorAddress;
use crate::protocol::{Route, Token};

/// Configuration of a [`Node`](super::Node).
#[derive(Clone, Debug)]
pub struct Config {
    /// The name under which other nodes find it. Several nodes may have the same.
    pub name: String,
    /// The routes that it serves.
    pub routes: Vec<Route<'static>>,
    /// The address to listen on. `None`: the node only calls others, and is not listed. (A plain
    /// Distributor lists it nevertheless, and plain gateways crash on an entry without a port: in
    /// such a fleet set `advertised_port`.)
    pub listen: Option<SocketAddr>,
    /// The port to be listed, if it is not the one that the node listens on.
    pub advertised_port: Option<u16>,
    /// The address of the Distributor. `None`: the roster stays empty.
    pub distributor: Option<DistributorAddress>,
    /// The token, if the Distributor requires one.
    pub token: Option<Token<'static>>,
    /// The most calls to one peer without a result. More are not queued: they go to other peers, or
    /// end as [`Unavailable`](super::CallError::Unavailable), like those beyond the reactor's
    /// `max_unsent_bytes`.
    pub max_in_flight_per_peer: usize,
    /// The most bytes of unread requests at a peer without a session: such peers crash on more than
    /// 64 KiB in one read. A longer request is sent alone. Calls that wait for room until their
    /// deadline were not sent, and end as [`Unavailable`](super::CallError::Unavailable).
    pub max_plain_in_flight_bytes: usize,
    /// The longest frame from another node, in bytes.
    pub max_frame_bytes: usize,
    /// The longest list from the Distributor, in bytes.
    pub max_list_bytes: usize,
    /// The mean pause between attempts to reach the Distributor; each is between half of it and one
    /// and a half. The first attempt after a loss is made at once.
    pub retry: Duration,
    /// The longest time for the answer to a registration.
    pub registration_timeout: Duration,
    /// After a Distributor without sessions was lost, how long its new lists are merged with the
    /// view from before.
    pub merge: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            name: String::new(),
            routes: Vec::new(),
            listen: None,
            advertised_port: None,
            distributor: None,
            token: None,
            max_in_flight_per_peer: 1024,
            max_plain_in_flight_bytes: 32 << 10,
            max_frame_bytes: 1 << 20,
            max_list_bytes: 16 << 20,
            retry: Duration::from_secs(3),
            registration_timeout: Duration::from_secs(2),
            merge: Duration::from_secs(10),
        }
    }
}
