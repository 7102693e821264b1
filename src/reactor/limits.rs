//! Limits of the loop.

use std::time::Duration;

use crate::sys::TcpOptions;

/// Limits for each connection, and for the work of one turn.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Maximum number of connections, including outgoing ones. Further ones receive a refusal and
    /// are closed. Without this limit, no fd would be left to accept and refuse them.
    pub max_connections: usize,
    /// Maximum length of a frame in bytes, without its end. Checked while the frame arrives.
    /// Options of listeners and connections can replace it.
    pub max_frame_bytes: usize,
    /// Maximum time from the first byte of a frame to its end. More bytes do not extend it, so a
    /// slow trickle cannot hold memory indefinitely.
    pub frame_timeout: Duration,
    /// Maximum time from accepting a connection to its first byte other than white space. Long,
    /// since existing clients that are closed early reconnect and register twice.
    pub first_byte_timeout: Duration,
    /// Maximum time to establish a connection. The kernel alone would retry for minutes.
    pub connect_timeout: Duration,
    /// Maximum length of the queue of one connection in bytes, without shared frames. A connection
    /// that exceeds it is closed. It must be more than the queue of a peer that reads regularly.
    pub max_unsent_bytes: usize,
    /// Maximum time that a peer may read nothing while its queue is not empty. Then it is closed.
    pub write_timeout: Duration,
    /// Maximum time for which a closed connection still reads and discards input. Closing a socket
    /// with unread input would reset the connection, and the peer could lose the last frames.
    pub linger: Duration,
    /// Maximum number of bytes that such a connection discards. Then it is reset.
    pub max_linger_bytes: usize,
    /// Maximum number of connections accepted from one listener per turn. A storm must not starve
    /// existing ones.
    pub max_accepts_per_turn: usize,
    /// Maximum number of bytes read from one connection per turn. Also the size of the reactor's
    /// read buffer.
    pub max_read_bytes_per_turn: usize,
    /// Maximum number of frames of one connection per turn.
    pub max_frames_per_turn: usize,
    /// Maximum time for writing per turn. Remaining data is written in the next turn, after new
    /// requests.
    pub max_flush_per_turn: Duration,
    /// Maximum number of connections that the kernel establishes before they are accepted. A storm
    /// of reconnects needs more than the usual 128; the kernel caps it at `net.core.somaxconn`.
    pub listen_backlog: u32,
    /// Options of all sockets: detection of vanished peers, and the size of the send buffer.
    pub tcp: TcpOptions,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_connections: 10_000,
            max_frame_bytes: 64 << 10,
            frame_timeout: Duration::from_secs(10),
            first_byte_timeout: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(3),
            max_unsent_bytes: 1 << 20,
            write_timeout: Duration::from_secs(10),
            linger: Duration::from_secs(1),
            max_linger_bytes: 64 << 10,
            max_accepts_per_turn: 64,
            max_read_bytes_per_turn: 64 << 10,
            max_frames_per_turn: 64,
            max_flush_per_turn: Duration::from_millis(10),
            listen_backlog: 4096,
            tcp: TcpOptions::default(),
        }
    }
}
