//! The names and routes that a node looks for.

use std::rc::Rc;

use super::index::{Lookup, RouteKey};
use crate::node::interest::Interest;
use crate::node::table::Table;
use crate::protocol::{Route, Subscription};
use crate::reactor::Waker;

/// The subscription of a node, which grows with what is looked for.
///
/// Each new name or route has a number, one higher than the one before. The view has all nodes of
/// those up to [`Interests::viewed`]. The others wait for an answer of the Distributor.
#[derive(Debug, Default)]
pub(in crate::node) struct Interests {
    /// Entries that do not match it are left out of the view; `None` if all are in it.
    wanted: Option<Rc<Subscription>>,
    /// New names and routes are added to it.
    grows: bool,
    names: Table<(Box<str>, u64)>,
    /// The first segments of paths, with their methods.
    routes: Table<(RouteKey, u64)>,
    last: u64,
    viewed: u64,
    /// Wakes the reactor, so that the end of a turn sends what was added between turns.
    waker: Option<Waker>,
}

impl Interests {
    pub(in crate::node) fn new(interest: Interest) -> Interests {
        let wanted = match &interest {
            Interest::All => None,
            Interest::Calls => Some(Subscription::default()),
            Interest::Only(only) => Some(only.clone()),
        };
        Interests {
            wanted: wanted.map(Rc::new),
            grows: interest == Interest::Calls,
            ..Interests::default()
        }
    }

    pub(in crate::node) fn set_waker(&mut self, waker: Waker) {
        self.waker = Some(waker);
    }

    /// Returns the subscription; `None` for all nodes.
    pub(in crate::node) fn wanted(&self) -> Option<Rc<Subscription>> {
        self.wanted.clone()
    }

    /// Returns the number of the last addition.
    pub(in crate::node) fn last(&self) -> u64 {
        self.last
    }

    /// Returns the number of the last addition whose nodes are all in the view.
    pub(in crate::node) fn viewed(&self) -> u64 {
        self.viewed
    }

    pub(in crate::node) fn set_viewed(&mut self, number: u64) {
        self.viewed = number;
    }

    /// Subscribes to the nodes that may serve a route. Returns the number to wait for, unless the
    /// view has all of them.
    pub(in crate::node) fn want_route(&mut self, route: &Route<'_>) -> Option<u64> {
        // Nodes list paths that begin with a slash.
        if self.is_settled() || !route.path.starts_with('/') {
            return None;
        }
        let key = first_segment(route);
        let hash = self.routes.hash(&key);
        let known = self.routes.find(hash, |(other, _)| key.finds(other));
        let number = match known.and_then(|place| self.routes.get(place)) {
            Some((_, number)) => *number,
            None if !self.grows => self.last,
            None => {
                self.routes.insert(hash, (key.to_key(), self.last + 1));
                self.add(|only| only.add_segment(&key))
            }
        };
        self.awaited(number)
    }

    /// Subscribes to the nodes with a name, as [`Interests::want_route`].
    pub(in crate::node) fn want_name(&mut self, name: &str) -> Option<u64> {
        if self.is_settled() {
            return None;
        }
        let hash = self.names.hash(name);
        let known = self.names.find(hash, |(other, _)| **other == *name);
        let number = match known.and_then(|place| self.names.get(place)) {
            Some((_, number)) => *number,
            None if !self.grows => self.last,
            None => {
                self.names.insert(hash, (name.into(), self.last + 1));
                self.add(|only| only.add_name(name))
            }
        };
        self.awaited(number)
    }

    /// Subscribes to all nodes.
    pub(in crate::node) fn want_all(&mut self) {
        self.wanted = None;
        self.grows = false;
        self.last += 1;
        self.wake();
    }

    /// Returns whether no lookup can have to wait.
    fn is_settled(&self) -> bool {
        !self.grows && self.last == self.viewed()
    }

    fn awaited(&self, number: u64) -> Option<u64> {
        (number > self.viewed()).then_some(number)
    }

    fn add(&mut self, change: impl FnOnce(&mut Subscription)) -> u64 {
        self.last += 1;
        if let Some(wanted) = &mut self.wanted {
            let wanted = Rc::make_mut(wanted);
            change(wanted);
            if !wanted.fits() {
                self.wanted = None;
                self.grows = false;
            }
        }
        self.wake();
        self.last
    }

    fn wake(&self) {
        if let Some(waker) = &self.waker {
            // If it fails, the next turn sends the change.
            let _ = waker.wake();
        }
    }
}

/// Returns the route with the first segment of its path.
fn first_segment<'r>(route: &'r Route<'_>) -> Route<'r> {
    let rest = route.path.get(1..).unwrap_or_default();
    let end = memchr::memchr(b'/', rest.as_bytes()).map_or(route.path.len(), |at| at + 1);
    Route::new(&*route.method, route.path.get(..end).unwrap_or_default())
}
