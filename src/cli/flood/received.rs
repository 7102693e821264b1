//! Data that the clients of a run have received from the server.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::frames::{Frame, Offer};
use crate::reactor::CloseReason;

/// Data received from the server.
#[derive(Default, Debug)]
pub(crate) struct Received {
    pub(crate) opened: usize,
    /// Number of members whose registration was confirmed.
    pub(crate) confirmed: usize,
    /// Number of members that have received a frame.
    pub(crate) greeted: usize,
    /// Number of lists and deltas that members have received.
    pub(crate) updates: u64,
    /// Number of deltas that did not follow from the revision of their receiver.
    pub(crate) gaps: u64,
    /// Number of connections that the server closed, and the reason for the last one.
    pub(crate) lost: usize,
    pub(crate) last_loss: Option<CloseReason>,
    /// Reason for which the run cannot go on.
    pub(crate) fault: Option<String>,
    /// Newest whole list without joiners, by subscription.
    pub(crate) last_lists: BTreeMap<usize, Rc<Frame>>,
    /// First reply to a registration.
    pub(crate) reply: Option<Rc<Frame>>,
}

/// Returns the reason for which the run cannot go on after a rejection.
pub(crate) fn refused(refusal: &str) -> String {
    format!("the server refused a request: {refusal}")
}

/// Returns the reason for which a subscription is not served, if there is one.
pub(crate) fn rejection(offer: Offer) -> Option<&'static str> {
    match offer {
        Offer::Missing => Some(
            "the Distributor does not offer subscriptions: the features of its reply lack only; \
             load a newer one, or omit --subscriptions",
        ),
        Offer::TooMany => Some(
            "the Distributor has too many subscriptions and sends everything; use fewer services \
             (--services)",
        ),
        Offer::Accepted => None,
    }
}
