//! The entries that a node receives from its Distributor.

use crate::protocol::Subscription;

/// Determines the nodes that a node knows: its roster and its events have no others.
///
/// A Distributor sends a node only what it subscribes to. From Distributors that send all entries,
/// and from plain ones, the node filters them by itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Interest {
    /// All nodes. For nodes whose callers choose the routes, as those of a gateway.
    #[default]
    All,
    /// The nodes that this one calls. The subscription grows with the calls: by the first segment
    /// of the path, and by name for [`notify`](super::Context::notify),
    /// [`call_all`](super::Context::call_all) and [`to_all`](super::Call::to_all). Waits for
    /// routes, and lookups in the [`Roster`](super::Roster), subscribe too. Calls of an address do
    /// not need it.
    ///
    /// The first call of something new waits until the Distributor has answered, for as long as its
    /// deadline permits; while the link is lost it waits for the link. After 256 names, or 256 urls
    /// or prefixes, the node subscribes to all.
    Calls,
    /// The nodes of a subscription that does not change. Calls of others end as
    /// [`Unavailable`](super::CallError::Unavailable).
    ///
    /// ```
    /// use pilcrow::node::Interest;
    /// use pilcrow::protocol::{Route, Subscription};
    ///
    /// let goods = Subscription::new()
    ///     .names(["logs"])
    ///     .urls([Route::get("/goods")])
    ///     .prefixes(["GET/stock/"]);
    /// let interest = Interest::Only(goods);
    /// ```
    Only(Subscription),
}
