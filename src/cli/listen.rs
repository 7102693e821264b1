//! The listeners of a program: addresses of a flag, or sockets of a service manager (socket
//! activation of systemd).

use std::env;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::process;

use clap::ArgAction;
use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;
use tracing::warn;

use crate::cli::address::unresolved;
use crate::cli::failure::{Failure, reason};
use crate::cli::settings::Settings;
use crate::cli::value::switch;
use crate::host_port::HostPort;

/// The flag that permits public addresses.
#[derive(clap::Args, Debug)]
pub(crate) struct PublicArgs {
    /// Serve all machines without authentication.
    ///
    /// Permits listening on addresses that other machines can reach. --allow-anonymous=false turns
    /// it off
    #[arg(long, value_name = "BOOL", value_parser = switch(), ignore_case = true)]
    #[arg(help_heading = "Access")]
    #[arg(action = ArgAction::Set, num_args = 0..=1, require_equals = true)]
    #[arg(default_value = "false", default_missing_value = "true")]
    #[arg(hide_default_value = true, hide_possible_values = true)]
    pub(crate) allow_anonymous: bool,
}

/// An address to listen on.
pub(crate) struct ListenAddress {
    /// Flag and value, or inherited socket, for messages.
    source: String,
    /// True if it is inherited with the name `http`.
    pub(crate) is_http: bool,
    /// Addresses of the value, or the address of the socket.
    addresses: Vec<SocketAddr>,
    socket: Option<OwnedFd>,
}

impl ListenAddress {
    pub(crate) fn is_inherited(&self) -> bool {
        self.socket.is_some()
    }

    /// Returns whether a client that connects to the address reaches this listener.
    pub(crate) fn is_reached_by(&self, address: SocketAddr) -> bool {
        let is_local = |listener: SocketAddr| {
            !listener.ip().is_unspecified() || address.ip().to_canonical().is_loopback()
        };
        let mut addresses = self.addresses();
        addresses.any(|listener| is_local(listener) && overlap(listener, address))
    }

    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.addresses.iter().copied()
    }
}

/// An address or socket to listen on.
pub(crate) enum Place {
    Address(SocketAddr),
    /// A socket that already listens.
    Socket(OwnedFd),
}

/// Returns the sockets of a service manager: LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES.
///
/// Call it once, before anything else opens a file or starts a thread: the fds are identified only
/// by their numbers.
pub(crate) fn inherited() -> Result<Vec<ListenAddress>, Failure> {
    // Child processes can inherit the variables without the sockets.
    let pid = env::var("LISTEN_PID").ok().and_then(|pid| pid.parse().ok());
    if pid != Some(process::id()) {
        return Ok(Vec::new());
    }
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut fds = ListenFd::from_env();
    let mut all = Vec::new();
    for index in 0..fds.len() {
        let name = names.next().unwrap_or_default();
        let invalid = |error: io::Error| {
            Failure::usage(format!(
                "LISTEN_FDS: invalid socket {} {name:?}: {}; expected listening TCP sockets, \
                 as of ListenStream=ADDRESS:PORT in systemd",
                index + 1,
                reason(&error)
            ))
        };
        let Some(socket) = fds.take_tcp_listener(index).map_err(invalid)? else {
            continue;
        };
        if !socket_acceptconn(&socket).unwrap_or(false) {
            return Err(invalid(io::Error::other("it does not listen")));
        }
        all.push(ListenAddress {
            source: format!("inherited socket {name:?}"),
            is_http: name == "http",
            addresses: vec![socket.local_addr().map_err(invalid)?],
            socket: Some(socket.into()),
        });
    }
    Ok(all)
}

/// Returns the inherited sockets if there are any, otherwise the values of a flag. Both together
/// are an error.
pub(crate) fn addresses(
    settings: &Settings,
    flag: &str,
    values: &[HostPort],
    inherited: Vec<ListenAddress>,
) -> Result<Vec<ListenAddress>, Failure> {
    if let Some(first) = inherited.first() {
        if settings.is_set(flag.trim_start_matches("--")) {
            let values: Vec<String> = values.iter().map(ToString::to_string).collect();
            let given = if values.is_empty() {
                "none".to_owned()
            } else {
                values.join(",")
            };
            return Err(Failure::usage(format!(
                "{flag} {given}: the service manager passes {:?} already; set the address in its \
                 .socket unit, or mask that unit",
                first.addresses
            )));
        }
        return Ok(inherited);
    }
    let resolve = |value: &HostPort| {
        let source = format!("{flag} {value}");
        let addresses = crate::sys::resolve(value)
            .map_err(|error| cannot(format!("{source}: {}", unresolved(&error))))?;
        Ok(ListenAddress {
            source,
            is_http: false,
            addresses,
            socket: None,
        })
    };
    values.iter().map(resolve).collect()
}

/// Checks that other machines cannot reach the addresses. The message ends with the risk and the
/// remedy.
pub(crate) fn reject_public(addresses: &[ListenAddress], why: &str) -> Result<(), Failure> {
    for listen in addresses {
        let mut addresses = listen.addresses.iter();
        if let Some(public) = addresses.find(|address| !address.ip().to_canonical().is_loopback()) {
            return Err(Failure::usage(format!(
                "{}: any client that reaches {public} could {why}",
                listen.source
            )));
        }
    }
    Ok(())
}

/// The addresses that a program listens on.
#[derive(Default)]
pub(crate) struct Listening {
    /// Each with its flag and value, or inherited socket.
    bound: Vec<(SocketAddr, String)>,
}

impl Listening {
    /// Returns the flag of this program that keeps the address from being used.
    fn holder(&self, address: SocketAddr) -> Option<&str> {
        let mut bound = self.bound.iter();
        let found = bound.find(|(bound, _)| overlap(*bound, address));
        found.map(|(_, source)| source.as_str())
    }
}

/// Returns whether listening on one of these addresses takes the other.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    // On Linux, :: includes all addresses of IPv4.
    let includes =
        |all: IpAddr, one: IpAddr| all.is_unspecified() && (all.is_ipv6() || one.is_ipv4());
    let (ip, other_ip) = (one.ip().to_canonical(), other.ip().to_canonical());
    one.port() == other.port()
        && (ip == other_ip || includes(ip, other_ip) || includes(other_ip, ip))
}

/// Listens on all addresses with `listen`, which returns the address with the port in use. Returns
/// these addresses, and adds them to `listening`.
pub(crate) fn bind_all(
    wanted: Vec<ListenAddress>,
    listening: &mut Listening,
    mut listen: impl FnMut(Place) -> io::Result<SocketAddr>,
) -> Result<Vec<SocketAddr>, Failure> {
    let mut all = Vec::new();
    for ListenAddress {
        source,
        addresses,
        socket,
        ..
    } in wanted
    {
        if let Some(socket) = socket {
            let bound = listen(Place::Socket(socket));
            let failed = |error| cannot(format!("{source}: cannot listen: {}", reason(&error)));
            let bound = bound.map_err(failed)?;
            all.push(bound);
            listening.bound.push((bound, source));
            continue;
        }
        let mut unavailable = None;
        let mut chosen_port = None;
        for mut address in addresses {
            if address.port() == 0 {
                // All addresses of a name use the port of the first one.
                address.set_port(chosen_port.unwrap_or(0));
            }
            match listen(Place::Address(address)) {
                Ok(bound) => {
                    chosen_port = Some(bound.port());
                    all.push(bound);
                    listening.bound.push((bound, source.clone()));
                }
                Err(error) if is_unavailable(&error) => unavailable = Some((address, error)),
                Err(error) => {
                    return Err(cannot_listen(&source, address, &error, listening));
                }
            }
        }
        if let Some((address, error)) = unavailable {
            if chosen_port.is_none() {
                return Err(cannot_listen(&source, address, &error, listening));
            }
            warn!(
                %address, error = %reason(&error), source,
                "not listening on one address of a name"
            );
        }
    }
    Ok(all)
}

/// Returns whether this machine does not support the address. A name can have such addresses, as
/// localhost has ::1 on a machine without IPv6.
pub(crate) fn is_unavailable(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported
    )
}

fn cannot_listen(
    source: &str,
    address: SocketAddr,
    error: &io::Error,
    listening: &Listening,
) -> Failure {
    if error.kind() == io::ErrorKind::AddrInUse
        && let Some(holder) = listening.holder(address)
    {
        // Trying again would not help.
        return Failure::usage(if holder == source {
            format!("{source}: given twice; give it once")
        } else {
            format!(
                "{source}: cannot listen on {address}: {holder} of this program uses it; choose \
                 another port for one of them"
            )
        });
    }
    let remedy = match error.kind() {
        io::ErrorKind::AddrInUse if address.ip() == Ipv6Addr::UNSPECIFIED => {
            "; stop the program that listens there, or choose another address: [::] includes all \
             addresses of IPv4"
        }
        io::ErrorKind::AddrInUse => {
            "; stop the program that listens there, or choose another address"
        }
        io::ErrorKind::PermissionDenied => {
            "; choose a port above 1023, or run with the capability CAP_NET_BIND_SERVICE"
        }
        io::ErrorKind::AddrNotAvailable => {
            "; this machine does not have this address: choose one of its own, or 0.0.0.0 for all"
        }
        _ => "",
    };
    cannot(format!(
        "{source}: cannot listen on {address}: {}{remedy}",
        reason(error)
    ))
}

/// Returns a failure with exit code 3: listening on an address or socket failed.
fn cannot(message: String) -> Failure {
    Failure::new(3, message)
}
