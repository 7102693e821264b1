//! What a gateway is, its limits, and what it has done.

use std::time::Duration;

use crate::http;
use crate::node::{self, DistributorAddress};
use crate::protocol::Token;

/// Configuration of a [`Gateway`](super::Gateway).
#[derive(Clone, Debug)]
pub struct Config {
    /// The name under which it registers. Plain gateways ignore nodes with the name `gate`.
    pub name: String,
    /// Where the Distributor is.
    pub distributor: DistributorAddress,
    /// What admits it at the Distributor, where that asks for a token.
    pub token: Option<Token<'static>>,
    /// How long a node may take for a reply.
    pub deadline: Duration,
    /// Pages of this origin, or with `*` of all, may read what it answers. `None`: browsers let
    /// none.
    pub cors_origin: Option<String>,
    /// How long a route that is gone is told as 503, rather than as 404: its node may be starting
    /// again.
    pub remember_routes: Duration,
    /// One reply of a node. A node that sends a longer one loses its connection, and with it the
    /// other calls on it.
    pub max_reply_bytes: usize,
    /// Requests that a node without a session may not have read yet, in bytes. See
    /// [`node::Config::max_plain_in_flight_bytes`].
    pub max_plain_in_flight_bytes: usize,
    /// What HTTP clients are granted.
    pub http: http::Limits,
}

impl Config {
    /// The defaults, with a Distributor at this address.
    pub fn new(distributor: impl Into<DistributorAddress>) -> Config {
        Config {
            name: "gate".to_owned(),
            distributor: distributor.into(),
            token: None,
            deadline: Duration::from_secs(5),
            cors_origin: None,
            remember_routes: Duration::from_secs(10),
            max_reply_bytes: 16 << 20,
            max_plain_in_flight_bytes: node::Config::default().max_plain_in_flight_bytes,
            http: http::Limits::default(),
        }
    }
}

/// What a gateway has done so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Requests that were answered.
    pub answered: u64,
    /// Those of them that a node replied to.
    pub replied: u64,
    /// What was refused before it was a request.
    pub refused: u64,
}
