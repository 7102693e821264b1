//! The lists of members by what they have in common: a name, a route, or an address.

use std::hash::Hash;
use std::net::SocketAddr;

use super::ordered::{List, Lists, Rank};
use crate::node::table::Table;
use crate::protocol::Route;

/// A list of members for each key that some member has.
#[derive(Debug)]
pub(super) struct Index<K> {
    lists: Table<(K, List)>,
}

/// The form in which a key is looked up: the key itself, or a borrowed form of it.
pub(super) trait Lookup<K>: Hash {
    fn finds(&self, key: &K) -> bool;
    fn to_key(&self) -> K;
}

/// A route in one piece of memory, since each further one slows down a lookup.
#[derive(Debug)]
pub(super) struct RouteKey {
    text: Box<str>,
    method_bytes: usize,
}

impl<K> Default for Index<K> {
    fn default() -> Index<K> {
        Index {
            lists: Table::default(),
        }
    }
}

impl<K> Index<K> {
    /// Returns the list of the members with this key.
    pub(super) fn list(&self, key: &(impl Lookup<K> + ?Sized)) -> List {
        let place = self.place(self.lists.hash(key), key);
        place
            .and_then(|place| self.lists.get(place))
            .map_or(List::default(), |(_, list)| *list)
    }

    fn place(&self, hash: u64, key: &(impl Lookup<K> + ?Sized)) -> Option<usize> {
        self.lists.find(hash, |(other, _)| key.finds(other))
    }

    /// Adds a member. Returns whether it is the first one with this key.
    pub(super) fn insert(
        &mut self,
        lists: &mut Lists,
        key: &(impl Lookup<K> + ?Sized),
        rank: Rank,
        member: usize,
    ) -> bool {
        let hash = self.lists.hash(key);
        let known = self.place(hash, key);
        let insert = || self.lists.insert(hash, (key.to_key(), List::default()));
        let place = known.unwrap_or_else(insert);
        if let Some((_, list)) = self.lists.get_mut(place) {
            lists.insert(list, rank, member);
        }
        known.is_none()
    }

    /// Removes a member. Returns whether it was the last one with this key.
    pub(super) fn remove(
        &mut self,
        lists: &mut Lists,
        key: &(impl Lookup<K> + ?Sized),
        rank: Rank,
    ) -> bool {
        let Some(place) = self.place(self.lists.hash(key), key) else {
            return false;
        };
        let Some((_, list)) = self.lists.get_mut(place) else {
            return false;
        };
        lists.remove(list, rank);
        let is_last = list.is_empty();
        if is_last {
            self.lists.remove(place);
        }
        is_last
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lists.len()
    }

    pub(super) fn clear(&mut self) {
        self.lists.clear();
    }
}

impl Lookup<Box<str>> for str {
    fn finds(&self, key: &Box<str>) -> bool {
        **key == *self
    }

    fn to_key(&self) -> Box<str> {
        self.into()
    }
}

impl Lookup<RouteKey> for Route<'_> {
    fn finds(&self, key: &RouteKey) -> bool {
        let (method, path) = key.text.as_bytes().split_at(key.method_bytes);
        path == self.path.as_bytes() && method == self.method.as_bytes()
    }

    fn to_key(&self) -> RouteKey {
        RouteKey {
            text: [&*self.method, &*self.path].concat().into(),
            method_bytes: self.method.len(),
        }
    }
}

impl Lookup<SocketAddr> for SocketAddr {
    fn finds(&self, key: &SocketAddr) -> bool {
        self == key
    }

    fn to_key(&self) -> SocketAddr {
        *self
    }
}
