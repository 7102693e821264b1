//! A connection: its state, its unconsumed input and its queue.
//!
//! | state | becomes | when |
//! |---|---|---|
//! | `Connecting` | `Open` | the system reports that it is established: `on_open` |
//! | | `Closing` (now) | it fails, times out, or the handler closes it |
//! | `Open` | `Closing` | its end is read, it fails, breaks a limit, or the handler closes it |
//! | `Closing` | `Closing` (now) | it fails before `on_close`; the first reason stays |
//! | | `Flushing` | `on_close` is called, once per connection |
//! | `Flushing` | `Lingering` | all is written, and unread input could destroy it |
//! | | `Closed` | all is written, writing fails or times out, or it is closed now |
//! | `Lingering` | `Closed` | its end is read, or too much input before it, or it times out |
//!
//! A connection begins as `Connecting` or, if accepted, as `Open`; one beyond the limits begins as
//! `Flushing`, without any callback. It is freed at the end of the turn in which it becomes
//! `Closed`. These invariants hold:
//!
//! 1. The handler uses its id from `on_open`, or from `Net::connect`, until `on_close` returns.
//! 2. Only input of an `Open`, unpaused connection reaches the handler; only input of a `Lingering`
//!    one is read and dropped.
//! 3. Only `Connecting` and `Open` connections queue frames; only `Open` and `Flushing` ones write
//!    them.
//! 4. `waiting_since` is set only before the first byte of an accepted connection, and while
//!    `input` holds the beginning of a frame; `frames_kept` only while `input` may hold whole
//!    frames: never both.
//! 5. `backlogged` means that a flush left bytes. Then `output_timer` is armed, until it expires
//!    and finds them written.
//! 6. The id is in the ready or dirty list of `Net` at most once, if `in_ready_list` or
//!    `in_dirty_list` is set.
//! 7. A connection lacks a socket only if connecting failed at once.

use std::fmt;
use std::io::ErrorKind;
use std::net::SocketAddr;

use super::framing::{FrameBuffer, Framing};
use super::ids::{ConnId, ListenerId, Owner};
use super::timer_wheel::TimerId;
use super::write_queue::WriteQueue;
use crate::sys::SocketId;
use crate::time::Time;

/// Origin of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// Accepted from this listener.
    Accepted(ListenerId),
    /// Established by [`Net::connect`](super::Net::connect).
    Connected,
}

/// Reason for the end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CloseReason {
    /// The handler closed it.
    Local,
    /// The peer closed its side (FIN).
    PeerClosed,
    /// The connection was reset, or failed in another way.
    Failed(ErrorKind),
    /// The peer sent no TCP acknowledgement until the kernel gave up.
    PeerVanished,
    /// The connection was never established.
    ConnectFailed(ErrorKind),
    /// The connection was not established in time ([limit](super::Limits::connect_timeout)).
    ConnectTimeout,
    /// A frame was longer than its limit.
    FrameTooLarge,
    /// A frame did not end in time ([limit](super::Limits::frame_timeout)).
    FrameTimeout,
    /// No data arrived in time after it was accepted ([limit](super::Limits::first_byte_timeout)).
    NoFirstByte,
    /// The queue became too long ([limit](super::Limits::max_unsent_bytes)).
    TooMuchUnsent,
    /// The peer read nothing for too long ([limit](super::Limits::write_timeout)).
    WriteTimeout,
}

/// In words, as in `connection refused`.
impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CloseReason::Local => "closed by this side",
            CloseReason::PeerClosed => "closed by the peer",
            CloseReason::Failed(kind) | CloseReason::ConnectFailed(kind) => {
                return fmt::Display::fmt(kind, f);
            }
            CloseReason::PeerVanished => "peer host unreachable",
            CloseReason::ConnectTimeout => "connection timed out",
            CloseReason::FrameTooLarge => "frame too large",
            CloseReason::FrameTimeout => "frame not completed in time",
            CloseReason::NoFirstByte => "nothing received in time",
            CloseReason::TooMuchUnsent => "too much unsent data",
            CloseReason::WriteTimeout => "peer stopped reading",
        })
    }
}

impl CloseReason {
    /// Classifies an error of reading or writing.
    pub(crate) fn of_failure(kind: ErrorKind) -> CloseReason {
        match kind {
            ErrorKind::TimedOut | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
                CloseReason::PeerVanished
            }
            kind => CloseReason::Failed(kind),
        }
    }
}

/// Mode of closing a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Close {
    /// Closes at once. Queued frames are lost.
    Now,
    /// Closes after all queued frames are written. The time limit is
    /// [`Limits::write_timeout`](super::Limits::write_timeout).
    ///
    /// After that, input is read and discarded for a while
    /// ([`Limits::linger`](super::Limits::linger)): closing with unread input would reset the
    /// connection before the peer has read the frames. A connection that is not established yet is
    /// closed at once.
    AfterFlush,
}

/// State of a connection. The [module](self) lists the transitions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    Connecting,
    Open,
    /// `on_close` is due. Nothing is read or queued any more.
    Closing(CloseReason, Close),
    /// `on_close` was called. The queue is being written.
    Flushing {
        linger: bool,
    },
    /// The queue is written and the write side shut down. Input is discarded.
    Lingering {
        discarded_bytes: usize,
    },
    /// The connection is freed at the end of the turn.
    Closed,
}

impl State {
    /// Returns whether the [module](self) lists this transition.
    pub(crate) fn may_become(self, next: State) -> bool {
        match (self, next) {
            (State::Connecting, State::Open | State::Closing(_, Close::Now))
            | (State::Open, State::Closing(..))
            | (State::Closing(..), State::Flushing { .. })
            | (State::Flushing { .. }, State::Lingering { .. } | State::Closed)
            | (State::Lingering { .. }, State::Closed) => true,
            (State::Closing(first, _), State::Closing(why, mode)) => {
                first == why && mode == Close::Now
            }
            _ => false,
        }
    }
}

/// Amount received: frames, or bytes with raw framing. White space does not count.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Received {
    Nothing,
    PartOfFirst,
    First,
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) id: ConnId,
    pub(crate) owner: Owner,
    pub(crate) framing: Framing,
    pub(crate) state: State,
    /// Input is not passed to the handler.
    pub(crate) is_paused: bool,
    pub(crate) socket: Option<SocketId>,
    pub(crate) peer: SocketAddr,
    pub(crate) max_frame_bytes: usize,
    /// The connection is beyond the limits, and receives no callbacks.
    pub(crate) refused: bool,

    pub(crate) input: FrameBuffer,
    /// The system reported input, and no read has emptied the socket since.
    pub(crate) readable: bool,
    /// The system reported the peer's end, so data may follow a short read.
    pub(crate) closed_hint: bool,
    /// `input` may contain complete frames.
    pub(crate) frames_kept: bool,
    pub(crate) in_ready_list: bool,
    pub(crate) read_bytes: u64,
    pub(crate) received: Received,
    /// Start of the wait for the first byte, or for the rest of a frame.
    pub(crate) waiting_since: Option<Time>,
    /// Timer for the deadline of the current state: connect, first byte, frame or linger.
    pub(crate) input_timer: Option<TimerId>,

    pub(crate) output: WriteQueue,
    /// No write has found the socket full since the system reported that it is writable.
    pub(crate) writable: bool,
    pub(crate) in_dirty_list: bool,
    /// The last flush left bytes, so `on_drained` follows.
    pub(crate) backlogged: bool,
    pub(crate) written_bytes: u64,
    pub(crate) write_progress_at: Time,
    /// Timer for the write timeout after `write_progress_at`.
    pub(crate) output_timer: Option<TimerId>,
}

impl Connection {
    pub(crate) fn new(id: ConnId, peer: SocketAddr, state: State) -> Connection {
        Connection {
            id,
            owner: Owner::default(),
            framing: Framing::default(),
            state,
            is_paused: false,
            socket: None,
            peer,
            max_frame_bytes: 0,
            refused: false,
            input: FrameBuffer::default(),
            readable: false,
            closed_hint: false,
            frames_kept: false,
            in_ready_list: false,
            read_bytes: 0,
            received: Received::Nothing,
            waiting_since: None,
            input_timer: None,
            output: WriteQueue::default(),
            writable: false,
            in_dirty_list: false,
            backlogged: false,
            written_bytes: 0,
            write_progress_at: Time::ZERO,
            output_timer: None,
        }
    }

    /// Changes the state. The [module](self) must list this transition.
    pub(crate) fn move_to(&mut self, next: State) {
        debug_assert!(
            self.state.may_become(next),
            "{:?} became {next:?}",
            self.state
        );
        self.state = next;
    }

    /// Returns whether input is passed to the handler.
    pub(crate) fn is_delivering(&self) -> bool {
        self.state == State::Open && !self.is_paused
    }

    /// Returns whether frames can be queued.
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
            State::Closing(why, Close::AfterFlush),
            State::Closing(why, Close::Now),
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
        let other = State::Closing(CloseReason::PeerClosed, Close::Now);
        assert!(!life[2].may_become(other), "the first reason stays");
        assert!(!life[0].may_become(life[2]), "nothing is queued yet");
    }
}
