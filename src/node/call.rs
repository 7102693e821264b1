//! One call that has no result yet.

use std::net::SocketAddr;

use super::handle::PostedBy;
use crate::protocol::Route;
use crate::reactor::{ConnId, TimerId};
use crate::time::Time;

/// Names one call of a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CallId(pub(super) u64);

impl CallId {
    /// Returns the number that the request carries as its key, and its reply again.
    pub fn key(self) -> u64 {
        self.0
    }
}

/// What is called, until when, and how.
pub(super) struct NewCall<'a, P: ?Sized> {
    pub(super) target: Target,
    pub(super) route: &'a Route<'a>,
    pub(super) params: &'a P,
    pub(super) deadline: Time,
    pub(super) is_idempotent: bool,
    pub(super) request_id: Option<&'a str>,
    pub(super) posted_by: Option<PostedBy>,
}

/// Where a call goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    /// To any node that serves its method and path.
    Anyone,
    /// To this address alone.
    At(SocketAddr),
}

/// Peers that one call is given to, one after the other, before it counts as unavailable.
pub(super) const MAX_ATTEMPTS: usize = 8;

#[derive(Debug)]
pub(super) struct Call {
    pub(super) id: CallId,
    pub(super) target: Target,
    pub(super) is_idempotent: bool,
    pub(super) deadline: Time,
    pub(super) timer: TimerId,
    pub(super) text: Text,
    pub(super) attempt: Option<Attempt>,
    /// The peer that it was given to last.
    pub(super) responder: Option<SocketAddr>,
    /// Peers that it was given to.
    pub(super) attempts: usize,
    /// Those of them that could not be reached, by the number of the attempt.
    pub(super) unreachable: [Option<usize>; MAX_ATTEMPTS],
    /// The whole request was written to a peer whose connection was lost.
    pub(super) may_be_done: bool,
    pub(super) posted_by: Option<PostedBy>,
}

/// The peer that a call is given to now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt {
    pub(super) peer: usize,
    pub(super) conn: ConnId,
    /// When the connection has written so many bytes, it has written the whole request. `None`
    /// while the request waits for the connection, or for room on it.
    pub(super) written_at: Option<u64>,
    /// What the connection had read before the request could be written to it.
    pub(super) read_before: u64,
}

/// A call that has its result.
#[derive(Debug)]
pub(super) struct CompletedCall {
    pub(super) id: CallId,
    pub(super) responder: Option<SocketAddr>,
    pub(super) posted_by: Option<PostedBy>,
}

/// The route, and the encoded params with what follows them in the packet. They are kept
/// in one buffer until there is a result, so that the call can be sent to another peer.
#[derive(Debug)]
pub(super) struct Text {
    pub(super) buffer: Vec<u8>,
    pub(super) method_bytes: usize,
    pub(super) path_bytes: usize,
}

/// What a request has around its text, generously.
const ENVELOPE_BYTES: usize = 256;

impl Text {
    pub(super) fn parts(&self) -> (Route<'_>, &[u8]) {
        let (method, rest) = self.buffer.split_at(self.method_bytes);
        let (path, params) = rest.split_at(self.path_bytes);
        let words = |bytes| std::str::from_utf8(bytes).unwrap_or_default();
        (Route::new(words(method), words(path)), params)
    }

    /// Returns how long the request is, at most; a `¶` makes it a little longer.
    pub(super) fn request_bytes(&self) -> usize {
        self.buffer.len() + ENVELOPE_BYTES
    }
}
