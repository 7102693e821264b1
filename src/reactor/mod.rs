//! The event loop: one thread, every socket in a slab, nothing blocks.
//!
//! The program that owns a [`Reactor`] turns it. Each [`turn`](Reactor::turn) waits for events,
//! passes them to a [`Handler`], and writes the frames that the handler queued:
//!
//! 1. wait, at most until the next timer;
//! 2. read the clock, once;
//! 3. accept and read, within a budget per listener and connection; remaining input is served in
//!    the next turn, which does not wait;
//! 4. call `on_timer`, `on_wake`, `on_close` for all connections that ended, and `on_turn_end`;
//! 5. write, one `writev` per connection at a time, within [`Limits::max_flush_per_turn`];
//! 6. free closed connections.
//!
//! The handler is not stored: each turn borrows it, and each callback receives a [`Net`] to act on
//! the loop. `Net` only records what to do, so no callback runs inside another.
//!
//! [`Net::listen`] and [`Net::connect`] create connections, [`Net::send_with`] queues a frame and
//! [`Net::arm`] arms a timer; between turns [`Reactor::net`] gives the same access. Several
//! handlers share one reactor as a [`Composite`], other threads end its wait with a [`Waker`], and
//! a host loop nests it by its fd and [`Reactor::next_deadline`].
//!
//! # A program on the reactor alone
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
//! # Inside another loop
//!
//! A host loop that sleeps elsewhere watches the reactor's fd ([`AsFd`](std::os::fd::AsFd)), sleeps
//! at most until [`Reactor::next_deadline`], and turns without waiting. A loop that never sleeps
//! turns without waiting in each of its steps. `examples/embedded.rs` shows both.

mod accepting;
pub(crate) mod buffer_pool;
mod closing;
mod composite;
pub(crate) mod conn_map;
mod connecting;
mod connection;
mod counters;
mod deadlines;
pub(crate) mod framing;
mod handler;
mod ids;
mod limits;
mod listener;
mod net;
mod reading;
mod sending;
#[expect(
    clippy::indexing_slicing,
    reason = "levels and digits are masked to the size of the arrays; no peer data gets here"
)]
pub(crate) mod timer_wheel;
mod turn;
mod write_queue;
mod writing;

#[cfg(test)]
mod tests;

pub use composite::Composite;
pub use connecting::ConnectOptions;
pub use connection::{Close, CloseReason, Origin};
pub use counters::Counters;
pub use framing::Framing;
pub use handler::Handler;
pub use ids::{ConnId, ListenerId, Owner};
pub use limits::Limits;
pub use listener::ListenOptions;
pub use net::Net;
pub use sending::FrameWriter;
pub use timer_wheel::TimerId;
pub use turn::Reactor;
pub use write_queue::SharedFrame;

pub use crate::sys::{TcpOptions, Waker};
