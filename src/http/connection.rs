//! The state of one connection.

use super::head::RequestTraits;
use super::reader::RequestReader;
use crate::reactor::{ConnId, TimerId};
use crate::time::Time;

/// A connection of a server.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) phase: Phase,
    pub(super) reader: RequestReader,
    /// Traits of the last request.
    pub(super) traits: RequestTraits,
    /// The part of a response that waits for room in the queue.
    pub(super) rest: Vec<u8>,
    pub(super) rest_from: usize,
    /// Number of bytes of the incomplete request.
    pub(super) held_bytes: usize,
    /// Time by which its phase must end.
    pub(super) deadline: Time,
    /// Timer, and the time at which it fires: never after the deadline. A later deadline does not
    /// rearm it.
    pub(super) timer: Option<(TimerId, Time)>,
}

/// The phase of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// The connection waits for a request, or for the rest of one.
    Reading,
    /// The app has the request. No further request is read, so that responses stay in order.
    Answering { number: u64 },
    /// A long response is being written. The next request is read after it.
    Writing,
    /// Events are sent until one side ends the stream.
    Streaming { number: u64 },
    /// The last response is queued.
    Closing,
}

/// The destination of a response: one request, which is answered once.
#[derive(PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ResponseTo {
    pub(super) conn: ConnId,
    pub(super) number: u64,
}

/// Identifies a stream of events.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EventStream {
    pub(super) conn: ConnId,
    pub(super) number: u64,
}

impl Connection {
    pub(super) fn new(deadline: Time) -> Connection {
        Connection {
            phase: Phase::Reading,
            reader: RequestReader::default(),
            traits: RequestTraits::default(),
            rest: Vec::new(),
            rest_from: 0,
            held_bytes: 0,
            deadline,
            timer: None,
        }
    }

    /// Returns whether it waits for its first request, and no part of it has arrived.
    pub(super) fn is_fresh(&self) -> bool {
        // After a request, reading continues only if that request keeps the connection alive.
        self.phase == Phase::Reading && self.held_bytes == 0 && !self.traits.keeps_alive
    }
}
