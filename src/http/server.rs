//! A server: its listeners, its connections, and their totals.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use super::connection::{Connection, Phase};
use super::limits::{LimitHits, Limits};
use crate::rate_limit::RateLimit;
use crate::reactor::conn_map::ConnMap;
use crate::reactor::{ConnId, Framing, ListenOptions, ListenerId, Net, Owner};

/// An HTTP server. See the [module](super).
#[derive(Debug)]
pub struct Server {
    /// Allocated with the first listener.
    pub(super) owner: Option<Owner>,
    pub(super) limits: Limits,
    listeners: Vec<ListenerId>,
    pub(super) connections: ConnMap<Connection>,
    /// The number of the last request, which identifies it in a [`ResponseTo`](super::ResponseTo).
    pub(super) last_number: u64,
    /// Connections with a response that is not queued completely.
    pub(super) feeding: Vec<ConnId>,
    /// Bytes of incomplete requests.
    pub(super) held_bytes: usize,
    /// Bytes of responses after their first piece.
    pub(super) rest_bytes: usize,
    pub(super) is_stopping: bool,
    pub(super) limit_hits: LimitHits,
    /// Limits the rate of responses to connections beyond the limit. Until its client has read the
    /// response, such a connection takes the place of another one on the same reactor.
    pub(super) explained: RateLimit,
    /// The `Date` of responses, and its second.
    date: (u64, String),
}

/// Time that a new connection has after a stop to send its first request. A request that was sent
/// before the stop arrives much earlier.
const FIRST_REQUEST_AT_STOP: Duration = Duration::from_millis(250);

impl Server {
    /// Returns a server without listeners.
    pub fn new(limits: Limits) -> Server {
        Server {
            owner: None,
            limits,
            listeners: Vec::new(),
            connections: ConnMap::default(),
            last_number: 0,
            feeding: Vec::new(),
            held_bytes: 0,
            rest_bytes: 0,
            is_stopping: false,
            limit_hits: LimitHits::default(),
            explained: RateLimit::per_second(32),
            date: (0, String::new()),
        }
    }

    /// Listens on an address, and returns it with the port in use. May be called several times.
    ///
    /// Returns the errors of [`Net::listen`].
    pub fn listen(&mut self, net: &mut Net, addr: SocketAddr) -> io::Result<SocketAddr> {
        let options = self.listen_options(net);
        let listener = net.listen(addr, options)?;
        self.serve_on(net, listener)
    }

    /// Accepts connections from a socket that already listens, and returns its address.
    ///
    /// May be called several times.
    ///
    /// Returns the errors of [`Net::listen_on`].
    pub fn listen_on(&mut self, net: &mut Net, socket: OwnedFd) -> io::Result<SocketAddr> {
        let options = self.listen_options(net);
        let listener = net.listen_on(socket, options)?;
        self.serve_on(net, listener)
    }

    fn listen_options(&mut self, net: &mut Net) -> ListenOptions {
        ListenOptions {
            owner: *self.owner.get_or_insert_with(|| net.new_owner()),
            framing: Framing::Raw,
            max_frame_bytes: Some(self.limits.max_request_bytes()),
            ..ListenOptions::default()
        }
    }

    fn serve_on(&mut self, net: &Net, listener: ListenerId) -> io::Result<SocketAddr> {
        self.listeners.push(listener);
        net.local_addr(listener)
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Returns the number of times that each limit was hit.
    pub fn limit_hits(&self) -> &LimitHits {
        &self.limit_hits
    }

    /// Returns the number of connections with a response that is not queued completely.
    pub(crate) fn feeding(&self) -> usize {
        self.feeding.len()
    }

    /// Returns the bytes of incomplete requests, and of long responses that are unread.
    pub(crate) fn bytes_kept(&self) -> [(&'static str, usize); 2] {
        [
            ("http_requests", self.held_bytes),
            ("http_responses", self.rest_bytes),
        ]
    }

    /// Returns the number of open connections.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Stops accepting connections, and closes those without a request.
    ///
    /// Requests that have arrived, in whole or in part, are answered before their connections are
    /// closed; streams of events are ended. A new connection has 250 ms to send its first request.
    /// [`Server::connections`] returns how many connections are left.
    pub fn stop(&mut self, net: &mut Net) {
        self.is_stopping = true;
        for listener in self.listeners.drain(..) {
            net.close_listener(listener);
        }
        let first_requests_until = net.now() + FIRST_REQUEST_AT_STOP;
        let waiting: Vec<(ConnId, bool)> = self
            .connections
            .iter()
            .filter(|(_, connection)| match connection.phase {
                Phase::Reading => connection.held_bytes == 0,
                Phase::Streaming { .. } => true,
                Phase::Answering { .. } | Phase::Writing | Phase::Closing => false,
            })
            .map(|(conn, connection)| (conn, connection.is_fresh()))
            .collect();
        for (conn, is_fresh) in waiting {
            if is_fresh {
                // The first request may already have arrived, and be read in the next turn.
                self.http(net).set_deadline(conn, first_requests_until);
            } else {
                self.http(net).end(conn);
            }
        }
    }

    pub(super) fn date(&mut self, now: Duration) -> &str {
        let second = now.as_secs();
        if self.date.0 != second {
            let time = std::time::UNIX_EPOCH + Duration::from_secs(second);
            self.date = (second, httpdate::fmt_http_date(time));
        }
        &self.date.1
    }
}
