//! One connection: its state, what was read of it and not used, what is to be written to it.
//!
//! | state | becomes | when |
//! |---|---|---|
//! | `Connecting` | `Open` | the system says that it is established: `on_open` |
//! | | `Closing` (abort) | it fails, takes too long, or is closed by the handler |
//! | `Open` | `Closing` | its end is read, it fails, a limit is broken, or the handler closes it |
//! | `Closing` | `Closing` (abort) | a harder end comes before `on_close`; the first reason stays |
//! | | `Flushing` | `on_close` is called, in the next step of a turn that does so |
//! | `Flushing` | `Lingering` | all is written, and unread input could destroy it |
//! | | `Closed` | all is written, or writing fails or takes too long, or it was an abort |
//! | `Lingering` | `Closed` | the peer's end is read, or too much before it, or time is over |
//!
//! A connection begins as `Connecting` or, accepted, as `Open`; one that is refused for want of room
//! begins as `Flushing`, and no handler hears of it. It is freed at the end of the turn in which it
//! is `Closed`. What else is known of it follows from these invariants:
//!
//! 1. The handler knows it from `on_open`, or from `Net::connect`, until `on_close` has returned.
//! 2. Only an `Open` one is given to the handler, and only while its reading is not paused; only a
//!    `Lingering` one is read without that.
//! 3. Only a `Connecting` or `Open` one takes frames into its queue; only an `Open` or `Flushing` one
//!    writes them.
//! 4. `frame_since` is set only while `input` holds the beginning of a frame, and `frames_kept` only
//!    while it may hold whole ones: never both, and neither before something was received.
//! 5. `backlogged` means that a flush left bytes. Then `output_timer` is armed, until it finds that
//!    they are written.
//! 6. `in_ready_list` and `in_dirty_list` say that its id is in that list of `Net`: at most once.
//! 7. There is no socket only where connecting failed at once.

use std::io::ErrorKind;
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
    Failed(ErrorKind),
    /// The kernel gave up on a peer that acknowledges nothing.
    PeerVanished,
    /// It was never established.
    ConnectFailed(ErrorKind),
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

impl CloseReason {
    /// What an error of reading or writing says about the peer.
    pub(crate) fn of_failure(kind: ErrorKind) -> CloseReason {
        match kind {
            ErrorKind::TimedOut | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
                CloseReason::PeerVanished
            }
            kind => CloseReason::Failed(kind),
        }
    }
}

/// How a connection is closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CloseMode {
    /// Nothing more is written.
    Abort,
    /// What is queued is written first. The peer has sent all, so there is no unread input.
    Flush,
    /// What is queued is written first, and unread input is discarded so that it arrives.
    FlushAndLinger,
}

/// Where a connection is in its life. The [module](self) has the transitions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    Connecting,
    Open,
    /// `on_close` is due; nothing is read or queued any more.
    Closing(CloseReason, CloseMode),
    /// The handler knows no more of it; what was queued is being written.
    Flushing {
        linger: bool,
    },
    /// All is written and the write side is shut down; input is discarded.
    Lingering {
        discarded_bytes: usize,
    },
    /// To be freed at the end of the turn.
    Closed,
}

impl State {
    /// Whether the table of the [module](self) has a transition from this state to `next`.
    pub(crate) fn may_become(self, next: State) -> bool {
        match (self, next) {
            (State::Connecting, State::Open | State::Closing(_, CloseMode::Abort))
            | (State::Open, State::Closing(..))
            | (State::Closing(..), State::Flushing { .. })
            | (State::Flushing { .. }, State::Lingering { .. } | State::Closed)
            | (State::Lingering { .. }, State::Closed) => true,
            (State::Closing(first, _), State::Closing(why, mode)) => {
                first == why && mode == CloseMode::Abort
            }
            _ => false,
        }
    }
}

/// What has come of frames, or of bytes that are raw. White space counts for nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Received {
    Nothing,
    PartOfFirst,
    First,
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
    pub(crate) received: Received,
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
            received: Received::Nothing,
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

    /// Moves it on. The table of the [module](self) must have this transition.
    pub(crate) fn move_to(&mut self, next: State) {
        debug_assert!(
            self.state.may_become(next),
            "{:?} became {next:?}",
            self.state
        );
        self.state = next;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_on_and_never_back() {
        let why = CloseReason::Local;
        let life = [
            State::Connecting,
            State::Open,
            State::Closing(why, CloseMode::Flush),
            State::Closing(why, CloseMode::Abort),
            State::Flushing { linger: true },
            State::Lingering { discarded_bytes: 0 },
            State::Closed,
        ];
        for (place, state) in life.into_iter().enumerate() {
            for earlier in &life[..place] {
                assert!(!state.may_become(*earlier), "{state:?} to {earlier:?}");
            }
            if let Some(next) = life.get(place + 1) {
                assert!(state.may_become(*next), "{state:?} to {next:?}");
            }
        }
        let other = State::Closing(CloseReason::PeerClosed, CloseMode::Abort);
        assert!(!life[2].may_become(other), "the first reason stays");
        assert!(!life[0].may_become(life[2]), "nothing is queued yet");
    }
}
