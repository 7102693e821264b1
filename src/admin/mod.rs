//! The admin API of a Distributor: its state and events over HTTP.
//!
//! | request | response |
//! |---|---|
//! | `GET /` | a page with all of this |
//! | `GET /nodes`, `?name=` `?url=` | registered nodes, as JSON |
//! | `GET /why?name=` | events of a node, and the acknowledgements of each change, as JSON |
//! | `GET /events` | events as they happen, as server-sent events |
//! | `GET /status`, `?since=` | the Distributor, refusals, and figures of the last hour, as JSON |
//! | `GET /metrics` | metrics, for Prometheus |
//! | `GET /sd` | listed nodes, for the `http_sd` of Prometheus |
//! | `GET /healthz`, `GET /readyz` | whether it runs; whether its list is complete |
//! | `POST /drain?name=` | drains a node; needs the admin token |
//!
//! An [`AdminApi`] runs alongside a [`Distributor`](crate::distributor::Distributor) on one
//! reactor. Its cost is bounded: requests are served at the end of a turn, within 20 % of the time,
//! and a client that reads slowly costs at most one piece of its response.
//!
//! ```no_run
//! use pilcrow::admin::{self, AdminApi};
//! use pilcrow::distributor::{Config, Distributor};
//! use pilcrow::reactor::{Limits, Reactor};
//!
//! fn main() -> std::io::Result<()> {
//!     let mut reactor = Reactor::new(Limits::default())?;
//!     let mut distributor = Distributor::new(Config::default());
//!     let mut admin = AdminApi::new(admin::Config::default());
//!     admin.listen(reactor.net(), &mut distributor, ([127, 0, 0, 1], 9001).into())?;
//!     distributor.listen(reactor.net(), ([127, 0, 0, 1], 9000).into())?;
//!     loop {
//!         reactor.turn(None, &mut admin.beside(&mut distributor))?;
//!     }
//! }
//! ```

mod access;
mod api;
mod app;
mod config;
mod context;
mod drain;
mod event_json;
mod events;
mod handlers;
mod history;
mod metrics;
mod nodes;
mod page;
mod request;
mod status;
#[cfg(test)]
mod tests;
mod why;

pub use api::{AdminApi, Both};
pub use config::{AdminToken, Config};
