//! A small HTTP/1.1 server side on the reactor: requests in, responses and streams of events out.
//!
//! A [`Server`] finds requests in what comes over its connections and hands each one, whole, to an
//! [`App`]. It keeps connections alive, takes pipelined requests one at a time, and has a
//! [limit](Limits) on everything. There is no TLS, no compression and no HTTP/2: that is the business
//! of a proxy before it, and since that may read the same bytes otherwise, whatever can be read in two
//! ways is refused.
//!
//! The server does not store its app: it is lent one for each turn, by [`Server::with`], which makes a
//! [`Handler`](crate::reactor::Handler). So an app can borrow whatever it shows.
//!
//! ```
//! use pilcrow::http::{App, Http, Limits, Request, Response, ResponseTo, Server};
//! use pilcrow::reactor::{Limits as LoopLimits, Reactor};
//!
//! struct Hello {
//!     greeted: usize,
//! }
//!
//! impl App for Hello {
//!     fn on_request(&mut self, http: &mut Http<'_>, request: &Request<'_>, to: ResponseTo) {
//!         match (request.method(), request.path()) {
//!             ("GET", "/hello") => {
//!                 self.greeted += 1;
//!                 let text = format!("hello number {}\n", self.greeted);
//!                 http.respond(to, &Response::text(200, &text));
//!             }
//!             _ => http.respond(to, &Response::text(404, "here is only GET /hello\n")),
//!         }
//!     }
//! }
//!
//! fn main() -> std::io::Result<()> {
//!     let mut reactor = Reactor::new(LoopLimits::default())?;
//!     let mut server = Server::new(Limits::default());
//!     let addr = server.listen(reactor.net(), "127.0.0.1:0".parse().unwrap())?;
//!     # use std::io::{Read, Write};
//!     # let mut client = std::net::TcpStream::connect(addr)?;
//!     # client.write_all(b"GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
//!     # client.set_nonblocking(true)?;
//!     # let mut answer = Vec::new();
//!
//!     let mut hello = Hello { greeted: 0 };
//!     loop {
//!         reactor.turn(None, &mut server.with(&mut hello))?;
//!         # if client.read_to_end(&mut answer).is_ok() { break; }
//!     }
//!     # assert!(answer.ends_with(b"hello number 1\n"), "{}", String::from_utf8_lossy(&answer));
//!     # Ok(())
//! }
//! ```
//!
//! # Beside another handler
//!
//! A server that shares a reactor with others is part of a [`Composite`](crate::reactor::Composite).
//! What is lent to [`Server::with`] may borrow the others, so a page can ask them directly:
//!
//! ```
//! use pilcrow::distributor::Distributor;
//! use pilcrow::http::{App, Http, Request, Response, ResponseTo, Server};
//! use pilcrow::reactor::{Composite, Handler, Net, Owner};
//!
//! struct WithPages {
//!     distributor: Distributor,
//!     http: Server,
//! }
//!
//! /// The pages, for as long as one callback takes.
//! struct Pages<'a> {
//!     distributor: &'a mut Distributor,
//! }
//!
//! impl App for Pages<'_> {
//!     fn on_request(&mut self, http: &mut Http<'_>, _: &Request<'_>, to: ResponseTo) {
//!         let text = format!("{:?}\n", self.distributor.stats());
//!         http.respond(to, &Response::text(200, &text));
//!     }
//! }
//!
//! impl Composite for WithPages {
//!     fn owns(&self, owner: Owner) -> bool {
//!         self.http.owns(owner) || self.distributor.owns(owner)
//!     }
//!     fn with_part<T>(&mut self, owner: Owner, act: impl FnOnce(&mut dyn Handler) -> T) -> Option<T> {
//!         if self.http.owns(owner) {
//!             let mut pages = Pages { distributor: &mut self.distributor };
//!             Some(act(&mut self.http.with(&mut pages)))
//!         } else {
//!             self.distributor.owns(owner).then(|| act(&mut self.distributor))
//!         }
//!     }
//!     fn on_wake(&mut self, net: &mut Net) {
//!         self.distributor.on_wake(net); // The server needs neither of these two.
//!     }
//!     fn on_turn_end(&mut self, net: &mut Net) {
//!         self.distributor.on_turn_end(net);
//!     }
//! }
//! ```
//!
//! # Later
//!
//! A [`ResponseTo`] can be kept, and answered when there is something to say, through
//! [`Server::http`]; until then nothing more is read from its client. [`Http::stream_events`] turns it
//! into a stream of events instead, for as long as the client stays.

mod body;
mod chunked;
mod connection;
mod head;
pub(crate) mod limits;
pub(crate) mod reader;
mod refusal;
mod request;
mod response;
mod serving;
mod syntax;
mod target;

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::reactor::conn_map::ConnMap;
use crate::reactor::{ConnId, Framing, ListenOptions, ListenerId, Net, Owner};
use connection::{Connection, Phase};

pub use connection::{EventStream, Http, ResponseTo};
pub use form_urlencoded::Parse as Pairs;
pub use limits::{LimitHits, Limits};
pub use request::Request;
pub use response::{Event, Response};
pub use serving::Serving;

/// What you do with requests.
pub trait App {
    /// A request came whole. Answer with [`Http::respond`] or [`Http::stream_events`], now or later:
    /// `to` can be kept. One that is dropped is answered with 503 after
    /// [`Limits::response_timeout`].
    fn on_request(&mut self, http: &mut Http<'_>, request: &Request<'_>, to: ResponseTo);

    /// The content type and the body for what is refused before it is a request. Plain text, unless
    /// you say otherwise.
    fn refusal(&self, status: u16, why: &str) -> (&'static str, String) {
        let text = format!("{status} {}: {why}\n", response::reason(status));
        ("text/plain; charset=utf-8", text)
    }

    /// Something was refused before it was a request, and its connection is being closed: for the log.
    fn on_refused(
        &mut self,
        http: &mut Http<'_>,
        peer: Option<SocketAddr>,
        status: u16,
        why: &str,
    ) {
        let _ = (http, peer, status, why);
    }

    /// Whoever waited for this response is gone, or it took too long. Answering does nothing.
    fn on_unwanted(&mut self, http: &mut Http<'_>, to: ResponseTo) {
        let _ = (http, to);
    }

    /// Whoever listened to this stream is gone, or was cut for not reading.
    fn on_stream_closed(&mut self, http: &mut Http<'_>, stream: EventStream) {
        let _ = (http, stream);
    }
}

/// An HTTP server: its listeners and connections. See the [module](self).
#[derive(Debug)]
pub struct Server {
    /// Allocated with the first listener.
    owner: Option<Owner>,
    limits: Limits,
    listeners: Vec<ListenerId>,
    connections: ConnMap<Connection>,
    /// Numbers requests, so that a [`ResponseTo`] is for one and no other.
    next_number: u64,
    /// Connections with more to write than is queued at a time.
    feeding: Vec<ConnId>,
    is_feed_due: bool,
    /// What the requests that are not complete take.
    held_bytes: usize,
    /// What waits of responses that are too long to be queued at once.
    rest_bytes: usize,
    is_stopping: bool,
    limit_hits: LimitHits,
    /// The second in which clients were last told that there are too many, and how many were.
    turned_away: (u64, u32),
    /// The `Date` of responses, and the second that it is of.
    date: (u64, String),
}

/// A request that was sent before its connection was accepted is there long before that.
const FIRST_REQUEST_AT_STOP: Duration = Duration::from_millis(250);

impl Server {
    /// Creates a server without listeners.
    pub fn new(limits: Limits) -> Server {
        Server {
            owner: None,
            limits,
            listeners: Vec::new(),
            connections: ConnMap::default(),
            next_number: 0,
            feeding: Vec::new(),
            is_feed_due: false,
            held_bytes: 0,
            rest_bytes: 0,
            is_stopping: false,
            limit_hits: LimitHits::default(),
            turned_away: (0, 0),
            date: (0, String::new()),
        }
    }

    /// Listens, also several times. Returns where, with the port in use.
    ///
    /// Errors are those of [`Net::listen`].
    pub fn listen(&mut self, net: &mut Net, addr: SocketAddr) -> io::Result<SocketAddr> {
        let options = self.listen_options(net);
        let listener = net.listen(addr, options)?;
        self.serve_on(net, listener)
    }

    /// Listens on a socket that listens already, also several times. Returns where.
    ///
    /// Errors are those of [`Net::listen_on`].
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

    /// The server as a handler that serves by this app.
    pub fn with<'s>(&'s mut self, app: &'s mut dyn App) -> Serving<'s> {
        Serving::new(self, app)
    }

    /// To answer what was asked before, between callbacks.
    pub fn http<'a>(&'a mut self, net: &'a mut Net) -> Http<'a> {
        Http::new(self, net)
    }

    /// Whether what is made under `owner` is the server's, as [`Handler::owns`](crate::reactor::Handler::owns).
    pub fn owns(&self, owner: Owner) -> bool {
        self.owner == Some(owner)
    }

    /// How often each limit was hit so far.
    pub fn limit_hits(&self) -> &LimitHits {
        &self.limit_hits
    }

    /// Connections with more of a response to write than is queued at a time.
    pub fn feeding(&self) -> usize {
        self.feeding.len()
    }

    /// What it keeps for its clients: of requests that are not complete, and of responses that are
    /// not read.
    pub fn bytes_kept(&self) -> [(&'static str, usize); 2] {
        [
            ("requests", self.held_bytes),
            ("responses", self.rest_bytes),
        ]
    }

    /// Connections that are open.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Accepts nobody any more and closes what has no request. Requests that have come, or are
    /// coming, are answered, and their connections closed behind that; streams of events are ended.
    /// Who has connected and not asked yet has a quarter of a second for that.
    /// What has no answer yet is seen in [`Server::connections`].
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
                Phase::Reading => !connection.has_begun,
                Phase::Streaming { .. } => true,
                Phase::Answering { .. } | Phase::Writing | Phase::Closing => false,
            })
            .map(|(conn, connection)| (conn, connection.is_fresh()))
            .collect();
        for (conn, is_fresh) in waiting {
            match is_fresh {
                // Its request may have come already, and be read in the next turn.
                true => self.http(net).set_deadline(conn, first_requests_until),
                false => self.http(net).end(conn),
            }
        }
    }

    /// Whether one more who is turned away is told why. Until he has read it he takes the place of
    /// somebody else on the same loop.
    fn may_say_why(&mut self, now: Duration) -> bool {
        const MOST_IN_A_SECOND: u32 = 32;
        let second = now.as_secs();
        if self.turned_away.0 != second {
            self.turned_away = (second, 0);
        }
        self.turned_away.1 += 1;
        self.turned_away.1 <= MOST_IN_A_SECOND
    }

    fn date(&mut self, now: Duration) -> &str {
        let second = now.as_secs();
        if self.date.0 != second {
            let time = std::time::UNIX_EPOCH + Duration::from_secs(second);
            self.date = (second, httpdate::fmt_http_date(time));
        }
        &self.date.1
    }
}
