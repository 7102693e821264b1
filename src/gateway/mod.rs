//! A gateway: HTTP in, calls to nodes out.
//!
//! A request is sent to a node that lists its route, or otherwise its longest listed prefix. The
//! query, or with `POST` and `PUT` the body, becomes the params of the call. The response is the
//! reply of the node unchanged, in JSON, with status 200 for every errorcode, as from plain
//! gateways; [`Config::map_errorcodes`] changes that. Without a reply, the status gives the reason:
//!
//! | status | meaning |
//! |---|---|
//! | 400 | the request is malformed, or its body is not a JSON object as declared |
//! | 404 | no node lists the path |
//! | 405 | nodes list the path, but for other methods, which `Allow` names |
//! | 413 | the request is too large for a node |
//! | 415 | the body is neither JSON nor urlencoded |
//! | 502 | the connection was lost after the request was sent: it may have been served |
//! | 503 | no node can take the request, which was not served |
//! | 504 | the node did not reply in time: the request may have been served, or may still be |
//!
//! A 503 has one of these reasons: the nodes of the route are gone or busy, the list of nodes was
//! not received yet, or too many bytes of other replies are unread.
//!
//! A request that did not reach its node is sent to another one; with the methods `GET` and `HEAD`,
//! even if it may have been served.
//!
//! [`Gateway`] is a [`Handler`] of a [`Node`] and an [HTTP server](crate::http).

mod body_type;
mod config;
mod counts;
mod gone_routes;
mod methods;
mod params;
mod pending;
mod problem;
mod requests;
mod responses;
mod status;
mod statuses;
mod trace;

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use crate::http::{self, Probes, Server};
use crate::node::{self, Context, Node};
use crate::protocol::Token;
use crate::reactor::{Composite, Handler, Net};
use counts::Counts;
use pending::PendingRequests;
use responses::HttpSide;
use status::{Readiness, Status};

pub use config::{Config, Stats};

/// A node that serves HTTP. See the [module](self).
#[derive(Debug)]
pub struct Gateway {
    config: Config,
    http: Server,
    node: Node<PendingRequests>,
    /// Port of the first listener.
    port: Option<u16>,
    counts: Counts,
    readiness: Readiness,
    probes: Option<Probes>,
}

impl Gateway {
    /// Creates a gateway that has not started.
    pub fn new(config: Config) -> Gateway {
        let limits = http::Limits {
            // Not earlier than the deadline of the call.
            response_timeout: config.http.response_timeout.max(config.deadline * 2),
            ..config.http.clone()
        };
        Gateway {
            http: Server::new(limits),
            node: node(&config, None),
            config,
            port: None,
            counts: Counts::default(),
            readiness: Readiness::default(),
            probes: None,
        }
    }

    /// Listens for HTTP. May be called several times. Returns the address in use.
    ///
    /// Returns the errors of [`Net::listen`].
    pub fn listen(&mut self, net: &mut Net, addr: SocketAddr) -> io::Result<SocketAddr> {
        let bound = self.http.listen(net, addr)?;
        self.port.get_or_insert(bound.port());
        Ok(bound)
    }

    /// Listens for HTTP on a socket that already listens, as [`Gateway::listen`].
    ///
    /// Returns the errors of [`Net::listen_on`].
    pub fn listen_on(&mut self, net: &mut Net, socket: OwnedFd) -> io::Result<SocketAddr> {
        let bound = self.http.listen_on(net, socket)?;
        self.port.get_or_insert(bound.port());
        Ok(bound)
    }

    /// Listens for health checks and metrics, which are served apart from the routes of nodes:
    /// `GET /healthz`, `/readyz` and `/metrics`, as by [`Probes`]. May be called several times.
    /// Returns the address in use.
    ///
    /// The gateway is ready when it is registered and has a complete list, until it stops.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Net::listen`].
    pub fn listen_admin(&mut self, net: &mut Net, addr: SocketAddr) -> io::Result<SocketAddr> {
        self.probes.get_or_insert_default().listen(net, addr)
    }

    /// Begins to look for the Distributor, and registers with the port of the first listener.
    ///
    /// Returns the errors of [`Node::start`].
    pub fn start(&mut self, net: &mut Net) -> io::Result<()> {
        self.node = node(&self.config, self.port);
        self.node.start(net)?;
        Ok(())
    }

    /// Returns the operations of its node, and its view of the others.
    pub fn context<'a>(&'a mut self, net: &'a mut Net) -> Context<'a> {
        self.node.context(net)
    }

    /// Returns the counters.
    pub fn stats(&self) -> Stats {
        self.counts.stats
    }

    /// Returns the number of connections of HTTP clients.
    pub fn clients(&self) -> usize {
        self.http.connections()
    }

    /// Stops accepting connections, and answers the received requests. It is done when there are no
    /// [`clients`](Gateway::clients). Until [`Gateway::leave`], health checks are answered: it is
    /// not ready any more.
    pub fn stop(&mut self, net: &mut Net) {
        self.readiness.is_stopping = true;
        self.http.stop(net);
    }

    /// Sets the token for the next registration.
    pub fn set_token(&mut self, net: &mut Net, token: Token<'static>) {
        self.node.context(net).set_token(Some(token));
    }

    /// Stops its node, and the listeners for health checks and metrics.
    pub fn leave(&mut self, net: &mut Net) {
        if let Some(probes) = &mut self.probes {
            probes.stop(net);
        }
        self.node.context(net).stop();
    }
}

fn node(config: &Config, http_port: Option<u16>) -> Node<PendingRequests> {
    let node_config = node::Config {
        name: config.name.clone(),
        advertised_port: http_port,
        distributor: Some(config.distributor.clone()),
        token: config.token.clone(),
        interest: config.interest.clone(),
        max_frame_bytes: config.max_reply_bytes,
        max_plain_in_flight_bytes: config.max_plain_in_flight_bytes,
        ..node::Config::default()
    };
    let pending = PendingRequests::new(config.remember_routes, config.map_errorcodes);
    Node::new(node_config, pending)
}

impl Gateway {
    /// Returns the part that handles HTTP requests, and its server.
    fn http_side(&mut self) -> (HttpSide<'_>, &mut Server) {
        let side = HttpSide {
            config: &self.config,
            node: &mut self.node,
            counts: &mut self.counts,
        };
        (side, &mut self.http)
    }
}

impl Composite for Gateway {
    fn for_each(&mut self, mut act: impl FnMut(&mut dyn Handler)) {
        act(&mut self.node);
        let (mut side, http) = self.http_side();
        act(&mut http.with(&mut side));
        if let Some(probes) = &mut self.probes {
            let status = Status {
                node: &self.node,
                http: &self.http,
                counts: &self.counts,
                readiness: self.readiness,
            };
            act(&mut probes.with(&status));
        }
    }

    fn on_turn_end(&mut self, net: &mut Net) {
        self.node.on_turn_end(net);
        // Requests are answered in the turn in which their calls have results.
        let (mut side, http) = self.http_side();
        side.respond_to_completed(&mut http.http(net));
        self.readiness.update(&self.node);
    }
}
