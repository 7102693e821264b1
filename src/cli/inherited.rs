//! Sockets that a service manager hands over, so that nobody is refused while the program restarts.
//! systemd calls it socket activation: fds from 3 on, told in LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES.

use std::env;
use std::net::{SocketAddr, TcpListener};
use std::process;

use listenfd::ListenFd;

use crate::cli::failure::Failure;

/// A TCP socket that was handed over, and the name that the service manager has for it.
#[derive(Debug)]
pub(crate) struct Inherited {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    pub(crate) socket: TcpListener,
}

/// All that were handed over, once. To be called before anything else opens a file or starts a
/// thread: the fds are known by their numbers only.
pub(crate) fn take() -> Result<Vec<Inherited>, Failure> {
    // Whoever starts other programs may leave the variables to them, but not the sockets.
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
        let wrong = |what: &str| {
            Failure::usage(format!(
                "LISTEN_FDS: socket {} {name:?} of those that were handed over: {what}; it takes TCP \
                 sockets that listen, ListenStream=ADDRESS:PORT with systemd",
                index + 1
            ))
        };
        let socket = match fds.take_tcp_listener(index) {
            Ok(Some(socket)) => socket,
            Ok(None) => continue,
            Err(error) => return Err(wrong(&error.to_string())),
        };
        if !rustix::net::sockopt::socket_acceptconn(&socket).unwrap_or(false) {
            return Err(wrong("it does not listen"));
        }
        let address = socket
            .local_addr()
            .map_err(|error| wrong(&error.to_string()))?;
        all.push(Inherited {
            name: name.to_owned(),
            address,
            socket,
        });
    }
    Ok(all)
}
