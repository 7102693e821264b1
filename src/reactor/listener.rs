//! A listening socket.

use std::net::SocketAddr;
use std::time::Duration;

use super::framing::Framing;
use super::ids::Owner;
use super::timer_wheel::TimerId;
use super::write_queue::SharedFrame;
use crate::sys::SocketId;

/// Options of a listener.
#[derive(Clone, Debug, Default)]
pub struct ListenOptions {
    /// The owner of the listener and its connections, where several handlers share the reactor.
    pub owner: Owner,
    /// How the input of its connections is framed.
    pub framing: Framing,
    /// Replaces [`Limits::max_frame_bytes`](super::Limits::max_frame_bytes).
    pub max_frame_bytes: Option<usize>,
    /// Sent to connections beyond [`Limits::max_connections`](super::Limits::max_connections)
    /// before they are closed. Empty: nothing is sent.
    pub refusal: SharedFrame,
}

#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) socket: SocketId,
    pub(crate) addr: SocketAddr,
    pub(crate) options: ListenOptions,
    pub(crate) in_ready_list: bool,
    /// Armed after accepting failed for want of fds or memory: no event will come for the
    /// connections that wait.
    pub(crate) retry_timer: Option<TimerId>,
    pub(crate) next_retry_pause: Duration,
}

/// How long to wait before the first attempt to accept again; with each one that fails longer, up
/// to [`LONGEST_RETRY_PAUSE`].
pub(super) const FIRST_RETRY_PAUSE: Duration = Duration::from_millis(10);
pub(super) const LONGEST_RETRY_PAUSE: Duration = Duration::from_secs(1);
