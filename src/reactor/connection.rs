//! One connection: its state, what was read of it and not used, what is to be written to it.

use std::net::SocketAddr;

use super::framing::{FrameBuffer, Framing};
use super::ids::{ConnId, ListenerId, Owner};
use super::timer_wheel::TimerId;
use super::write_queue::WriteQueue;
use crate::sys::SocketId;
use crate::time::Time;

/// Where a connection comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// Somebody connected to this listener.
    Accepted(ListenerId),
    /// `Net::connect` reached its peer.
    Connected,
}

/// Why a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CloseReason {
    /// The handler asked for it.
    Local,
    /// The peer sent all it had to send (FIN).
    PeerClosed,
    /// The peer, or something between, reset it; or it failed in another way.
    Failed(std::io::ErrorKind),
    /// The kernel gave up on a peer that acknowledges nothing.
    PeerVanished,
    /// It was never established.
    ConnectFailed(std::io::ErrorKind),
    /// It was not established in time (`Limits::connect_timeout`).
    ConnectTimeout,
    /// A frame was longer than its limit.
    FrameTooLarge,
    /// A frame did not end in time (`Limits::frame_timeout`).
    FrameTimeout,
    /// Nothing came after it was accepted (`Limits::first_byte_timeout`).
    NoFirstByte,
    /// The peer reads too slowly for what it is sent (`Limits::max_unsent_bytes`).
    TooMuchUnsent,
    /// The peer read nothing although there was something (`Limits::write_timeout`).
    WriteTimeout,
}

/// How the loop goes on with a connection that it closes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Farewell {
    /// Nothing more is written.
    Drop,
    /// What is queued is written first. The peer has sent all, so there is no unread input.
    Flush,
    /// What is queued is written first, and unread input is discarded so that it arrives.
    FlushAndLinger,
}

/// A connection goes through these from top to bottom, and may leave some out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    Connecting,
    Open,
    /// `on_close` is due; nothing is read or queued any more.
    Marked(CloseReason, Farewell),
    /// The handler knows no more of it; what was queued is being written.
    Flushing {
        linger: bool,
    },
    /// All is written and said to be all; input is discarded.
    Lingering {
        discarded_bytes: usize,
    },
    /// To be freed at the end of the turn.
    Dead,
}

/// Whether the handler wants to be given frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reading {
    On,
    Paused,
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) id: ConnId,
    pub(crate) owner: Owner,
    pub(crate) framing: Framing,
    pub(crate) state: State,
    pub(crate) reading: Reading,
    /// `None` only where connecting failed at once.
    pub(crate) socket: Option<SocketId>,
    pub(crate) peer: SocketAddr,
    pub(crate) max_frame_bytes: usize,
    /// There was no room for it, and no handler knows of it.
    pub(crate) refused: bool,

    pub(crate) input: FrameBuffer,
    /// The system said there is something to read, and no read has found the end of it since.
    pub(crate) readable: bool,
    /// The system said that the peer is done: the next short read is not the last.
    pub(crate) closed_hint: bool,
    /// `input` may hold complete frames.
    pub(crate) frames_kept: bool,
    pub(crate) in_ready_list: bool,
    pub(crate) read_bytes: u64,
    /// A frame began, or bytes came that are raw. White space says nothing.
    pub(crate) has_spoken: bool,
    pub(crate) first_frame_done: bool,
    /// Since when `input` holds the beginning of a frame.
    pub(crate) frame_since: Option<Time>,
    /// Looks at the deadline of the state it is in: connect, first byte, frame or linger. It may
    /// ring early, and is then armed anew: that is cheaper than moving it with every frame.
    pub(crate) input_timer: Option<TimerId>,

    pub(crate) output: WriteQueue,
    /// No write has found the socket full since the system said that it can take more.
    pub(crate) writable: bool,
    pub(crate) in_dirty_list: bool,
    /// The last flush left bytes, so `on_drained` will come.
    pub(crate) backlogged: bool,
    pub(crate) written_bytes: u64,
    pub(crate) write_progress_at: Time,
    /// As `input_timer`, for `write_progress_at`.
    pub(crate) output_timer: Option<TimerId>,
}

impl Connection {
    pub(crate) fn new(
        id: ConnId,
        owner: Owner,
        framing: Framing,
        max_frame_bytes: usize,
        peer: SocketAddr,
        state: State,
    ) -> Connection {
        Connection {
            id,
            owner,
            framing,
            state,
            reading: Reading::On,
            socket: None,
            peer,
            max_frame_bytes,
            refused: false,
            input: FrameBuffer::default(),
            readable: false,
            closed_hint: false,
            frames_kept: false,
            in_ready_list: false,
            has_spoken: false,
            first_frame_done: false,
            frame_since: None,
            input_timer: None,
            output: WriteQueue::default(),
            writable: false,
            in_dirty_list: false,
            backlogged: false,
            written_bytes: 0,
            read_bytes: 0,
            write_progress_at: Time::ZERO,
            output_timer: None,
        }
    }

    /// Frames are given to the handler.
    pub(crate) fn is_delivering(&self) -> bool {
        self.state == State::Open && self.reading == Reading::On
    }

    /// The handler may still queue something.
    pub(crate) fn accepts_output(&self) -> bool {
        matches!(self.state, State::Connecting | State::Open)
    }
}
