//! The event loop: one thread, every socket in a slab, nothing blocks.
//!
//! A [`Reactor`] is turned by whoever owns it. Each [`turn`](Reactor::turn) waits for something to
//! happen, tells a [`Handler`], and writes what the handler queued:
//!
//! 1. wait, but not past the next timer;
//! 2. read the clock, once;
//! 3. read and accept what is there, within a budget for each connection; what is beyond it is
//!    served next turn, without waiting;
//! 4. timers, wake-ups, `on_close` for all that ended, then `on_turn_end`;
//! 5. write, one `writev` a connection at a time, within [`Limits::max_flush_per_turn`];
//! 6. free what was closed.
//!
//! The handler is not stored: it is lent for a turn, and is given [`Net`] in each callback to act
//! through. `Net` only marks and queues, so no callback ever runs inside another.
//!
//! [`Net::listen`] and [`Net::connect`] make connections, [`Net::send`] queues a frame and
//! [`Net::arm`] sets a timer; between turns the same is done by [`Reactor::net`]. Several handlers
//! share one reactor as a [`Composite`], other threads end its wait by a [`Waker`], and a host loop nests
//! it by its fd and [`Reactor::next_deadline`]. The [first page](crate) has a complete program.

mod accepting;
pub mod buffer_pool;
mod closing;
mod composite;
pub mod conn_map;
mod connecting;
mod connection;
mod counters;
mod deadlines;
pub mod framing;
mod handler;
mod ids;
mod limits;
mod listener;
mod net;
mod reading;
mod sending;
mod slots;
#[expect(
    clippy::indexing_slicing,
    reason = "levels and digits are masked to the size of the arrays; no peer data gets here"
)]
pub mod timer_wheel;
mod turn;
mod write_queue;
mod writing;

#[cfg(test)]
mod tests;

pub use closing::Close;
pub use composite::Composite;
pub use connecting::ConnectOptions;
pub use connection::{CloseReason, Origin};
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
