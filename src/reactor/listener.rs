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
    /// Owner of the listener and its connections, if several handlers share the reactor.
    pub owner: Owner,
    /// Framing of the input of its connections.
    pub framing: Framing,
    /// Replaces [`Limits::max_frame_bytes`](super::Limits::max_frame_bytes).
    pub max_frame_bytes: Option<usize>,
    /// Maximum number of connections of the owner, from all its listeners and outgoing ones. `None`
    /// leaves only the limit of all connections,
    /// [`Limits::max_connections`](super::Limits::max_connections).
    pub max_connections: Option<usize>,
    /// Refusal of connections beyond these limits. It is sent before they are closed, unless it is
    /// empty.
    pub refusal: SharedFrame,
}

#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) socket: SocketId,
    pub(crate) addr: SocketAddr,
    pub(crate) options: ListenOptions,
    pub(crate) in_ready_list: bool,
    /// Armed after accepting failed for lack of fds or memory: the system reports no event for
    /// connections that already wait.
    pub(crate) retry_timer: Option<TimerId>,
    pub(crate) next_retry_pause: Duration,
}

/// Pause before the first attempt to accept again. It grows with each failure, up to
/// [`LONGEST_RETRY_PAUSE`].
pub(super) const FIRST_RETRY_PAUSE: Duration = Duration::from_millis(10);
pub(super) const LONGEST_RETRY_PAUSE: Duration = Duration::from_secs(1);
