//! The members of a list, as callers see them.

use std::iter::FusedIterator;

use slab::Slab;

use super::member::Member;
use super::ordered::{Iter, List, Lists};

/// Iterator over nodes of a [`Roster`](super::Roster), in the order of its list.
#[derive(Clone, Debug)]
pub struct Members<'r> {
    members: &'r Slab<Member>,
    lists: &'r Lists,
    list: List,
    places: Iter<'r>,
}

impl<'r> Members<'r> {
    pub(super) fn new(members: &'r Slab<Member>, lists: &'r Lists, list: List) -> Members<'r> {
        Members {
            members,
            lists,
            list,
            places: lists.iter(list),
        }
    }

    /// Returns whether no node is left.
    pub fn is_empty(&self) -> bool {
        self.places.len() == 0
    }

    /// Returns another iterator over the nodes that are left.
    pub fn iter(&self) -> Members<'r> {
        self.clone()
    }

    /// Returns the node at this place of the whole list, without a walk to it.
    pub(in crate::node) fn at(&self, place: usize) -> Option<&'r Member> {
        self.members.get(self.lists.nth(self.list, place)?)
    }
}

impl<'r> Iterator for Members<'r> {
    type Item = &'r Member;

    fn next(&mut self) -> Option<&'r Member> {
        self.members.get(self.places.next()?)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.places.size_hint()
    }

    fn count(self) -> usize {
        self.places.len()
    }
}

impl ExactSizeIterator for Members<'_> {}

impl FusedIterator for Members<'_> {}
