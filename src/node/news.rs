//! What a node's service is to be notified of.

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
    /// The connection was lost. The last roster and the connections between nodes stay in use, and
    /// the node keeps trying.
    Lost,
}

/// An [`Event`](super::Event) that waits for the end of the turn.
#[derive(Debug)]
pub(super) enum News {
    Link(LinkState),
    RegistrationRefused(Reply<'static>),
    Joined(Member),
    Left(Member),
    Waited(WaitId, bool),
    Drained(Drained),
    DrainedUnproven,
}
