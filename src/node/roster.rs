//! The view of all live nodes and their routes.
//!
//! A change costs what the entries cost that join or leave, whatever the number of members: the
//! indexes are kept up to date, and never built anew for a change.

mod index;
mod interests;
mod member;
mod members;
mod ordered;
mod slashes;

#[cfg(test)]
mod tests;

use std::cell::{RefCell, RefMut};
use std::net::SocketAddr;
use std::rc::Rc;

use serde_json::value::RawValue;
use slab::Slab;

use super::interest::Interest;
use super::table::Table;
use crate::protocol::{Left, Route, Subscription, Update, UpdateSession};
use crate::time::Time;
use index::{Index, RouteKey};
use interests::Interests;
use ordered::{List, Lists, Rank};
use slashes::Slashes;

pub use member::Member;
pub use members::Members;

/// Changes of the view by an update.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) joined: Vec<Member>,
    pub(super) left: Vec<Member>,
}

/// The entries that are listed at an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Listing {
    /// Lowest and highest id; `None` if they have none.
    pub(super) ids: Option<(u64, u64)>,
    /// One of them has no session.
    pub(super) is_plain: bool,
}

/// The live nodes that this node knows: those of its [`Interest`]. Lookups do not allocate.
///
/// Under [`Interest::Calls`], the first lookup of a name or route subscribes to its nodes. They
/// join when the Distributor has answered.
#[derive(Debug, Default)]
pub struct Roster {
    /// Members, by a place that is stable while the member is listed.
    members: Slab<Member>,
    last_number: u64,
    lists: Lists,
    all: List,
    by_name: Index<Box<str>>,
    by_route: Index<RouteKey>,
    by_addr: Index<SocketAddr>,
    /// The same without entries that have a session.
    plain_by_addr: Index<SocketAddr>,
    /// Places of the members from an earlier view, by their entries.
    from_before: Table<usize>,
    slashes: Slashes,
    /// Addresses whose listing may have changed since this was last taken.
    touched: Vec<SocketAddr>,
    updated_at: Option<Time>,
    is_complete: bool,
    /// Epoch of the last update with a session; empty if there was none.
    epoch: String,
    rev: u64,
    interests: RefCell<Interests>,
}

impl Roster {
    pub(super) fn new(interest: Interest) -> Roster {
        Roster {
            interests: RefCell::new(Interests::new(interest)),
            ..Roster::default()
        }
    }

    /// Returns all nodes, in the order of the list.
    pub fn members(&self) -> Members<'_> {
        self.of(self.all)
    }

    /// Returns the time at which the last list or change was received; `None` before the first.
    /// Compare it with [`Net::now`](crate::reactor::Net::now).
    pub fn updated_at(&self) -> Option<Time> {
        self.updated_at
    }

    /// Returns whether the view has all nodes that the Distributor knows. `false` while the
    /// Distributor has just started and its nodes are still reconnecting.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Returns the nodes with this name, in the order of the list.
    pub fn named(&self, name: &str) -> Members<'_> {
        self.interests().want_name(name);
        self.known_name(name)
    }

    /// Returns the nodes of [`Roster::named`] that are known, without subscribing to more.
    pub(super) fn known_name(&self, name: &str) -> Members<'_> {
        self.of(self.by_name.list(name))
    }

    /// Returns the nodes that list exactly this route, in the order of the list.
    pub fn serving<'r>(&'r self, route: &Route<'_>) -> Members<'r> {
        self.interests().want_route(route);
        self.of(self.by_route.list(route))
    }

    /// Returns the nodes that list the longest listed prefix of this route. Only whole segments
    /// count: `/goods` is a prefix of `/goods/17`, not of `/goodsbye`.
    pub fn serving_prefix<'r>(&'r self, route: &Route<'_>) -> Members<'r> {
        self.interests().want_route(route);
        self.known_prefix(route)
    }

    /// Returns the nodes of [`Roster::serving_prefix`] that are known, without subscribing to more.
    pub(super) fn known_prefix<'r>(&'r self, route: &Route<'_>) -> Members<'r> {
        // No node lists more slashes: a client that sends many causes no further lookups.
        let prefixes = route.prefixes(self.slashes.most());
        let mut lists = prefixes.map(|prefix| self.by_route.list(&prefix));
        self.of(lists.find(|list| !list.is_empty()).unwrap_or_default())
    }

    /// Returns what the node looks for.
    pub(super) fn interests(&self) -> RefMut<'_, Interests> {
        self.interests.borrow_mut()
    }

    fn of(&self, list: List) -> Members<'_> {
        Members::new(&self.members, &self.lists, list)
    }

    /// Returns what is listed at an address; `None` if nothing is.
    pub(super) fn listing(&self, addr: SocketAddr) -> Option<Listing> {
        let list = self.by_addr.list(&addr);
        let id_of = |place: usize| self.members.get(place)?.id;
        let lowest = self.lists.iter(list).next().and_then(id_of);
        let highest = self.lists.last_before(list, Rank::WITHOUT_ID);
        (!list.is_empty()).then(|| Listing {
            ids: lowest.zip(highest.and_then(id_of)),
            is_plain: !self.plain_by_addr.list(&addr).is_empty(),
        })
    }

    /// Takes the addresses whose listing may have changed. Return the buffer with
    /// [`Roster::give_touched`].
    pub(super) fn take_touched(&mut self) -> Vec<SocketAddr> {
        std::mem::take(&mut self.touched)
    }

    /// Returns the buffer of the addresses, so that it need not be allocated for each change.
    pub(super) fn give_touched(&mut self, buffer: Vec<SocketAddr>) {
        self.touched = buffer;
    }

    pub(super) fn rev(&self) -> u64 {
        self.rev
    }

    /// Returns the epoch and revision that a delta can start from.
    pub(super) fn position(&self) -> Option<(&str, u64)> {
        // A merged view may contain nodes that are gone: only a complete list removes them.
        let is_known = !self.epoch.is_empty() && self.is_complete;
        is_known.then_some((&*self.epoch, self.rev))
    }

    /// Begins a session. Its first list follows: no delta starts from another epoch, and
    /// acknowledging the old revision would acknowledge changes that were never applied.
    pub(super) fn begin_session(&mut self, epoch: &str) {
        if self.epoch != epoch {
            self.forget_position();
        }
    }

    pub(super) fn forget_position(&mut self) {
        self.epoch.clear();
        self.rev = 0;
    }

    /// Applies an update with a session. Returns the changes, and whether the epoch is new. `None`
    /// if it does not start from this position: the whole list is needed. With `may_repeat`, a
    /// delta may end at the revision of the view.
    pub(super) fn apply(
        &mut self,
        update: &Update<'_>,
        session: &UpdateSession<'_>,
        may_repeat: bool,
        now: Time,
    ) -> Option<(Changes, bool)> {
        let is_new_epoch = self.epoch != session.epoch;
        let changes = match update {
            Update::List { entries, .. } => {
                let merges = session.complete == Some(false);
                self.apply_list(entries, Some(session), merges, now)
            }
            Update::Delta { joined, left, .. }
                if !is_new_epoch && self.continues(session, may_repeat) =>
            {
                self.apply_delta(joined, session, left, now)
            }
            _ => return None,
        };
        if is_new_epoch {
            self.epoch.clear();
            self.epoch.push_str(&session.epoch);
        }
        self.rev = session.rev;
        Some((changes, is_new_epoch))
    }

    /// Returns whether a delta contains the changes after this revision. It may start earlier, as
    /// sessions with equal subscriptions share it.
    fn continues(&self, delta: &UpdateSession<'_>, may_repeat: bool) -> bool {
        let is_newer = delta.rev > self.rev || may_repeat && delta.rev == self.rev;
        is_newer && delta.from.is_some_and(|from| from <= self.rev)
    }

    /// Applies a whole list; without a session it has no ids. With `merges`, nodes that are missing
    /// from it stay: of equal entries, as many as the view or the list has, whichever is more.
    pub(super) fn apply_list(
        &mut self,
        entries: &[&RawValue],
        session: Option<&UpdateSession<'_>>,
        merges: bool,
        now: Time,
    ) -> Changes {
        let mut old: Vec<Option<Member>> = self.take_all();
        let mut places = Table::default();
        for (place, member) in old.iter().flatten().enumerate() {
            places.insert(places.hash(&*member.entry), place);
        }
        let only = self.interests().wanted();
        let mut changes = Changes::default();
        for (index, entry) in entries.iter().enumerate() {
            let id = session.and_then(|session| session.ids.get(index).copied());
            let is_plain = session.is_none_or(|session| session.is_plain(id));
            let is_it = |place: &usize| {
                let member = old.get(*place).and_then(Option::as_ref);
                member.is_some_and(|member| *member.entry == *entry.get())
            };
            let known = places.find(places.hash(entry.get()), is_it);
            let known = known.and_then(|found| places.remove(found));
            let known = known.and_then(|place| old.get_mut(place)?.take());
            let member = known_or_new(known, &only, &mut changes, || {
                Member::new(entry, id, is_plain)
            });
            if let Some(member) = member {
                self.add(member.listed(id, is_plain));
            }
        }
        let rest = old.into_iter().flatten();
        if merges {
            let mut rest: Vec<Member> = rest.collect();
            rest.sort_by(|a, b| a.entry.cmp(&b.entry));
            for member in rest {
                self.add(Member {
                    id: None,
                    is_from_before: true,
                    ..member
                });
            }
        } else {
            changes.left.extend(rest);
        }
        self.updated_at = Some(now);
        self.is_complete = !merges;
        changes
    }

    fn apply_delta(
        &mut self,
        joined: &[&RawValue],
        session: &UpdateSession<'_>,
        left: &[Left],
        now: Time,
    ) -> Changes {
        let only = self.interests().wanted();
        let mut changes = Changes::default();
        for gone in left {
            let place = self.place_of_id(gone.id);
            let member = place.and_then(|place| self.take(place));
            changes.left.extend(member);
        }
        for (entry, id) in joined.iter().zip(&session.ids) {
            let is_plain = session.is_plain(Some(*id));
            let same = |member: &Member| *member.entry == *entry.get();
            let known = self.place_of_id(*id).and_then(|place| self.take(place));
            let known = match known {
                Some(known) if !same(&known) => {
                    changes.left.push(known);
                    None
                }
                Some(known) => Some(known),
                None => self.take_from_before(entry.get()),
            };
            let member = known_or_new(known, &only, &mut changes, || {
                Member::new(entry, Some(*id), is_plain)
            });
            if let Some(member) = member {
                self.add(member.listed(Some(*id), is_plain));
            }
        }
        self.updated_at = Some(now);
        changes
    }

    fn place_of_id(&self, id: u64) -> Option<usize> {
        let place = self.lists.first_from(self.all, Rank { id, number: 0 })?;
        let member = self.members.get(place)?;
        (member.id == Some(id)).then_some(place)
    }

    /// Removes and returns a member with this entry from an earlier view.
    fn take_from_before(&mut self, entry: &str) -> Option<Member> {
        let is_it = |place: &usize| {
            let member = self.members.get(*place);
            member.is_some_and(|member| *member.entry == *entry)
        };
        let found = self.from_before.find(self.from_before.hash(entry), is_it)?;
        let place = *self.from_before.get(found)?;
        self.take(place)
    }

    /// Adds a member to the list and to all indexes.
    fn add(&mut self, mut member: Member) {
        self.last_number += 1;
        member.number = self.last_number;
        let (rank, place) = (member.rank(), self.members.vacant_key());
        let lists = &mut self.lists;
        lists.insert(&mut self.all, rank, place);
        self.by_name
            .insert(lists, member.node.name.as_str(), rank, place);
        for route in routes_of(&member) {
            if self.by_route.insert(lists, &route, rank, place) {
                self.slashes.add(route.slashes());
            }
        }
        if let Some(addr) = member.addr {
            self.touched.push(addr);
            self.by_addr.insert(lists, &addr, rank, place);
            if member.is_plain {
                self.plain_by_addr.insert(lists, &addr, rank, place);
            }
        }
        if member.is_from_before {
            let hash = self.from_before.hash(&*member.entry);
            self.from_before.insert(hash, place);
        }
        self.members.insert(member);
    }

    /// Removes a member from the list and from all indexes.
    fn take(&mut self, place: usize) -> Option<Member> {
        let member = self.members.try_remove(place)?;
        let rank = member.rank();
        let lists = &mut self.lists;
        lists.remove(&mut self.all, rank);
        self.by_name.remove(lists, member.node.name.as_str(), rank);
        for route in routes_of(&member) {
            if self.by_route.remove(lists, &route, rank) {
                self.slashes.remove(route.slashes());
            }
        }
        if let Some(addr) = member.addr {
            self.touched.push(addr);
            self.by_addr.remove(lists, &addr, rank);
            self.plain_by_addr.remove(lists, &addr, rank);
        }
        if member.is_from_before {
            let hash = self.from_before.hash(&*member.entry);
            let found = self.from_before.find(hash, |other| *other == place);
            found.and_then(|found| self.from_before.remove(found));
        }
        Some(member)
    }

    /// Removes all members, and returns them in the order of the list.
    fn take_all(&mut self) -> Vec<Option<Member>> {
        let mut all = Vec::with_capacity(self.members.len());
        for place in self.lists.iter(self.all) {
            let member = self.members.try_remove(place);
            let addr = member.as_ref().and_then(|member| member.addr);
            self.touched.extend(addr);
            all.push(member);
        }
        self.lists.clear();
        self.all = List::default();
        self.by_name.clear();
        self.by_route.clear();
        self.by_addr.clear();
        self.plain_by_addr.clear();
        self.from_before.clear();
        self.slashes = Slashes::default();
        all
    }
}

/// Returns the known member, or a new one, which joins, if it matches the subscription. A known one
/// that does not match leaves.
fn known_or_new(
    known: Option<Member>,
    only: &Option<Rc<Subscription>>,
    changes: &mut Changes,
    new: impl FnOnce() -> Member,
) -> Option<Member> {
    let is_known = known.is_some();
    let member = known.unwrap_or_else(new);
    let matches = |only: &Rc<Subscription>| only.matches(&member.node.name, &member.node.urls);
    if !only.as_ref().is_none_or(matches) {
        if is_known {
            changes.left.push(member);
        }
        return None;
    }
    if !is_known {
        changes.joined.push(member.clone());
    }
    Some(member)
}

/// Returns the routes that an entry lists; words without a path are none.
fn routes_of(member: &Member) -> impl Iterator<Item = Route<'_>> {
    let routes = member.node.urls.iter().map(|url| Route::parse(url));
    routes.filter(|route| !route.path.is_empty())
}
