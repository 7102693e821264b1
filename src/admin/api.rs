//! The admin API of a Distributor, as a handler.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use super::app::AdminApp;
use super::config::{AdminToken, Config};
use super::context::Context;
use crate::distributor::{Distributor, MAX_DRAIN_WAIT};
use crate::http::{Limits, Server};
use crate::reactor::{Composite, Handler, Net};

/// The admin API of a Distributor, over HTTP.
#[derive(Debug)]
pub struct AdminApi {
    server: Server,
    app: AdminApp,
}

impl AdminApi {
    /// Returns an admin API that does not listen yet.
    pub fn new(config: Config) -> AdminApi {
        let limits = Limits {
            max_connections: config.max_connections,
            max_body_bytes: 4 << 10,
            response_timeout: MAX_DRAIN_WAIT + MAX_DRAIN_WAIT / 4,
            ..Limits::default()
        };
        AdminApi {
            server: Server::new(limits),
            app: AdminApp::new(config),
        }
    }

    /// Listens on an address, and returns it with the port in use. May be called several times.
    ///
    /// The Distributor records events from now on. Call this before it listens, otherwise the first
    /// events are missed.
    ///
    /// Returns the errors of [`Net::listen`].
    pub fn listen(
        &mut self,
        net: &mut Net,
        distributor: &mut Distributor,
        addr: SocketAddr,
    ) -> io::Result<SocketAddr> {
        let bound = self.server.listen(net, addr)?;
        self.begin(net, distributor);
        Ok(bound)
    }

    /// Listens on a socket that already listens, as [`AdminApi::listen`].
    ///
    /// Returns the errors of [`Net::listen_on`].
    pub fn listen_on(
        &mut self,
        net: &mut Net,
        distributor: &mut Distributor,
        socket: OwnedFd,
    ) -> io::Result<SocketAddr> {
        let bound = self.server.listen_on(net, socket)?;
        self.begin(net, distributor);
        Ok(bound)
    }

    fn begin(&mut self, net: &mut Net, distributor: &mut Distributor) {
        distributor.keep_journal(net);
        self.app.claim_owner(net);
    }

    /// Replaces the admin token.
    pub fn set_admin_token(&mut self, token: AdminToken) {
        self.app.config.admin_token = Some(token);
    }

    /// Returns the admin API and its Distributor as one handler, for a turn.
    pub fn beside<'a>(&'a mut self, distributor: &'a mut Distributor) -> Both<'a> {
        Both {
            admin: self,
            distributor,
        }
    }

    /// Stops accepting connections, and ends event streams. Pending requests are still served.
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
    fn for_each(&mut self, mut act: impl FnMut(&mut dyn Handler)) {
        let AdminApi { server, app } = &mut *self.admin;
        act(self.distributor);
        act(app);
        act(&mut server.with(app));
    }

    fn on_turn_end(&mut self, net: &mut Net) {
        let AdminApi { server, app } = &mut *self.admin;
        let timers = app.claim_owner(net);
        let mut cx = Context {
            net,
            server,
            distributor: self.distributor,
            timers,
            cost: Duration::ZERO,
        };
        app.answer_requests(&mut cx);
        cx.distributor.on_turn_end(cx.net);
        app.send_events(&mut cx);
        app.record_history(&mut cx);
    }
}
