//! Where to listen: what was written, the addresses that it means, and whether that is meant.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use tracing::warn;

use crate::args::Args;
use crate::{CANNOT_LISTEN, Failure, USAGE};

/// One address as it was written, and the addresses that it means.
pub(crate) struct ListenAddress {
    flag: &'static str,
    text: String,
    addresses: Vec<SocketAddr>,
}

/// Those of a flag, if everybody who can reach them may.
pub(crate) fn addresses_to_listen_on(
    args: &Args,
    flag: &'static str,
    texts: &[String],
) -> Result<Vec<ListenAddress>, Failure> {
    let mut all = Vec::new();
    for text in texts {
        let addresses = resolve(flag, text)?;
        let public = addresses
            .iter()
            .find(|address| !address.ip().to_canonical().is_loopback());
        if let Some(public) = public
            && !args.allow_anonymous
            && !args.limits_access()
        {
            return Err(Failure {
                code: USAGE,
                message: format!(
                    "{flag} {text}: whoever reaches {public} could register and read the list; \
                     say who may with --token-file or --allow-from, listen on a loopback address, \
                     or say --allow-anonymous if that is meant"
                ),
            });
        }
        all.push(ListenAddress {
            flag,
            text: text.clone(),
            addresses,
        });
    }
    Ok(all)
}

/// The host in `HOST:PORT`.
pub(crate) fn name_of(text: &str) -> &str {
    text.rsplit_once(':').map_or(text, |(host, _)| host)
}

fn resolve(flag: &str, text: &str) -> Result<Vec<SocketAddr>, Failure> {
    if let Some(port) = text
        .strip_prefix("localhost:")
        .and_then(|port| port.parse().ok())
    {
        // By its definition (RFC 6761) both loopback addresses, whatever a hosts file says.
        return Ok(vec![
            SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            SocketAddr::from((Ipv6Addr::LOCALHOST, port)),
        ]);
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        let example = SocketAddr::new(address, 9000);
        return Err(Failure {
            code: USAGE,
            message: format!("{flag} {text}: it takes a port as well, as in {example}"),
        });
    }
    let host = text.rsplit_once(':').map_or("", |(host, _)| host);
    if host.is_empty() || host.contains(['/', '*']) {
        return Err(Failure {
            code: USAGE,
            message: format!("{flag} {text}: it takes ADDRESS:PORT, as in 127.0.0.1:9000"),
        });
    }
    match text.to_socket_addrs() {
        Ok(found) => {
            let mut addresses = Vec::new();
            for address in found {
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
            Ok(addresses)
        }
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Err(Failure {
            code: USAGE,
            message: format!("{flag} {text}: {error}; it takes ADDRESS:PORT, as in 127.0.0.1:9000"),
        }),
        Err(error) => Err(Failure {
            code: CANNOT_LISTEN,
            message: format!("{flag} {text}: the name has no address: {error}"),
        }),
    }
}

/// Listens on all addresses that are meant, by `listen`, which returns where with the port in use.
pub(crate) fn bind(
    wanted: &ListenAddress,
    mut listen: impl FnMut(SocketAddr) -> io::Result<SocketAddr>,
) -> Result<(), Failure> {
    let flag = wanted.flag;
    let mut unavailable = None;
    let mut chosen_port = None;
    for address in &wanted.addresses {
        let mut address = *address;
        if address.port() == 0 {
            // All addresses of a name get the port that the first one was given.
            address.set_port(chosen_port.unwrap_or(0));
        }
        match listen(address) {
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
    match (chosen_port, unavailable) {
        (None, Some((address, error))) => Err(cannot_listen(flag, address, &error)),
        (None, None) => Err(Failure {
            code: CANNOT_LISTEN,
            message: format!("{flag} {}: the name has no address", wanted.text),
        }),
        (Some(_), Some((address, error))) => {
            warn!(%address, %error, "not listening on this address of {}", wanted.text);
            Ok(())
        }
        (Some(_), None) => Ok(()),
    }
}

fn cannot_listen(flag: &str, address: SocketAddr, error: &io::Error) -> Failure {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("; stop what listens there, or choose another with {flag}")
        }
        io::ErrorKind::PermissionDenied => "; ports below 1024 need a privilege".to_owned(),
        io::ErrorKind::AddrNotAvailable => "; it is not an address of this machine".to_owned(),
        _ => String::new(),
    };
    Failure {
        code: CANNOT_LISTEN,
        message: format!("cannot listen on {address}: {error}{advice}"),
    }
}
