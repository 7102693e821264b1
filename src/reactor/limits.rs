//! Limits of the loop.

use std::time::Duration;

use crate::sys::TcpOptions;

/// Limits for each connection, and for the work of one turn.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Connections at a time, outgoing ones included. Further ones receive a refusal, for which an
    /// exhausted fd table would leave no room.
    pub max_connections: usize,
    /// Size of a frame without its end, checked while it arrives. Listeners and connects can
    /// replace it.
    pub max_frame_bytes: usize,
    /// From the first byte of a frame to its end. More bytes do not extend it, so a slow trickle
    /// can't hold memory indefinitely.
    pub frame_timeout: Duration,
    /// From being accepted to the first byte other than white space. Long, since existing clients
    /// that are closed early reconnect and register twice.
    pub first_byte_timeout: Duration,
    /// How long a connection may take to be established. The kernel alone would try for minutes.
    pub connect_timeout: Duration,
    /// Queue of one connection, shared frames not counted: more than a peer that reads at all ever
    /// has.
    pub max_unsent_bytes: usize,
    /// How long a peer may read nothing while its queue is not empty.
    pub write_timeout: Duration,
    /// How long the input of a closed connection is discarded, so that its queue arrives: closing
    /// with unread input would reset it.
    pub linger: Duration,
    /// How many bytes of that input are discarded.
    pub max_linger_bytes: usize,
    /// Connections accepted from one listener per turn, so that a storm can't starve existing ones.
    pub max_accepts_per_turn: usize,
    /// Bytes read from one connection per turn. The size of the read buffer of the reactor.
    pub max_read_bytes_per_turn: usize,
    /// Frames of one connection per turn.
    pub max_frames_per_turn: usize,
    /// Time for writing per turn. The rest is written in the next turn, after new requests.
    pub max_flush_per_turn: Duration,
    /// Connections that the kernel establishes before they are accepted. A storm of reconnects
    /// needs more than the usual 128; the kernel caps it at `net.core.somaxconn`.
    pub listen_backlog: u32,
    /// How the kernel detects a peer that vanished.
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
