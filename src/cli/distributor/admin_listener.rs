//! The listeners of the admin API: the addresses of `--http`, inherited sockets, or the default
//! address.

use std::io;
use std::net::SocketAddr;

use tracing::{info, warn};

use crate::admin::{AdminApi, Config};
use crate::cli::failure::{Failure, reason};
use crate::cli::listen::{self, ListenAddress, Listening, Place, bind_all};
use crate::cli::settings::Settings;
use crate::distributor::Distributor;
use crate::host_port::HostPort;
use crate::reactor::Net;

/// Places where the admin API is to listen.
pub(super) enum AdminListener {
    /// Addresses of `--http`, or inherited sockets. Failing to listen ends the program.
    Requested(Vec<ListenAddress>),
    /// The default address. Failing to listen is logged.
    Default(Vec<SocketAddr>),
    /// None, for this reason.
    Off(&'static str),
}

/// Addresses of the admin API, or the reason why there are none.
pub(super) enum AdminAddresses {
    Bound(Vec<SocketAddr>),
    Off(&'static str),
}

impl AdminListener {
    /// Validates the values of `--http`. `inherited` are the sockets for HTTP, `nodes` the
    /// addresses for nodes.
    pub(super) fn plan(
        settings: &Settings,
        values: &[Option<HostPort>],
        inherited: Vec<ListenAddress>,
        nodes: &[ListenAddress],
    ) -> Result<AdminListener, Failure> {
        let is_requested = settings.is_set("http") || !inherited.is_empty();
        let values: Vec<HostPort> = values.iter().flatten().cloned().collect();
        let listen = listen::addresses(settings, "--http", &values, inherited)?;
        if is_requested {
            return Ok(if listen.is_empty() {
                AdminListener::Off("--http none")
            } else {
                AdminListener::Requested(listen)
            });
        }
        if nodes.iter().any(ListenAddress::is_inherited) {
            return Ok(AdminListener::Off("no inherited socket has the name http"));
        }
        let addresses: Vec<SocketAddr> = listen.iter().flat_map(ListenAddress::addresses).collect();
        let for_nodes = nodes.iter().flat_map(ListenAddress::addresses);
        if for_nodes
            .map(|taken| taken.port())
            .any(|taken| addresses.iter().any(|own| own.port() == taken))
        {
            info!("admin API off: --listen takes its default port");
            return Ok(AdminListener::Off(
                "--listen takes its default port; --http ADDR sets another",
            ));
        }
        Ok(AdminListener::Default(addresses))
    }

    /// Starts the admin API, unless it is off.
    pub(super) fn start(
        self,
        config: Config,
        listening: &mut Listening,
        net: &mut Net,
        distributor: &mut Distributor,
    ) -> Result<(Option<AdminApi>, AdminAddresses), Failure> {
        let mut admin = AdminApi::new(config);
        let bound = match self {
            AdminListener::Requested(wanted) => bind_all(wanted, listening, |place| match place {
                Place::Address(address) => admin.listen(net, distributor, address),
                Place::Socket(socket) => admin.listen_on(net, distributor, socket),
            })?,
            AdminListener::Default(wanted) => {
                bind_default(wanted, |address| admin.listen(net, distributor, address))
            }
            AdminListener::Off(why) => return Ok((None, AdminAddresses::Off(why))),
        };
        if bound.is_empty() {
            let why = "its default address is not available; --http ADDR sets another";
            return Ok((None, AdminAddresses::Off(why)));
        }
        Ok((Some(admin), AdminAddresses::Bound(bound)))
    }
}

/// Listens on the addresses of the default, and returns those in use. A failure is logged.
///
/// The first address in use by another program ends it. Otherwise that program and this one would
/// share the name localhost, and a client would reach either.
fn bind_default(
    wanted: Vec<SocketAddr>,
    mut listen: impl FnMut(SocketAddr) -> io::Result<SocketAddr>,
) -> Vec<SocketAddr> {
    let mut bound = Vec::new();
    let mut failure = None;
    for address in wanted {
        match listen(address) {
            Ok(address) => bound.push(address),
            // A machine without IPv4 or IPv6 lacks one of the addresses.
            Err(error) if listen::is_unavailable(&error) => failure = Some((address, error)),
            Err(error) => {
                warn_of(address, &error);
                return bound;
            }
        }
    }
    if let Some((address, error)) = failure
        && bound.is_empty()
    {
        warn_of(address, &error);
    }
    bound
}

fn warn_of(address: SocketAddr, error: &io::Error) {
    warn!(
        %address,
        error = %reason(error),
        "admin API not opened at its default address: set --http ADDR or --http none"
    );
}
