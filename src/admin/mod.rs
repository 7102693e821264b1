//! The admin API of a Distributor: what people, scrapers and scripts ask it over HTTP.
//!
//! | request | answer |
//! |---|---|
//! | `GET /` | a page that shows all of it |
//! | `GET /nodes`, `?name=` `?url=` | who is there, as JSON |
//! | `GET /why?name=` | what happened to a node, who was told, and who is late, as JSON |
//! | `GET /events` | what happens, as server-sent events |
//! | `GET /metrics` | figures, for Prometheus |
//! | `GET /sd` | who is there, for Prometheus' `http_sd` |
//! | `GET /healthz`, `GET /readyz` | whether it runs; whether it knows everybody |
//! | `POST /drain?name=` | takes a node out of the list, for who has the admin token |
//!
//! An [`AdminApi`] runs beside a [`Distributor`] on one reactor. What it costs is bounded: requests
//! wait until the end of a turn, and take up a fifth of the time at most; whoever reads slowly waits for
//! no more than one piece of what they asked for.
//!
//! ```no_run
//! use pilcrow::distributor::{Config, Distributor};
//! use pilcrow::admin::{self, AdminApi};
//! use pilcrow::reactor::{Limits, Reactor};
//!
//! fn main() -> std::io::Result<()> {
//!     let mut reactor = Reactor::new(Limits::default())?;
//!     let mut distributor = Distributor::new(Config::default());
//!     let mut admin = AdminApi::new(admin::Config::default());
//!     admin.listen(reactor.net(), &mut distributor, ([127, 0, 0, 1], 9001).into())?;
//!     distributor.listen(reactor.net(), ([127, 0, 0, 1], 9000).into())?;
//!     loop {
//!         reactor.turn(None, &mut admin.beside(&mut distributor))?;
//!     }
//! }
//! ```

mod access;
mod answer;
mod desk;
mod drain;
mod events;
mod metrics;
mod nodes;
#[cfg(test)]
mod tests;
mod why;

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use crate::distributor::Distributor;
use crate::http::{Limits, Server};
use crate::reactor::{Composite, Handler, Net, Owner};
use desk::Desk;

pub use access::AdminToken;

/// Configuration of an [`AdminApi`].
#[derive(Clone, Debug)]
pub struct Config {
    /// Names under which it may be asked, beside `localhost` and addresses. A browser that was led
    /// here by another name was led here by somebody else's page.
    pub hosts: Vec<String>,
    /// What admits to what changes something, and to all else. Without it nothing can be changed.
    pub admin_token: Option<AdminToken>,
    /// Connections at a time.
    pub max_connections: usize,
    /// Streams of events at a time.
    pub max_streams: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            hosts: Vec::new(),
            admin_token: None,
            max_connections: 1024,
            max_streams: 600,
        }
    }
}

/// The admin API of a Distributor, over HTTP.
#[derive(Debug)]
pub struct AdminApi {
    server: Server,
    desk: Desk,
}

impl AdminApi {
    /// One that does not listen yet.
    pub fn new(config: Config) -> AdminApi {
        let limits = Limits {
            max_connections: config.max_connections,
            max_body_bytes: 4 << 10,
            response_timeout: drain::LONGEST_WAIT + drain::LONGEST_WAIT / 4,
            ..Limits::default()
        };
        AdminApi {
            server: Server::new(limits),
            desk: Desk::new(config),
        }
    }

    /// Listens, also several times, and has the Distributor keep what is to be shown. Returns where,
    /// with the port in use. To be told before the Distributor itself listens, or the first events
    /// are missed.
    ///
    /// Errors are those of [`Net::listen`].
    pub fn listen(
        &mut self,
        net: &mut Net,
        distributor: &mut Distributor,
        addr: SocketAddr,
    ) -> io::Result<SocketAddr> {
        distributor.keep_journal(net);
        self.desk.claim_owner(net);
        self.server.listen(net, addr)
    }

    /// As [`AdminApi::listen`], on a socket that listens already.
    ///
    /// Errors are those of [`Net::listen_on`].
    pub fn listen_on(
        &mut self,
        net: &mut Net,
        distributor: &mut Distributor,
        socket: OwnedFd,
    ) -> io::Result<SocketAddr> {
        distributor.keep_journal(net);
        self.desk.claim_owner(net);
        self.server.listen_on(net, socket)
    }

    /// Admits to what changes something from now on, in place of the one before.
    pub fn set_admin_token(&mut self, token: AdminToken) {
        self.desk.set_admin_token(token);
    }

    /// Both as one handler, for a turn.
    pub fn beside<'a>(&'a mut self, distributor: &'a mut Distributor) -> Both<'a> {
        Both {
            admin: self,
            distributor,
        }
    }

    /// Accepts nobody any more, and ends streams of events.
    pub fn stop(&mut self, net: &mut Net) {
        self.server.stop(net);
    }
}

/// An [`AdminApi`] and its Distributor: a handler.
#[derive(Debug)]
pub struct Both<'a> {
    admin: &'a mut AdminApi,
    distributor: &'a mut Distributor,
}

impl Composite for Both<'_> {
    fn owns(&self, owner: Owner) -> bool {
        self.admin.server.owns(owner) || self.admin.desk.owns(owner) || self.distributor.owns(owner)
    }

    fn with_part<T>(&mut self, owner: Owner, act: impl FnOnce(&mut dyn Handler) -> T) -> Option<T> {
        let AdminApi { server, desk } = &mut *self.admin;
        if self.distributor.owns(owner) {
            Some(act(self.distributor))
        } else if server.owns(owner) {
            Some(act(&mut server.with(desk)))
        } else {
            desk.owns(owner).then(|| act(desk))
        }
    }

    fn on_wake(&mut self, net: &mut Net) {
        self.distributor.on_wake(net);
    }

    fn on_turn_end(&mut self, net: &mut Net) {
        let AdminApi { server, desk } = &mut *self.admin;
        // What it changes is pushed in this turn.
        desk.serve(net, server, self.distributor);
        self.distributor.on_turn_end(net);
        desk.tell(net, server, self.distributor);
    }
}
