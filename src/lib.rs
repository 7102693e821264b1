//! A service registry that pushes, and the event loop it runs on, in one non-blocking thread.
//!
//! Each microservice ("node") keeps one TCP connection to the [Distributor](distributor), registers
//! its name and urls there, and receives the list of all live nodes whenever one joins or leaves.
//! Packets are JSON objects that end with `¶`; existing Node.js peers work unchanged.
//!
//! From the bottom up: the [`reactor`] is the event loop, [`protocol`] and [`registry`] are pure
//! data, and [`distributor`], [`node`], [`http`], [`admin`] and [`gateway`] are handlers of events,
//! any of which can share one reactor. See `ARCHITECTURE.md`.
//!
//! # A node
//!
//! This node registers and serves, and could call all others:
//!
//! ```no_run
//! use std::net::SocketAddr;
//!
//! use pilcrow::node::{Config, Context, Node, ReplyTo, Request, Service};
//! use pilcrow::protocol::{ErrorCode, Route};
//! use pilcrow::reactor::{Limits, Reactor};
//!
//! const GOODS: Route<'static> = Route::get("/goods");
//!
//! struct Goods;
//!
//! impl Service for Goods {
//!     fn on_request(&mut self, cx: &mut Context<'_>, request: &Request<'_>, reply_to: ReplyTo) {
//!         if request.route == GOODS {
//!             cx.reply(reply_to, &["apples", "pears"]);
//!         } else {
//!             cx.refuse(reply_to, ErrorCode::NotFound, "no such route");
//!         }
//!     }
//! }
//!
//! fn main() -> std::io::Result<()> {
//!     let mut reactor = Reactor::new(Limits::default())?;
//!     let config = Config {
//!         name: "goods".to_owned(),
//!         routes: vec![GOODS],
//!         listen: Some(([127, 0, 0, 1], 9010).into()),
//!         distributor: Some(SocketAddr::from(([127, 0, 0, 1], 9000)).into()),
//!         ..Config::default()
//!     };
//!     let mut node = Node::new(config, Goods);
//!     node.start(reactor.net())?;
//!     loop {
//!         reactor.turn(None, &mut node)?;
//!     }
//! }
//! ```
//!
//! # The reactor alone
//!
//! The thread that owns a [`Reactor`](reactor::Reactor) turns it. The reactor stores no handler and
//! starts no thread. A program on it without a Distributor:
//!
//! ```
//! use std::io::Write;
//! use pilcrow::reactor::{ConnId, Handler, Limits, ListenOptions, Net, Reactor};
//!
//! /// Sends each frame back.
//! struct Echo;
//!
//! impl Handler for Echo {
//!     fn on_frame(&mut self, net: &mut Net, conn: ConnId, frame: &[u8]) {
//!         net.send_with(conn, |reply| reply.write_all(frame));
//!     }
//! }
//!
//! fn main() -> std::io::Result<()> {
//!     let mut reactor = Reactor::new(Limits::default())?;
//!     let any_port = "127.0.0.1:0".parse().unwrap();
//!     let listener = reactor.net().listen(any_port, ListenOptions::default())?;
//!     println!("echo on {:?}", reactor.net().local_addr(listener));
//!     # use std::io::Read;
//!     # let addr = reactor.net().local_addr(listener).unwrap();
//!     # let mut client = std::net::TcpStream::connect(addr)?;
//!     # client.write_all("{}¶".as_bytes())?;
//!     # client.set_nonblocking(true)?;
//!     # let mut reply = [0; 4];
//!
//!     let mut echo = Echo;
//!     loop {
//!         reactor.turn(None, &mut echo)?;
//!         # if client.read(&mut reply).is_ok_and(|read| read == 4) { break; }
//!     }
//!     # assert_eq!(&reply, "{}¶".as_bytes());
//!     # Ok(())
//! }
//! ```
//!
//! A host loop that sleeps elsewhere watches the reactor's fd ([`AsFd`](std::os::fd::AsFd)), sleeps
//! at most until [`next_deadline`](reactor::Reactor::next_deadline), and turns without waiting; a
//! loop that must not sleep turns without waiting all the time.
//!
//! # Features
//!
//! - `cli` (default): dependencies of the programs, with `http`. Libraries disable it: `pilcrow = {
//!   path = "../pilcrow", default-features = false }`.
//! - `http`: the server side of HTTP/1.1, [`http`], with the [`gateway`] and the [`admin`] API of a
//!   Distributor.
//! - `testing`: a simulated network under the reactor, for the tests of this crate.

#![forbid(unsafe_code)]
// What `fuzzing` re-exports is `pub`, but unreachable in any other build.
#![cfg_attr(not(fuzzing), allow(unreachable_pub))]

#[cfg(feature = "http")]
pub mod admin;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
pub mod distributor;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "http")]
pub mod gateway;
#[cfg(feature = "http")]
pub mod http;
pub mod node;
mod path;
pub mod protocol;
mod rate_limit;
pub mod reactor;
pub mod registry;
#[cfg(any(test, feature = "cli", feature = "testing"))]
mod store;
mod sys;
#[cfg(any(test, feature = "testing"))]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a failure here fails a test; no peer data gets here"
)]
pub mod testing;
mod time;

pub use time::Time;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeIsCompiled;

#[cfg(doctest)]
#[doc = include_str!("../docs/nodes/rust.md")]
struct PageOfNodesIsCompiled;
