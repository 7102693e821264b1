//! A gateway: HTTP in, calls to nodes out.
//!
//! A request goes to a node that lists its `METHOD/path`, else the longest beginning of that. What is
//! in its query, or with `POST` and `PUT` in its body, are the call's params; the node's reply comes
//! back as it is, as JSON, with status 200 whatever its errorcode, as from plain gateways. What
//! has no reply has a status that says why:
//!
//! | status | meaning |
//! |---|---|
//! | 400 | the request is malformed, or its body is no JSON object although it says so |
//! | 404 | no node lists the route |
//! | 413 | more than a node takes |
//! | 502 | the connection to the node was lost behind the request: it may have been done |
//! | 503 | not done: no node can take it: the nodes of the route are gone or busy, or the list of nodes has not come yet; or too much of other replies is not read |
//! | 504 | the node did not reply in time: it may have been done, or may still be |
//!
//! A request that did not reach its node goes to another one; with the methods `GET` and `HEAD` even
//! if it may have been done.
//!
//! [`Gateway`] is a [`Handler`] with a [`Node`] and an [HTTP server](crate::http) in it, for a reactor
//! of its own.

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
use requests::HttpSide;

pub use config::{Config, Stats};

/// A node that listens to HTTP. See the [module](self).
#[derive(Debug)]
pub struct Gateway {
    config: Config,
    http: Server,
    node: Node<PendingRequests>,
    /// Where it listens first.
    port: Option<u16>,
    stats: Stats,
}

impl Gateway {
    /// A gateway that has not started.
    pub fn new(config: Config) -> Gateway {
        let limits = http::Limits {
            // Not before the node has had its time.
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

    /// Listens for HTTP, also several times. Returns where, with the port in use.
    ///
    /// Errors are those of [`Net::listen`].
    pub fn listen(&mut self, net: &mut Net, addr: SocketAddr) -> io::Result<SocketAddr> {
        let bound = self.http.listen(net, addr)?;
        self.port.get_or_insert(bound.port());
        Ok(bound)
    }

    /// Listens for HTTP on a socket that listens already, also several times. Returns where.
    ///
    /// Errors are those of [`Net::listen_on`].
    pub fn listen_on(&mut self, net: &mut Net, socket: OwnedFd) -> io::Result<SocketAddr> {
        let bound = self.http.listen_on(net, socket)?;
        self.port.get_or_insert(bound.port());
        Ok(bound)
    }

    /// Begins to look for the Distributor, and registers with the port on which it listens first.
    ///
    /// Errors are those of [`Node::start`].
    pub fn start(&mut self, net: &mut Net) -> io::Result<()> {
        self.node = node(&self.config, self.port);
        self.node.start(net)?;
        Ok(())
    }

    /// What its node can do, and whom it knows.
    pub fn context<'a>(&'a mut self, net: &'a mut Net) -> Context<'a> {
        self.node.context(net)
    }

    /// What it has done so far.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Connections of HTTP clients.
    pub fn clients(&self) -> usize {
        self.http.connections()
    }

    /// Accepts nobody any more, and answers those who have asked. It is done when there are no
    /// [`clients`](Gateway::clients).
    pub fn stop(&mut self, net: &mut Net) {
        self.http.stop(net);
    }

    /// Has another token admit it, from when it registers next.
    pub fn set_token(&mut self, net: &mut Net, token: Token<'static>) {
        self.node.context(net).set_token(Some(token));
    }

    /// Leaves the fleet.
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
        responses::respond_to_completed(
            &self.config,
            &mut self.http,
            &mut self.node,
            &mut self.stats,
            net,
        );
    }
}
