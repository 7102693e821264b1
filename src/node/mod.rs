//! A node: your service, its view of all others, and calls to them, in your own thread and loop.
//!
//! A node registers with a Distributor, keeps a [`Roster`] of the live nodes, serves requests, and
//! calls other nodes. It works with a [`Distributor`](crate::distributor::Distributor) of this
//! crate, and with a plain one: a program in Node.js that sends lists and has no sessions.
//!
//! ```no_run
//! use pilcrow::node::{Error, Node};
//!
//! fn main() -> Result<(), Error> {
//!     Node::builder("goods")
//!         .listen("127.0.0.1:9010")
//!         .distributor("127.0.0.1:9000") // again for more; names are resolved
//!         .get("/goods", |_cx, _request| Ok(["apples", "pears"]))
//!         .run() // own reactor; SIGINT and SIGTERM drain, then it returns
//! }
//! ```
//!
//! The routes determine what the node registers: see [`Builder`].
//!
//! # Handlers
//!
//! A handler receives a context and a request, and returns results or an [`Error`]. Plain handlers
//! ([`Builder::get`]) run at once. Those of the methods that end with `_async` are tasks: futures
//! on the thread of the reactor, without a runtime. Neither may block, as all requests share the
//! thread.
//!
//! ```no_run
//! # use std::collections::BTreeMap;
//! # use std::time::Duration;
//! # use pilcrow::node::{Error, Node};
//! # use pilcrow::reactor::{Limits, Reactor};
//! # use serde::{Deserialize, Serialize};
//! # const MILLISECOND: Duration = Duration::from_millis(1);
//! # const SECOND: Duration = Duration::from_secs(1);
//! # const MINUTE: Duration = Duration::from_secs(60);
//! # #[derive(Default)]
//! # struct Orders(BTreeMap<u64, Order>);
//! # impl Orders {
//! #     fn expire(&mut self) {
//! #         self.0.clear();
//! #     }
//! # }
//! # #[derive(Serialize, Deserialize)]
//! # struct Order {
//! #     count: u64,
//! # }
//! # #[derive(Deserialize)]
//! # struct Price(u64);
//! # #[derive(Deserialize)]
//! # struct Stock(u64);
//! # #[derive(Serialize)]
//! # struct Receipt {
//! #     total: u64,
//! #     left: u64,
//! # }
//! # fn main() -> Result<(), Error> {
//! # let mut reactor = Reactor::new(Limits::default())?;
//! let mut node = Node::builder("orders")
//!     .listen("0.0.0.0:9020")
//!     .distributor("distributor.internal:9000")
//!     .state(Orders::default()) // cx.state() in every handler
//!     .post_async("/orders", async |cx, request| {
//!         let order: Order = request.params()?; // a decode error answers InvalidParameters
//!         let price: Price = cx.get("/prices").params(&order).timeout(SECOND).await?.results()?;
//!         let stock: Stock = cx.get("/stock/7").idempotent().await?.results()?;
//!         cx.sleep(MILLISECOND).await;
//!         Ok(Receipt { total: price.0 * order.count, left: stock.0 - order.count })
//!     })
//!     .every(MINUTE, |cx| cx.state().expire())
//!     .build(reactor.net())?; // for a shared reactor, turned by you
//! loop {
//!     reactor.turn(None, &mut node)?;
//! }
//! # }
//! ```
//!
//! A task ends when its caller's deadline passes; dropping it cancels its calls. If the caller is
//! gone, only tasks that asked for it end ([`TaskContext::end_with_caller`]). Tasks of
//! [`TaskContext::spawn`] outlive the request. There are at most [`Config::max_tasks`].
//!
//! # Calls
//!
//! [`TaskContext::get`] and [`ServiceContext::get`] prepare a [`Call`]. In a task, `.await` makes
//! it; in a plain handler, [`Call::then`] names the continuation. Each call has exactly one result.
//! `?` passes a [`CallError`] on to the caller: see [`Error`].
//!
//! # Callbacks
//!
//! A [`Service`] handles requests, results and events without routes, and allocates nothing for
//! them. Each callback receives a [`Context`]; between turns, [`Node::context`] returns one.
//!
//! ```no_run
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
//! # Sharing a loop
//!
//! A node lives in the thread of its reactor, and several can share one: see
//! [`Composite`](crate::reactor::Composite). Other threads call through a [`Handle`]. To leave in
//! order, call [`Context::shut_down`] and turn the reactor until [`Node::has_left`].
//!
//! A node without a Distributor is a plain server; one that calls only addresses ([`Call::to`]) is
//! a plain client.

mod address;
mod builder;
mod call;
mod call_error;
mod caller;
mod calls;
mod config;
mod context;
mod correlation;
mod error;
mod event;
mod handle;
#[cfg(feature = "http")]
mod health;
mod link;
mod node_core;
mod panics;
mod peer;
mod peers;
mod roster;
mod routes;
mod run;
mod served;
mod service;
mod service_node;
mod shutdown;
mod slot_key;
mod table;
mod tag;
mod task_turn;
mod tasks;
mod template;
mod waiter;
mod waits;
mod window;

#[cfg(test)]
mod tests;

pub use address::DistributorAddress;
pub use builder::Builder;
pub use call::{Call, CallAll};
pub use call_error::CallError;
pub use calls::CallId;
pub use config::Config;
pub use context::Context;
pub use error::Error;
pub use event::{Event, LinkState};
pub use handle::Handle;
pub use roster::{Member, Members, Roster};
pub use routes::{Connections, RoutedRequest, Routes, ServiceContext};
pub use run::Stop;
pub use served::{Replied, ReplyTo, Request};
pub use service::Service;
pub use service_node::Node;
pub use tasks::{
    CallAllFuture, CallFuture, RawJson, RoutesFuture, Sleep, TaskCalls, TaskContext, TaskRequest,
    join, join_all,
};
pub use waits::WaitId;
