//! A server for health checks and metrics.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use super::app::App;
use super::connection::ResponseTo;
use super::limits::Limits;
use super::request::Request;
use super::responder::Http;
use super::response::Response;
use super::server::Server;
use crate::metrics::CONTENT_TYPE;
use crate::reactor::{Composite, Handler, Net, Owner};

/// The subject of [`Probes`].
pub trait Probed {
    /// Returns whether requests should be sent here now: a line of text that says so, or one with
    /// the reason against it.
    ///
    /// # Errors
    ///
    /// Returns the reason.
    fn readiness(&self) -> Result<Cow<'static, str>, Cow<'static, str>>;

    /// Returns all metrics, in the text format of Prometheus. `None` if there are none.
    fn metrics(&self, net: &Net) -> Option<String> {
        let _ = net;
        None
    }
}

/// A server for health checks and metrics, on listeners of its own.
///
/// | request | response |
/// |---|---|
/// | `GET /healthz` | 200 while the loop turns |
/// | `GET /readyz` | 200, or 503 with the reason |
/// | `GET /metrics` | metrics, if the subject has any |
///
/// It checks neither tokens nor names of hosts, and can change nothing.
///
/// ```
/// use std::borrow::Cow;
///
/// use pilcrow::http::{Probed, Probes};
/// use pilcrow::reactor::{Limits, Reactor};
///
/// struct Worker {
///     is_busy: bool,
/// }
///
/// impl Probed for Worker {
///     fn readiness(&self) -> Result<Cow<'static, str>, Cow<'static, str>> {
///         if self.is_busy {
///             Err("busy".into())
///         } else {
///             Ok("ready".into())
///         }
///     }
/// }
///
/// fn main() -> std::io::Result<()> {
///     let mut reactor = Reactor::new(Limits::default())?;
///     let mut probes = Probes::new();
///     let addr = probes.listen(reactor.net(), "127.0.0.1:0".parse().unwrap())?;
///     # use std::io::{Read, Write};
///     # let mut client = std::net::TcpStream::connect(addr)?;
///     # client.write_all(b"GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
///     # client.set_nonblocking(true)?;
///     # let mut response = Vec::new();
///
///     let worker = Worker { is_busy: true };
///     loop {
///         reactor.turn(None, &mut probes.with(&worker))?;
///         # if client.read_to_end(&mut response).is_ok() { break; }
///     }
///     # assert!(response.ends_with(b"busy\n"), "{}", String::from_utf8_lossy(&response));
///     # Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct Probes {
    server: Server,
}

const PATHS: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

impl Default for Probes {
    fn default() -> Probes {
        Probes::new()
    }
}

impl Probes {
    /// Maximum number of connections. Further ones are answered with 503.
    pub const MAX_CONNECTIONS: usize = 64;

    /// Returns a server without listeners.
    pub fn new() -> Probes {
        Probes {
            server: Server::new(Limits {
                max_body_bytes: 4 << 10,
                max_connections: Probes::MAX_CONNECTIONS,
                response_timeout: Duration::from_secs(10),
                ..Limits::default()
            }),
        }
    }

    /// Listens on an address, and returns it with the port in use. May be called several times.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Net::listen`].
    pub fn listen(&mut self, net: &mut Net, addr: SocketAddr) -> io::Result<SocketAddr> {
        self.server.listen(net, addr)
    }

    /// Accepts connections from a socket that already listens, and returns its address.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Net::listen_on`].
    pub fn listen_on(&mut self, net: &mut Net, socket: OwnedFd) -> io::Result<SocketAddr> {
        self.server.listen_on(net, socket)
    }

    /// Returns the number of open connections.
    pub fn connections(&self) -> usize {
        self.server.connections()
    }

    /// Stops accepting connections, and closes those without a request.
    pub fn stop(&mut self, net: &mut Net) {
        self.server.stop(net);
    }

    /// Returns whether its listeners, connections and timers have this owner.
    pub(crate) fn owns(&self, owner: Owner) -> bool {
        self.server.owner == Some(owner)
    }

    /// Returns the server as a handler that responds for this subject.
    pub fn with<'a>(&'a mut self, subject: &'a dyn Probed) -> Probing<'a> {
        Probing {
            server: &mut self.server,
            app: Responses(subject),
        }
    }
}

/// [`Probes`] with their subject: a handler.
pub struct Probing<'a> {
    server: &'a mut Server,
    app: Responses<'a>,
}

impl Composite for Probing<'_> {
    fn for_each(&mut self, mut act: impl FnMut(&mut dyn Handler)) {
        act(&mut self.server.with(&mut self.app));
    }
}

impl fmt::Debug for Probing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probing")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

struct Responses<'a>(&'a dyn Probed);

impl App for Responses<'_> {
    fn on_request(&mut self, http: &mut Http<'_>, request: &Request<'_>, to: ResponseTo) {
        let text = "text/plain; charset=utf-8";
        let line = |status, line: &str| (status, text, format!("{line}\n"));
        let is_get = matches!(request.method(), "GET" | "HEAD");
        let (status, content_type, body) = match request.path() {
            path if PATHS.contains(&path) && !is_get => {
                line(405, "method not allowed: use GET, HEAD")
            }
            "/healthz" => line(200, "ok"),
            "/readyz" => match self.0.readiness() {
                Ok(how) => line(200, &how),
                Err(why) => line(503, &why),
            },
            "/metrics" => match self.0.metrics(http.net()) {
                Some(metrics) => (200, CONTENT_TYPE, metrics),
                None => line(404, "no metrics: use /healthz or /readyz"),
            },
            _ => line(
                404,
                &format!("unknown path: use one of {}", PATHS.join(", ")),
            ),
        };
        let mut headers = vec![
            ("Content-Type", content_type),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
        ];
        headers.extend(match status {
            405 => Some(("Allow", "GET, HEAD")),
            503 => Some(("Retry-After", "1")),
            _ => None,
        });
        let response = Response {
            status,
            headers: &headers,
            body: body.as_bytes(),
        };
        http.respond(to, &response);
    }
}
