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
//! serves and calls the nodes of its last list. [`Service`] has the callbacks, [`node::Config`] the
//! settings. All callbacks run on the thread that turns the reactor, so they must not block. To
//! reply later, store the [`ReplyTo`].
//!
//! # Calls
//!
//! [`Context::call`] calls a node that serves a route, and [`Service::on_result`] receives the
//! result, exactly once. This service makes one call and leaves:
//!
//! ```
//! use std::time::Duration;
//!
//! use pilcrow::node::{CallError, CallId, Context, Event, LinkState, Service};
//! use pilcrow::protocol::{Reply, Route};
//!
//! const GOODS: Route<'static> = Route::get("/goods");
//!
//! struct Customer;
//!
//! impl Service for Customer {
//!     fn on_event(&mut self, cx: &mut Context<'_>, event: Event) {
//!         match event {
//!             Event::Link(LinkState::Registered) => {
//!                 cx.wait_for(&[GOODS], Duration::from_secs(10));
//!             }
//!             Event::Waited(_, true) => {
//!                 cx.call(&GOODS, &"apples", Duration::from_secs(1));
//!             }
//!             Event::Drained(_) | Event::DrainedUnproven => cx.stop(),
//!             _ => {}
//!         }
//!     }
//!
//!     fn on_result(
//!         &mut self,
//!         cx: &mut Context<'_>,
//!         _call: CallId,
//!         result: Result<Reply<'_>, CallError<'_>>,
//!     ) {
//!         match result {
//!             Ok(reply) => println!("{}", reply.raw_results()),
//!             Err(error) => println!("{error}"),
//!         }
//!         cx.drain(Duration::from_secs(10));
//!     }
//! }
//! ```
//!
//! Other threads call through a [`node::Handle`].
//!
//! # Errors
//!
//! A service rejects a request with [`Context::refuse`] and an [`ErrorCode`]; its caller receives
//! [`CallError::Refused`]. [`CallError::may_have_run`] tells whether a request may have had an
//! effect, as after [`CallError::Deadline`] and [`CallError::ConnectionLost`]. A request that
//! certainly did not reach its node is sent to another one; [`Context::call_idempotent`] does so in
//! either case.
//!
//! # Shutting down
//!
//! [`Context::drain`] removes the node from the list while it continues to serve. After
//! [`Event::Drained`] no node with a session calls it any more: then call [`Context::stop`], and
//! turn the reactor until [`Net::connections`] is zero. A node that stops without draining may lose
//! the requests that other nodes are sending.
//!
//! # Testing a service
//!
//! A node needs no Distributor to be called at its address, and several nodes share one reactor, so
//! a test runs in one thread:
//!
//! ```
//! use std::time::Duration;
//!
//! use pilcrow::node::{CallError, CallId, Config, Context, Node, ReplyTo, Request, Service};
//! use pilcrow::protocol::{ErrorCode, Reply, Route};
//! use pilcrow::reactor::{Limits, Reactor};
//!
//! struct Doubles;
//!
//! impl Service for Doubles {
//!     fn on_request(&mut self, cx: &mut Context<'_>, request: &Request<'_>, reply_to: ReplyTo) {
//!         match request.params::<i64>() {
//!             Ok(number) => cx.reply(reply_to, &(2 * number)),
//!             Err(_) => cx.refuse(reply_to, ErrorCode::InvalidParameters, "not an integer"),
//!         }
//!     }
//! }
//!
//! /// Stores the results of its calls.
//! #[derive(Default)]
//! struct Tester(Vec<Result<String, String>>);
//!
//! impl Service for Tester {
//!     fn on_result(
//!         &mut self,
//!         _cx: &mut Context<'_>,
//!         _call: CallId,
//!         result: Result<Reply<'_>, CallError<'_>>,
//!     ) {
//!         let result = result.map(|reply| reply.raw_results().to_owned());
//!         self.0.push(result.map_err(|error| error.to_string()));
//!     }
//! }
//!
//! let mut reactor = Reactor::new(Limits::default())?;
//! let any_port = Some(([127, 0, 0, 1], 0).into());
//! let config = Config { listen: any_port, ..Config::default() };
//! let mut doubles = Node::new(config, Doubles);
//! let mut tester = Node::new(Config::default(), Tester::default());
//! let addr = doubles.start(reactor.net())?.expect("it listens");
//! tester.start(reactor.net())?;
//!
//! let route = Route::get("/doubles");
//! let deadline = Duration::from_secs(10);
//! tester.context(reactor.net()).call_at(addr, &route, &21, deadline);
//! while tester.service().0.is_empty() {
//!     reactor.turn(None, &mut (&mut doubles, &mut tester))?;
//! }
//! assert_eq!(tester.service().0, [Ok("42".to_owned())]);
//! # Ok::<(), std::io::Error>(())
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
//! [`CallError::ConnectionLost`]: node::CallError::ConnectionLost
//! [`CallError::Deadline`]: node::CallError::Deadline
//! [`CallError::Refused`]: node::CallError::Refused
//! [`CallError::may_have_run`]: node::CallError::may_have_run
//! [`Context::call_idempotent`]: node::Context::call_idempotent
//! [`Context::call`]: node::Context::call
//! [`Context::drain`]: node::Context::drain
//! [`Context::refuse`]: node::Context::refuse
//! [`Context::stop`]: node::Context::stop
//! [`ErrorCode`]: protocol::ErrorCode
//! [`Event::Drained`]: node::Event::Drained
//! [`Handler`]: reactor::Handler
//! [`Net::connections`]: reactor::Net::connections
//! [`Reactor`]: reactor::Reactor
//! [`ReplyTo`]: node::ReplyTo
//! [`Service::on_result`]: node::Service::on_result
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
