//! The state of one connection.

use super::reader::RequestReader;
use crate::reactor::{ConnId, TimerId};
use crate::time::Time;

/// What a server knows of a connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) phase: Phase,
    pub(super) reader: RequestReader,
    /// Bytes of the next request have arrived.
    pub(super) has_begun: bool,
    /// The last request, as far as its response depends on it.
    pub(super) traits: RequestTraits,
    /// The part of a response that waits for room in the queue.
    pub(super) rest: Vec<u8>,
    pub(super) rest_from: usize,
    /// Bytes of its incomplete request.
    pub(super) held_bytes: usize,
    /// When its phase has taken too long.
    pub(super) deadline: Time,
    /// May fire before the deadline, which moves without it.
    pub(super) timer: Option<(TimerId, Time)>,
}

/// What a connection is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// It waits for a request, or for the rest of one.
    Reading,
    /// The app has its request. Nothing is read meanwhile, so that responses keep their order.
    Answering { number: u64 },
    /// It has its response, and has not read enough of it for the next request to be read.
    Writing,
    /// Events, until one side ends them.
    Streaming { number: u64 },
    /// It has its last response.
    Closing,
}

/// The properties of a request that its response depends on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RequestTraits {
    pub(super) is_1_0: bool,
    pub(super) is_head: bool,
    pub(super) keeps_alive: bool,
}

/// Where a response goes: to one request, once.
#[derive(PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ResponseTo {
    pub(super) conn: ConnId,
    pub(super) number: u64,
}

/// Names one stream of events.
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
            has_begun: false,
            traits: RequestTraits::default(),
            rest: Vec::new(),
            rest_from: 0,
            held_bytes: 0,
            deadline,
            timer: None,
        }
    }

    /// Returns whether it waits for its first request, of which nothing has arrived.
    pub(super) fn is_fresh(&self) -> bool {
        // After a request it is read from only if that keeps it alive.
        self.phase == Phase::Reading && !self.has_begun && !self.traits.keeps_alive
    }
}
