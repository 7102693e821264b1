//! Configuration and counters of a gateway.

use std::time::Duration;

use crate::http;
use crate::node::{self, DistributorAddress, Interest};
use crate::protocol::Token;
use crate::setters::setters;

/// Configuration of a [`Gateway`](super::Gateway). Begin with [`Config::new`], and set what
/// differs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The name to register. Plain gateways ignore nodes with the name `gate`.
    pub name: String,
    /// The address of the Distributor.
    pub distributor: DistributorAddress,
    /// The token, if the Distributor requires one.
    pub token: Option<Token<'static>>,
    /// The nodes that it knows. By default all, since its clients choose the paths.
    pub interest: Interest,
    /// Maximum time for the reply of a node.
    pub deadline: Duration,
    /// Origin whose pages may read responses, or `*` for all. With `None`, browsers permit none.
    pub cors_origin: Option<String>,
    /// Gives each response the status of the errorcode in its reply. Otherwise the status is 200
    /// for every reply, as from plain gateways.
    ///
    /// | errorcode | status |
    /// |---|---|
    /// | 0 | 200 |
    /// | 1 and 3 | 400 |
    /// | 2 | 404 |
    /// | 4 | 413 |
    /// | 5 | 403 |
    /// | 6 | 503 |
    /// | 7 | 504 |
    /// | 8, and others below 100 | 500 |
    /// | own codes from 400 to 599 | the same |
    /// | other own codes, from 100 | 422 |
    pub map_errorcodes: bool,
    /// Time for which a route that is gone is answered with 503 instead of 404: its node may be
    /// restarting.
    pub remember_routes: Duration,
    /// Maximum length of a reply. A node that sends a longer one is disconnected, which also ends
    /// the other calls on the connection.
    pub max_reply_bytes: usize,
    /// See [`node::Config::max_plain_in_flight_bytes`].
    pub max_plain_in_flight_bytes: usize,
    /// Limits for HTTP clients.
    pub http: http::Limits,
}

impl Config {
    /// Returns the defaults, with a Distributor at this address.
    pub fn new(distributor: impl Into<DistributorAddress>) -> Config {
        Config {
            name: "gate".to_owned(),
            distributor: distributor.into(),
            token: None,
            interest: Interest::All,
            deadline: Duration::from_secs(5),
            cors_origin: None,
            map_errorcodes: false,
            remember_routes: Duration::from_secs(10),
            max_reply_bytes: 16 << 20,
            max_plain_in_flight_bytes: node::Config::default().max_plain_in_flight_bytes,
            http: http::Limits::default(),
        }
    }

    setters! {
        name: impl Into<String>,
        distributor: impl Into<DistributorAddress>,
        token: impl Into<Option<Token<'static>>>,
        interest: Interest,
        deadline: Duration,
        cors_origin: impl Into<Option<String>>,
        map_errorcodes: bool,
        remember_routes: Duration,
        max_reply_bytes: usize,
        max_plain_in_flight_bytes: usize,
        http: http::Limits,
    }
}

/// Counters of a gateway.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Requests that were answered.
    pub answered: u64,
    /// Requests that were answered with the reply of a node.
    pub replied: u64,
    /// Replies with an errorcode other than 0.
    pub error_replies: u64,
    /// Malformed requests that were refused.
    pub refused: u64,
}
