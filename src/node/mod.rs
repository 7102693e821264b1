//! A node: your service, its view of all others, and calls to them, in your own thread and loop.
//!
//! A node registers with a Distributor, keeps a [`Roster`] of the live nodes, serves requests, and
//! calls other nodes. It works with a [`Distributor`](crate::distributor::Distributor) of this
//! crate, and with a plain one: a program in Node.js that sends lists and has no sessions.
//!
//! The first page of the [crate](crate) has a node in ten lines. The routes determine what a node
//! registers: see [`Builder`].
//!
//! # Handlers
//!
//! A handler receives a context and a request, and returns results or an [`Error`]. Plain handlers
//! ([`Builder::get`]) run at once. Those of the methods that end with `_async` are tasks: futures
//! on the thread of the reactor, without a runtime. Neither may block, as all requests share the
//! thread.
//!
//! ```no_run
#![cfg_attr(doc, doc = include_str!("../../examples/orders.rs"))]
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
#![cfg_attr(doc, doc = include_str!("../../examples/callbacks.rs"))]
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
mod interest;
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
mod waiting;
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
pub use interest::Interest;
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
