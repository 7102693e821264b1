//! An HTTP/1.1 server on the reactor: requests in, responses and streams of events out.
//!
//! A [`Server`] finds requests in the bytes of its connections and passes each one, whole, to an
//! [`App`]. It keeps connections alive, takes pipelined requests one at a time, and has a
//! [limit](Limits) on each resource. TLS, compression and HTTP/2 are left to a proxy in front of
//! it. Since a proxy may read the same bytes differently, ambiguous requests are refused.
//!
//! The server does not store its app: [`Server::with`] borrows one for each turn and returns a
//! [`Handler`](crate::reactor::Handler). So an app can borrow what it shows.
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
//!             _ => http.respond(to, &Response::text(404, "unknown path: use GET /hello\n")),
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
//!     # let mut response = Vec::new();
//!
//!     let mut hello = Hello { greeted: 0 };
//!     loop {
//!         reactor.turn(None, &mut server.with(&mut hello))?;
//!         # if client.read_to_end(&mut response).is_ok() { break; }
//!     }
//!     # assert!(response.ends_with(b"hello number 1\n"));
//!     # Ok(())
//! }
//! ```
//!
//! # Beside another handler
//!
//! A server that shares a reactor with other handlers is part of a
//! [`Composite`](crate::reactor::Composite). The app that [`Server::with`] borrows may borrow the
//! others, so that a page shows them: [`AdminApi`](crate::admin::AdminApi) does so.
//!
//! # Deferred responses
//!
//! A [`ResponseTo`] can be kept and answered later, through [`Server::http`]. Until then no further
//! request is read from its client. [`Http::stream_events`] turns it into a stream of events.

mod app;
mod body;
mod connection;
mod feeding;
mod head;
pub(crate) mod limits;
mod probes;
pub(crate) mod reader;
mod refusal;
mod request;
mod responder;
mod response;
mod server;
mod serving;
mod syntax;
mod target;

pub use app::App;
pub use connection::{EventStream, ResponseTo};
pub use form_urlencoded::Parse as Pairs;
pub use limits::{LimitHits, Limits};
pub use probes::{Probed, Probes, Probing};
pub use request::Request;
pub use responder::Http;
pub use response::{Event, Response};
pub use server::Server;
pub use serving::Serving;
