//! Where to listen: what was written, what it means, and what is handed over instead.

use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use tracing::warn;

use crate::cli::address::HostPort;
use crate::cli::failure::Failure;
use crate::cli::inherited::Inherited;
use crate::cli::settings::Settings;

/// One address as it was written, and the addresses that it means; or a socket that was handed over.
pub(crate) struct ListenAddress {
    flag: &'static str,
    text: String,
    addresses: Vec<SocketAddr>,
    socket: Option<OwnedFd>,
}

/// What to listen on.
pub(crate) enum Place {
    At(SocketAddr),
    /// It listens already.
    On(OwnedFd),
}

impl ListenAddress {
    /// Returns the sockets that were handed over, otherwise what is given with a flag. Both is a
    /// mistake.
    pub(crate) fn all(
        settings: &Settings,
        flag: &'static str,
        places: &[HostPort],
        inherited: Vec<Inherited>,
    ) -> Result<Vec<ListenAddress>, Failure> {
        let Some(first) = inherited.first() else {
            let listen_address = |place: &HostPort| {
                let addresses = place.resolve().map_err(|error| {
                    cannot(format!("{flag} {place}: the name has no address: {error}"))
                })?;
                Ok(ListenAddress {
                    flag,
                    text: place.to_string(),
                    addresses,
                    socket: None,
                })
            };
            return places.iter().map(listen_address).collect();
        };
        if settings.is_said(flag.trim_start_matches("--")) {
            let places: Vec<String> = places.iter().map(ToString::to_string).collect();
            return Err(Failure::usage(format!(
                "{flag} {}: the service manager hands over {} already; say where to listen in its \
                 .socket unit, or mask that",
                places.join(","),
                first.address
            )));
        }
        let listen_address = |inherited: Inherited| ListenAddress {
            flag: "the socket that is handed over as",
            text: inherited.name,
            addresses: vec![inherited.address],
            socket: Some(inherited.socket.into()),
        };
        Ok(inherited.into_iter().map(listen_address).collect())
    }
}

/// Fails if other machines can reach one of them, saying what they could do then and what to do
/// about it.
pub(crate) fn refuse_public(addresses: &[ListenAddress], why: &str) -> Result<(), Failure> {
    for ListenAddress {
        flag,
        text,
        addresses,
        ..
    } in addresses
    {
        let mut addresses = addresses.iter();
        if let Some(public) = addresses.find(|address| !address.ip().to_canonical().is_loopback()) {
            return Err(Failure::usage(format!(
                "{flag} {text}: whoever reaches {public} could {why}"
            )));
        }
    }
    Ok(())
}

/// Listens on all addresses that are meant, by `listen`, which returns where with the port in use.
pub(crate) fn bind_all(
    wanted: Vec<ListenAddress>,
    mut listen: impl FnMut(Place) -> io::Result<SocketAddr>,
) -> Result<(), Failure> {
    wanted
        .into_iter()
        .try_for_each(|wanted| bind(wanted, &mut listen))
}

fn bind(
    wanted: ListenAddress,
    listen: &mut impl FnMut(Place) -> io::Result<SocketAddr>,
) -> Result<(), Failure> {
    let flag = wanted.flag;
    if let Some(socket) = wanted.socket {
        return match listen(Place::On(socket)) {
            Ok(_) => Ok(()),
            Err(error) => Err(cannot(format!("{flag} {}: {error}", wanted.text))),
        };
    }
    let mut unavailable = None;
    let mut chosen_port = None;
    for address in &wanted.addresses {
        let mut address = *address;
        if address.port() == 0 {
            // All addresses of a name get the port that the first one was given.
            address.set_port(chosen_port.unwrap_or(0));
        }
        match listen(Place::At(address)) {
            Ok(bound) => chosen_port = Some(bound.port()),
            Err(error) => match error.kind() {
                // A name can have addresses that this machine is not set up for, as localhost has
                // ::1 where there is no IPv6.
                io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported => {
                    unavailable = Some((address, error));
                }
                _ => return Err(cannot_listen(flag, address, &error)),
            },
        }
    }
    if let Some((address, error)) = unavailable {
        if chosen_port.is_none() {
            return Err(cannot_listen(flag, address, &error));
        }
        warn!(%address, %error, "not listening on this address of {}", wanted.text);
    }
    Ok(())
}

fn cannot_listen(flag: &str, address: SocketAddr, error: &io::Error) -> Failure {
    let advice = match error.kind() {
        // It may be ourselves, on 0.0.0.0.
        io::ErrorKind::AddrInUse if address.ip() == Ipv6Addr::UNSPECIFIED => format!(
            "; stop what listens there, or choose another with {flag}: [::] means all addresses \
             of IPv4 as well"
        ),
        io::ErrorKind::AddrInUse => {
            format!("; stop what listens there, or choose another with {flag}")
        }
        io::ErrorKind::PermissionDenied => "; ports below 1024 need a privilege".to_owned(),
        io::ErrorKind::AddrNotAvailable => "; it is not an address of this machine".to_owned(),
        _ => String::new(),
    };
    cannot(format!("cannot listen on {address}: {error}{advice}"))
}

/// Exit code 3: there is nowhere to listen.
fn cannot(message: String) -> Failure {
    Failure::new(3, message)
}
