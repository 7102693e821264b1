//! Health checks of a node.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;

use crate::http::{Probed, Probes, Probing};
use crate::reactor::{Net, Owner};

/// The server for the health checks of a node.
#[derive(Debug)]
pub(super) struct Health {
    probes: Probes,
    pub(super) addr: SocketAddr,
}

/// Readiness of a node, with a text that explains it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Readiness(pub(super) Result<&'static str, &'static str>);

impl Health {
    pub(super) fn listen(net: &mut Net, addr: SocketAddr) -> io::Result<Health> {
        let mut probes = Probes::new();
        let addr = probes.listen(net, addr)?;
        Ok(Health { probes, addr })
    }

    /// Returns the handler of its connections.
    pub(super) fn handler<'a>(&'a mut self, readiness: &'a Readiness) -> Probing<'a> {
        self.probes.with(readiness)
    }

    pub(super) fn owns(&self, owner: Owner) -> bool {
        self.probes.owns(owner)
    }

    pub(super) fn has_connections(&self) -> bool {
        self.probes.connections() > 0
    }

    pub(super) fn stop(&mut self, net: &mut Net) {
        self.probes.stop(net);
    }
}

impl Probed for Readiness {
    fn readiness(&self) -> Result<Cow<'static, str>, Cow<'static, str>> {
        self.0.map(Into::into).map_err(Into::into)
    }
}
