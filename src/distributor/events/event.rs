//! What can happen in a Distributor, as the code that makes it happen emits it.

use std::net::SocketAddr;
use std::time::Duration;

use super::push_log::Pushed;
use crate::protocol::Refusal;
use crate::reactor::CloseReason;
use crate::registry::{Cause, EntryId};

/// Something that happened. Each is emitted once, after the registry has changed, and
/// [`Events::emit`](super::Events::emit) derives counters, log line and journal record from it.
#[derive(Debug)]
pub(in crate::distributor) enum Event<'a> {
    /// A connection was accepted.
    Connected,
    /// The first bytes of a connection were those of another protocol.
    WrongProtocol {
        protocol: &'static str,
        bytes: &'a [u8],
    },
    /// A packet was answered with an errorcode. `is_unadmitted`: its connection is closed for that.
    Rejected {
        refusal: &'a Refusal,
        frame: &'a [u8],
        is_unadmitted: bool,
    },
    /// There was no room for a registration.
    CapacityExceeded,
    /// A connection ended, perhaps because it exceeded a limit of the loop.
    Closed(CloseReason),
    /// A backlogged connection was closed because old lists take too much memory.
    OldListsCut,
    /// The loop refused connections; both are totals.
    ConnectionsRefused {
        limit: usize,
        refused: u64,
        shed: u64,
    },
    /// The loop could not accept connections; a total.
    AcceptFailed { failures: u64 },

    /// A node registered.
    Joined { host: &'a str },
    /// A node registered again, and its entry changed.
    Changed { host: &'a str },
    /// A node registered again, with the same entry.
    Unchanged,
    /// A node registered that has no port that others could connect to.
    NotListed,
    /// A node claimed its entry, which had no connection.
    Claimed,
    /// A node took its entry over from its earlier connection.
    Superseded { before: SocketAddr },
    /// An entry left the list.
    Left { cause: Cause, reason: &'static str },

    /// A silent node is held together with many others.
    Suspected,
    /// A suspect sent something.
    Recovered,
    /// From now on silent nodes are held.
    SelfPreservationEntered { silent: usize, late: usize },
    /// The process stood still.
    Stalled(Duration),
    /// From now on the list may be incomplete.
    WarmUpBegan,
    /// The list is complete.
    WarmUpEnded,
    /// Entries of the last run are listed again.
    Restored { entries: usize },

    /// A push to all watching peers was queued.
    Pushed(Pushed),
    /// The list of a push to plain peers is longer than these read at once.
    PushOversized { bytes: usize },
    /// The last push is written.
    PushWritten(Duration),
    /// A session that had applied `from` has applied `to`.
    Acknowledged { from: u64, to: u64 },
    /// A session ended, or began anew, that had applied `from`.
    SessionEnded { from: u64 },
}

/// The node or connection that an event is about, as far as it is known.
#[derive(Clone, Copy, Default, Debug)]
pub(in crate::distributor) struct Subject<'a> {
    pub(in crate::distributor) peer: Option<SocketAddr>,
    pub(in crate::distributor) name: &'a str,
    pub(in crate::distributor) entry: Option<EntryId>,
}

/// Returns why a connection ended, in words.
pub(in crate::distributor) fn describe(reason: CloseReason) -> &'static str {
    match reason {
        CloseReason::Local => "closed by the Distributor",
        CloseReason::PeerClosed => "closed by the peer",
        CloseReason::Failed(_) => "reset",
        CloseReason::PeerVanished => "peer host unreachable",
        CloseReason::ConnectFailed(_) | CloseReason::ConnectTimeout => "never connected",
        CloseReason::FrameTooLarge => "frame too large",
        CloseReason::FrameTimeout => "frame not completed in time",
        CloseReason::NoFirstByte => "nothing received in time",
        CloseReason::TooMuchUnsent => "too much unsent data",
        CloseReason::WriteTimeout => "peer stopped reading",
    }
}
