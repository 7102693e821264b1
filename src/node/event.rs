//! Events that a service receives.

use super::roster::Member;
use super::waits::WaitId;
use crate::protocol::{Drained, Reply};

/// The state of the link to the Distributor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkState {
    /// No Distributor was found yet. The node keeps trying.
    Searching,
    /// The node is registered, and the roster is kept up to date.
    Registered,
    /// The connection was lost. The last roster and the connections between nodes are still used,
    /// and the node tries to reconnect.
    Lost,
}

/// A change around a node.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The link to the Distributor changed its state.
    Link(LinkState),
    /// The Distributor rejected the registration. The node retries after
    /// [`Config::retry`](super::Config::retry), or after up to ten times as long if it is rejected
    /// repeatedly with [`ErrorCode::NotAllowed`](crate::protocol::ErrorCode::NotAllowed).
    RegistrationRefused(Reply<'static>),
    /// A node of the [`Interest`](super::Interest) joined.
    Joined(Member),
    /// A node left, or changed so that it does not match the [`Interest`](super::Interest) any
    /// more.
    Left(Member),
    /// A [wait](super::Context::wait_for) ended: all its routes are served (`true`), or it timed
    /// out.
    Waited(WaitId, bool),
    /// The node is no longer listed. The value has the sessions that have not acknowledged it.
    Drained(Drained),
    /// The link was lost during the drain: the node is not listed, but it is unknown which sessions
    /// have acknowledged that. Sent when the time to wait has passed; until then calls may still
    /// arrive.
    DrainedUnproven,
}
