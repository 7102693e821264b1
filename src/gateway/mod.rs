//! A gateway: HTTP in, calls to nodes out.
//!
//! A request goes to a node that lists its route, or otherwise the longest prefix of it. Its query,
//! or with `POST` and `PUT` its body, becomes the params of the call. The reply of the node is the
//! response as it is, in JSON, with status 200 whatever its errorcode, as from plain gateways.
//! Otherwise the status says why there is no reply:
//!
//! | status | meaning |
//! |---|---|
//! | 400 | the request is malformed, or its body is not the JSON object that its type says |
//! | 404 | no node lists the route |
//! | 413 | the request is too large for a node |
//! | 502 | the connection to the node was lost after the request was sent: it may have been done |
//! | 503 | no node can take it: the nodes of the route are gone or busy, or the list of nodes was not received yet. It was not done. Also: too much of other replies is unread |
//! | 504 | the node did not reply in time: it may have been done, or may still be |
//!
//! A request that did not reach its node goes to another one; with the methods `GET` and `HEAD`,
//! even if it may have been done.
//!
//! [`Gateway`] is a [`Handler`] of a [`Node`] and an [HTTP server](crate::http).

mod config;
mod gone_routes;
mod params;
mod pending;
mod requests;
mod responses;

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use crate::http::{self, Server};
use crate::node::{self, Context, Node};
use crate::protocol::Token;
use crate::reactor::{Composite, Handler, Net};
use pending::PendingRequests;
use responses::HttpSide;

pub use config::{Config, Stats};

/// A node that serves HTTP. See the [module](self).
#[derive(Debug)]
pub struct Gateway {
    config: Config,
    http: Server,
    node: Node<PendingRequests>,
    /// Of the first listener.
    port: Option<u16>,
    stats: Stats,
}

impl Gateway {
    /// Creates a gateway that has not started.
    pub fn new(config: Config) -> Gateway {
        let limits = http::Limits {
            // Not before the deadline of the call.
            response_timeout: config.http.response_timeout.max(config.deadline * 2),
            ..config.http.clone()
        };
        Gateway {
            http: Server::new(limits),
            node: node(&config, None),
            config,
            port: None,
            stats: Stats::default(),
        }
    }

    /// Listens for HTTP. May be called several times. Returns the address in use.
    ///
    /// Errors are those of [`Net::listen`].
    pub fn listen(&mut self, net: &mut Net, addr: SocketAddr) -> io::Result<SocketAddr> {
        let bound = self.http.listen(net, addr)?;
        self.port.get_or_insert(bound.port());
        Ok(bound)
    }

    /// Listens for HTTP on a socket that listens already, as [`Gateway::listen`].
    ///
    /// Errors are those of [`Net::listen_on`].
    pub fn listen_on(&mut self, net: &mut Net, socket: OwnedFd) -> io::Result<SocketAddr> {
        let bound = self.http.listen_on(net, socket)?;
        self.port.get_or_insert(bound.port());
        Ok(bound)
    }

    /// Starts to look for the Distributor, and registers with the port of the first listener.
    ///
    /// Errors are those of [`Node::start`].
    pub fn start(&mut self, net: &mut Net) -> io::Result<()> {
        self.node = node(&self.config, self.port);
        self.node.start(net)?;
        Ok(())
    }

    /// Returns what its node can do, and its view of the others.
    pub fn context<'a>(&'a mut self, net: &'a mut Net) -> Context<'a> {
        self.node.context(net)
    }

    /// Returns what it has done so far.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Returns the number of connections of HTTP clients.
    pub fn clients(&self) -> usize {
        self.http.connections()
    }

    /// Accepts no more connections, and answers the requests received. It is done when there are
    /// no [`clients`](Gateway::clients).
    pub fn stop(&mut self, net: &mut Net) {
        self.http.stop(net);
    }

    /// Sets the token for the next registration.
    pub fn set_token(&mut self, net: &mut Net, token: Token<'static>) {
        self.node.context(net).set_token(Some(token));
    }

    /// Stops its node.
    pub fn leave(&mut self, net: &mut Net) {
        self.node.context(net).stop();
    }
}

fn node(config: &Config, http_port: Option<u16>) -> Node<PendingRequests> {
    let node_config = node::Config {
        name: config.name.clone(),
        advertised_port: http_port,
        distributor: Some(config.distributor.clone()),
        token: config.token.clone(),
        max_frame_bytes: config.max_reply_bytes,
        max_plain_in_flight_bytes: config.max_plain_in_flight_bytes,
        ..node::Config::default()
    };
    Node::new(node_config, PendingRequests::new(config.remember_routes))
}

impl Composite for Gateway {
    fn for_each(&mut self, mut act: impl FnMut(&mut dyn Handler)) {
        act(&mut self.node);
        let mut side = HttpSide {
            config: &self.config,
            node: &mut self.node,
            stats: &mut self.stats,
        };
        act(&mut self.http.with(&mut side));
    }

    fn on_turn_end(&mut self, net: &mut Net) {
        self.node.on_turn_end(net);
        // The results of calls in this turn are answered in this turn.
        let mut side = HttpSide {
            config: &self.config,
            node: &mut self.node,
            stats: &mut self.stats,
        };
        side.respond_to_completed(&mut self.http.http(net));
    }
}
