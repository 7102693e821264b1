//! A client of the protocol: packets to send, frames to receive, and the view of the list.
//!
//! All of it works on bytes that the caller moves, on a simulated network or by hand. [`Client`]
//! moves them itself, over a blocking TCP stream.

mod blocking;
mod frames;
mod message;
mod packets;
mod view;

pub use blocking::{Client, DEADLINE, names};
pub use frames::{FRAME_END, Frames};
pub use message::{Departure, Message, SessionFields};
pub use packets::{frame, heartbeat, list_request, registration, session, subscription};
pub use view::View;
