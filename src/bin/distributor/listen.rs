//! Where to listen: what was written, the addresses that it means, and whether that is meant.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use pilcrow::distributor::Distributor;
use pilcrow::reactor::Net;
use tracing::warn;

use crate::args::Args;
use crate::output::Lines;
use crate::{CANNOT_LISTEN, Failure, USAGE};

/// One `--listen`: what was written, and the addresses that it means.
pub(crate) struct ListenAddress {
    text: String,
    addresses: Vec<SocketAddr>,
}

pub(crate) fn addresses_to_listen_on(args: &Args) -> Result<Vec<ListenAddress>, Failure> {
    let mut all = Vec::new();
    for text in &args.listen {
        let addresses = resolve(text)?;
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
                    "--listen {text}: whoever reaches {public} could register and read the list; \
                     say who may with --token-file or --allow-from, listen on a loopback address, \
                     or say --allow-anonymous if that is meant"
                ),
            });
        }
        all.push(ListenAddress {
            text: text.clone(),
            addresses,
        });
    }
    Ok(all)
}

fn resolve(text: &str) -> Result<Vec<SocketAddr>, Failure> {
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
            message: format!("--listen {text}: it takes a port as well, as in {example}"),
        });
    }
    let host = text.rsplit_once(':').map_or("", |(host, _)| host);
    if host.is_empty() || host.contains(['/', '*']) {
        return Err(Failure {
            code: USAGE,
            message: format!("--listen {text}: it takes ADDRESS:PORT, as in 127.0.0.1:9000"),
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
            message: format!(
                "--listen {text}: {error}; it takes ADDRESS:PORT, as in 127.0.0.1:9000"
            ),
        }),
        Err(error) => Err(Failure {
            code: CANNOT_LISTEN,
            message: format!("--listen {text}: the name has no address: {error}"),
        }),
    }
}

pub(crate) fn listen(
    net: &mut Net,
    distributor: &mut Distributor,
    wanted: &ListenAddress,
    stdout: &Lines,
) -> Result<(), Failure> {
    let mut unavailable = None;
    let mut chosen_port = None;
    for address in &wanted.addresses {
        let mut address = *address;
        if address.port() == 0 {
            // All addresses of a name get the port that the first one was given.
            address.set_port(chosen_port.unwrap_or(0));
        }
        match distributor.listen(net, address) {
            Ok(bound) => {
                chosen_port = Some(bound.port());
                stdout.say(format!("listening on {bound}"));
            }
            Err(error) => match error.kind() {
                // A name can have addresses that this machine is not set up for, as localhost has
                // ::1 where there is no IPv6.
                io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported => {
                    unavailable = Some((address, error));
                }
                kind => return Err(cannot_listen(address, &error, kind)),
            },
        }
    }
    match (chosen_port, unavailable) {
        (None, Some((address, error))) => Err(cannot_listen(address, &error, error.kind())),
        (None, None) => Err(Failure {
            code: CANNOT_LISTEN,
            message: format!("--listen {}: the name has no address", wanted.text),
        }),
        (Some(_), Some((address, error))) => {
            warn!(%address, %error, "not listening on this address of {}", wanted.text);
            Ok(())
        }
        (Some(_), None) => Ok(()),
    }
}

fn cannot_listen(address: SocketAddr, error: &io::Error, kind: io::ErrorKind) -> Failure {
    let advice = match kind {
        io::ErrorKind::AddrInUse => "; stop what listens there, or choose another with --listen",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need a privilege",
        io::ErrorKind::AddrNotAvailable => "; it is not an address of this machine",
        _ => "",
    };
    Failure {
        code: CANNOT_LISTEN,
        message: format!("cannot listen on {address}: {error}{advice}"),
    }
}
