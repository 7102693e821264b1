//! What a node is, and its limits.

use std::net::SocketAddr;
use std::time::Duration;

use super::address::DistributorAddress;
use crate::protocol::{Route, Token};

/// Configuration of a [`Node`](super::Node).
#[derive(Clone, Debug)]
pub struct Config {
    /// Its name, under which others find it. A label: several nodes may have the same.
    pub name: String,
    /// The routes that it serves.
    pub routes: Vec<Route<'static>>,
    /// Where it listens. `None`: it only calls others, and is not listed. (A plain Distributor lists
    /// it all the same, and plain gateways die of an entry without a port: in such a fleet give it
    /// an `advertised_port`.)
    pub listen: Option<SocketAddr>,
    /// The port that others are told, if it is another than the one it listens on.
    pub advertised_port: Option<u16>,
    /// Where the Distributor is. `None`: there is none, and the roster stays empty.
    pub distributor: Option<DistributorAddress>,
    /// What admits it at the Distributor, where that asks for a token.
    pub token: Option<Token<'static>>,
    /// Calls to one peer without an outcome. More wait nowhere: they have nobody to go to. As those
    /// that a peer which reads too slowly has no room for, by the reactor's `max_unsent_bytes`.
    pub max_in_flight_per_peer: usize,
    /// Requests that a peer without a session may not have read yet, in bytes: such peers die of
    /// more than 64 KiB in one read. A longer request is sent alone. What waits for room until its
    /// deadline was not sent, and ends as [`Unavailable`](super::CallError::Unavailable).
    pub max_plain_in_flight_bytes: usize,
    /// One frame from another node.
    pub max_frame_bytes: usize,
    /// One list from the Distributor.
    pub max_list_bytes: usize,
    /// From losing the Distributor to the second try to reach it again, and between the others; the
    /// first is made at once. Drawn anew each time, between half of it and one and a half.
    pub retry: Duration,
    /// How long the Distributor may take to answer a registration.
    pub registration_timeout: Duration,
    /// How long the view of a Distributor without sessions is merged with the one from before,
    /// after it was lost.
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
