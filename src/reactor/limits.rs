//! A number on everything that the loop does for one peer.

use std::time::Duration;

use crate::sys::TcpOptions;

/// What the loop grants each connection, and itself in one turn.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Connections at a time, outgoing ones included. One more is refused: a refusal can be read,
    /// an exhausted fd table can't.
    pub max_connections: usize,
    /// One frame without its end, checked while it arrives. A listener or a connect may say another.
    pub max_frame_bytes: usize,
    /// From the first byte of a frame to its end; more bytes do not extend it, so that a byte now
    /// and then can't hold memory for ever.
    pub frame_timeout: Duration,
    /// From being accepted to the first byte that is no white space. Long: existing clients that are cut early reconnect
    /// and register twice.
    pub first_byte_timeout: Duration,
    /// How long a connection may take to be established. The kernel alone would try for minutes.
    pub connect_timeout: Duration,
    /// Queued for one connection and not yet written, shared frames not counted: more than a peer
    /// that reads at all ever has.
    pub max_unsent_bytes: usize,
    /// How long a connection with something to write may take none of it.
    pub write_timeout: Duration,
    /// How long a closed connection's unread input is discarded, so that what was queued for it
    /// arrives: closing with unread input would reset it.
    pub linger: Duration,
    /// How much of that input is discarded.
    pub max_linger_bytes: usize,
    /// Accepted from one listener in one turn, so that a storm can't starve those who are in.
    pub max_accepts_per_turn: usize,
    /// Read from one connection in one turn. The size of the reactor's one read buffer.
    pub max_read_bytes_per_turn: usize,
    /// Frames taken from one connection in one turn.
    pub max_frames_per_turn: usize,
    /// Time for writing in one turn; what is left is written in the next, after new requests.
    pub max_flush_per_turn: Duration,
    /// Connections that the kernel completes before they are accepted. A storm of reconnects needs
    /// more than the customary 128; the kernel caps it at `net.core.somaxconn`.
    pub listen_backlog: u32,
    /// What the kernel does about a peer that went without a word.
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
