//! Write a microservice ("node") that registers itself, serves requests, and calls other nodes.
//!
//! Each node keeps one TCP connection to a *Distributor*, the service registry. It registers its
//! name and routes there, and receives the list of all live nodes whenever one joins or leaves.
//! Nodes call each other directly. A node lives in a thread of your program and needs no async
//! runtime. Packets are JSON, so nodes in other languages take part.
//!
//! # A node
//!
//! ```no_run
#![cfg_attr(doc, doc = include_str!("../examples/goods.rs"))]
//! ```
//!
//! To try it, start a Distributor, then this node, and call it:
//!
//! ```sh
//! cargo run --release --bin distributor
//! cargo run --release --example goods
//! cargo run --release --bin distributor -- call GET/goods
//! ```
//!
//! The node connects as soon as the Distributor is available, and again after a loss. Meanwhile it
//! serves and calls the nodes of its last list. [`Builder`] has the settings. All handlers run on
//! the thread that turns the reactor, so they must not block.
//!
//! # Calls
//!
//! An async handler calls other nodes, sleeps, and waits for nodes, while other requests are
//! served. `?` passes an error on to the caller. This node prices orders with another one:
//!
//! ```no_run
//! # use std::time::Duration;
//! # use pilcrow::node::{Error, Node};
//! # use serde::Deserialize;
//! #[derive(Deserialize)]
//! struct Order {
//!     goods: String,
//!     count: u64,
//! }
//!
//! # fn main() -> Result<(), Error> {
//! Node::builder("orders")
//!     .listen("127.0.0.1:9020")
//!     .distributor("distributor.internal:9000")
//!     .post_async("/orders", async |cx, request| {
//!         let order: Order = request.params()?;
//!         let call = cx.get("/prices").params(&order.goods);
//!         let price: u64 = call.timeout(Duration::from_secs(1)).await?.results()?;
//!         Ok(price * order.count)
//!     })
//!     .run()
//! # }
//! ```
//!
//! Plain handlers call with [`Call::then`]. Other threads call through a [`node::Handle`].
//! [`Service`] is the interface below, for services that count nanoseconds.
//!
//! # Errors
//!
//! A handler returns an [`Error`] with a code of the protocol or of its own: [`Error::own`]. Its
//! caller receives [`CallError::Refused`]. [`CallError::may_have_run`] tells whether a request may
//! have had an effect, as after [`CallError::Deadline`] and [`CallError::ConnectionLost`]. A
//! request that certainly did not reach its node is sent to another one; [`Call::idempotent`] does
//! so in either case.
//!
//! # Shutting down
//!
//! [`Builder::run`] ends on SIGINT and SIGTERM: the node leaves the list while it continues to
//! serve, until no node with a session calls it any more; then it finishes its requests and closes
//! its connections. [`Context::shut_down`] does so on a reactor of your own. A node that is killed
//! may lose the requests that other nodes are sending.
//!
//! # Testing a service
//!
//! A node needs no Distributor to be called at its address, and several nodes share one reactor, so
//! a test runs in one thread:
//!
//! ```
//! use std::cell::RefCell;
//! use std::rc::Rc;
//!
//! use pilcrow::node::{Error, Node};
//! use pilcrow::reactor::{Limits, Reactor};
//!
//! let mut reactor = Reactor::new(Limits::default())?;
//! let mut doubles = Node::builder("doubles")
//!     .listen("127.0.0.1:0")
//!     .get("/doubles", |_cx, request| Ok(2 * request.params::<i64>()?))
//!     .build(reactor.net())?;
//! let addr = doubles.local_addr(reactor.net()).expect("it listens");
//!
//! let mut tester = Node::builder("tester").build(reactor.net())?;
//! let results = Rc::new(RefCell::new(Vec::new()));
//! let received = Rc::clone(&results);
//! tester.with_service(reactor.net(), |cx| {
//!     let call = cx.get("/doubles").params(&21).to(addr);
//!     call.then(move |_cx, result| {
//!         let result = result.map(|reply| reply.raw_results().to_owned());
//!         received.borrow_mut().push(result.map_err(|error| error.to_string()));
//!     });
//! });
//! while results.borrow().is_empty() {
//!     reactor.turn(None, &mut (&mut doubles, &mut tester))?;
//! }
//! assert_eq!(*results.borrow(), [Ok("42".to_owned())]);
//! # Ok::<(), Error>(())
//! ```
//!
//! # Modules
//!
//! - [`node`]: nodes, their services, calls and the list of all nodes.
//! - [`protocol`]: routes, replies, error codes and tokens.
//! - [`reactor`]: the event loop. It also runs handlers of your own, alone or beside nodes, and
//!   nests in a loop that you already have.
//! - [`distributor`]: a Distributor inside your program, with [`registry`], its list.
//! - [`admin`], [`gateway`] and [`http`]: the admin API of a Distributor, HTTP requests turned into
//!   calls, and the HTTP/1.1 server that both run on.
//!
//! # Features
//!
//! - `cli` (default): the dependencies of the programs. Libraries disable it: `pilcrow = { path =
//!   "../pilcrow", default-features = false }`.
//! - `http`: the modules [`http`], [`gateway`] and [`admin`], and health checks of nodes. Part of
//!   `cli`.
//!
//! # Internals
//!
//! Everything runs on one thread and never blocks. A program owns a [`Reactor`] and turns it; each
//! turn passes events to a [`Handler`]. A [`Node`](node::Node), a
//! [`Distributor`](distributor::Distributor) and a [`Gateway`](gateway::Gateway) are handlers, and
//! a tuple of handlers is one: see [`Composite`](reactor::Composite). `ARCHITECTURE.md` in the
//! repository has a map of the sources.
//!
//! [`Builder::run`]: node::Builder::run
//! [`Builder`]: node::Builder
//! [`Call::idempotent`]: node::Call::idempotent
//! [`Call::then`]: node::Call::then
//! [`CallError::ConnectionLost`]: node::CallError::ConnectionLost
//! [`CallError::Deadline`]: node::CallError::Deadline
//! [`CallError::Refused`]: node::CallError::Refused
//! [`CallError::may_have_run`]: node::CallError::may_have_run
//! [`Context::shut_down`]: node::Context::shut_down
//! [`Error::own`]: node::Error::own
//! [`Error`]: node::Error
//! [`Handler`]: reactor::Handler
//! [`Reactor`]: reactor::Reactor
//! [`Service`]: node::Service

#![cfg_attr(docsrs, feature(doc_cfg))]
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
mod histogram;
mod host_port;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "http")]
mod metrics;
pub mod node;
mod path;
pub mod protocol;
mod rate_limit;
pub mod reactor;
pub mod registry;
mod setters;
#[cfg(any(test, feature = "cli", feature = "testing"))]
#[cfg_attr(not(feature = "cli"), allow(dead_code, reason = "for the state file"))]
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
