//! Subscriptions: the sessions that a change concerns. Pure.
//!
//! Sessions with equal subscriptions share one, and receive the same frames.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::rc::Rc;

use crate::protocol::{Subscription, is_under};
use crate::reactor::ConnId;
use crate::registry::{Keys, Registry};

/// Maximum number of different subscriptions.
const MAX_SUBSCRIPTIONS: usize = 4096;
/// Maximum number of pushes that each remembers, for acknowledgements.
const MAX_PUSHED: usize = 64;

/// Identifies a subscription while a session has it. Never used again: frames are kept by it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct SubscriptionId(u64);

/// All subscriptions, by what they name.
///
/// Invariants: each has a session. The maps have the names, urls and prefixes of all, and nothing
/// else. `pending` has those with `pending_since`.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    all: BTreeMap<SubscriptionId, Shared>,
    last_id: u64,
    ids: HashMap<Rc<Subscription>, SubscriptionId>,
    by_name: HashMap<Box<str>, BTreeSet<SubscriptionId>>,
    by_url: HashMap<Box<str>, BTreeSet<SubscriptionId>>,
    by_prefix: BTreeMap<Box<str>, BTreeSet<SubscriptionId>>,
    pending: BTreeSet<SubscriptionId>,
    /// Revision up to which changes were matched.
    matched: u64,
}

/// A subscription, and its sessions.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) only: Rc<Subscription>,
    pub(super) sessions: BTreeSet<ConnId>,
    /// Revision of its last update, or one before it with the same view. No change after it matches
    /// up to `pending_since`, or up to the matched revision.
    pub(super) updated: u64,
    /// Revision before the first change that matches and is not pushed.
    pub(super) pending_since: Option<u64>,
    /// Revisions of its last pushes, the oldest first.
    pushed: VecDeque<u64>,
}

impl Shared {
    /// Records that an update to this revision was pushed to its sessions.
    pub(super) fn record_pushed(&mut self, revision: u64) {
        self.updated = revision;
        if self.pushed.len() >= MAX_PUSHED {
            self.pushed.pop_front();
        }
        self.pushed.push_back(revision);
    }

    /// Returns the revisions of its pushes after `from`, up to `to`.
    pub(super) fn pushed_between(&self, from: u64, to: u64) -> impl Iterator<Item = u64> {
        let begin = self.pushed.partition_point(|revision| *revision <= from);
        let revisions = self.pushed.range(begin..).copied();
        revisions.take_while(move |revision| *revision <= to)
    }
}

impl Subscriptions {
    /// Adds a session at this revision of the list. Returns its subscription, or `None` if there
    /// are too many different ones.
    pub(super) fn add(
        &mut self,
        conn: ConnId,
        only: Subscription,
        revision: u64,
    ) -> Option<SubscriptionId> {
        let id = match self.ids.get(&only) {
            Some(id) => *id,
            None => self.insert(only, revision)?,
        };
        self.all.get_mut(&id)?.sessions.insert(conn);
        Some(id)
    }

    fn insert(&mut self, only: Subscription, revision: u64) -> Option<SubscriptionId> {
        if self.all.len() >= MAX_SUBSCRIPTIONS {
            return None;
        }
        let only = Rc::new(only);
        self.last_id += 1;
        let id = SubscriptionId(self.last_id);
        let shared = Shared {
            only: Rc::clone(&only),
            sessions: BTreeSet::new(),
            updated: revision,
            pending_since: None,
            pushed: VecDeque::new(),
        };
        self.all.insert(id, shared);
        for name in &only.names {
            self.by_name.entry(name.clone()).or_default().insert(id);
        }
        for url in &only.urls {
            self.by_url.entry(url.clone()).or_default().insert(id);
        }
        for prefix in &only.prefixes {
            self.by_prefix.entry(prefix.clone()).or_default().insert(id);
        }
        self.ids.insert(only, id);
        Some(id)
    }

    /// Removes a session, and its subscription if no other session has it.
    pub(super) fn remove(&mut self, conn: ConnId, id: SubscriptionId) {
        let Some(shared) = self.all.get_mut(&id) else {
            return;
        };
        shared.sessions.remove(&conn);
        if !shared.sessions.is_empty() {
            return;
        }
        let only = Rc::clone(&shared.only);
        self.all.remove(&id);
        self.ids.remove(&only);
        self.pending.remove(&id);
        for name in &only.names {
            if let Some(ids) = self.by_name.get_mut(name) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.by_name.remove(name);
                }
            }
        }
        for url in &only.urls {
            if let Some(ids) = self.by_url.get_mut(url) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.by_url.remove(url);
                }
            }
        }
        for prefix in &only.prefixes {
            if let Some(ids) = self.by_prefix.get_mut(prefix) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.by_prefix.remove(prefix);
                }
            }
        }
    }

    pub(super) fn get(&self, id: SubscriptionId) -> Option<&Shared> {
        self.all.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: SubscriptionId) -> Option<&mut Shared> {
        self.all.get_mut(&id)
    }

    /// Returns all of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (SubscriptionId, &Shared)> {
        self.all.iter().map(|(id, shared)| (*id, shared))
    }

    /// Returns the number of different subscriptions.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Returns the subscriptions that match an entry.
    pub(super) fn matching(&self, keys: &Keys) -> BTreeSet<SubscriptionId> {
        let mut found = BTreeSet::new();
        found.extend(self.by_name.get(&*keys.name).into_iter().flatten());
        for url in keys.urls.iter() {
            found.extend(self.by_url.get(url).into_iter().flatten());
            // Of the prefixes before the url in their order, the last one is the longest that it
            // begins with, or tells how much of the url any other can have.
            let mut rest: &str = url;
            while let Some((prefix, ids)) = self.last_prefix_up_to(rest) {
                let common = common_bytes(prefix, rest);
                if common < prefix.len() {
                    rest = rest.get(..common).unwrap_or_default();
                    continue;
                }
                if is_under(url, prefix) {
                    found.extend(ids);
                }
                let Some((last, _)) = prefix.char_indices().next_back() else {
                    break;
                };
                rest = rest.get(..last).unwrap_or_default();
            }
        }
        found
    }

    fn last_prefix_up_to(&self, text: &str) -> Option<(&str, &BTreeSet<SubscriptionId>)> {
        let range = (Bound::Unbounded, Bound::Included(text));
        let (prefix, ids) = self.by_prefix.range::<str, _>(range).next_back()?;
        Some((prefix, ids))
    }

    /// Matches the changes since the last call. Call it before updates are sent.
    pub(super) fn match_changes(&mut self, registry: &Registry) {
        let matched = std::mem::replace(&mut self.matched, registry.revision());
        if self.all.is_empty() || matched == self.matched {
            return;
        }
        let Some(changes) = registry.changes_since(matched) else {
            let all: Vec<SubscriptionId> = self.all.keys().copied().collect();
            return all.into_iter().for_each(|id| self.mark(id, matched));
        };
        for change in changes {
            let now = registry.get(change.id).filter(|entry| entry.listed);
            let keys = [change.before.as_ref(), now.map(|entry| &entry.keys)];
            for keys in keys.into_iter().flatten() {
                for id in self.matching(keys) {
                    self.mark(id, change.revision - 1);
                }
            }
        }
    }

    fn mark(&mut self, id: SubscriptionId, since: u64) {
        if let Some(shared) = self.all.get_mut(&id) {
            shared.pending_since.get_or_insert(since);
            self.pending.insert(id);
        }
    }

    /// Returns the subscriptions with changes to push.
    pub(super) fn take_pending(&mut self) -> BTreeSet<SubscriptionId> {
        std::mem::take(&mut self.pending)
    }
}

/// Returns the number of bytes with which both begin, up to the end of a character.
fn common_bytes(a: &str, b: &str) -> usize {
    let pairs = a.char_indices().zip(b.chars());
    let differing = pairs.into_iter().find(|((_, a), b)| a != b);
    differing.map_or(a.len().min(b.len()), |((at, _), _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{Capacity, Cause, Entry};
    use proptest::prelude::*;

    fn keys(name: &str, urls: &[&str]) -> Keys {
        Keys {
            name: name.into(),
            urls: urls.iter().map(|url| (*url).into()).collect(),
        }
    }

    fn only(names: &[&str], urls: &[&str], prefixes: &[&str]) -> Subscription {
        let set = |texts: &[&str]| texts.iter().map(|text| (*text).into()).collect();
        Subscription {
            names: set(names),
            urls: set(urls),
            prefixes: set(prefixes),
        }
    }

    fn conn(slot: usize) -> ConnId {
        ConnId::new(slot, 1)
    }

    #[test]
    fn shares_equal_subscriptions_and_forgets_unused_ones() {
        let mut subscriptions = Subscriptions::default();
        let a = || only(&["a"], &["GET/a"], &["GET/a/"]);
        let first = subscriptions.add(conn(1), a(), 7).unwrap();
        assert_eq!(subscriptions.add(conn(2), a(), 9), Some(first));
        assert_eq!(subscriptions.get(first).unwrap().updated, 7);
        subscriptions.remove(conn(1), first);
        assert_eq!(subscriptions.len(), 1);
        subscriptions.remove(conn(2), first);
        let Subscriptions {
            all,
            ids,
            by_name,
            by_url,
            by_prefix,
            ..
        } = &subscriptions;
        assert!(all.is_empty() && ids.is_empty());
        assert!(by_name.is_empty() && by_url.is_empty() && by_prefix.is_empty());
    }

    #[test]
    fn limits_the_number_of_different_ones() {
        let mut subscriptions = Subscriptions::default();
        for number in 0..MAX_SUBSCRIPTIONS {
            let name = number.to_string();
            let added = subscriptions.add(conn(number), only(&[&name], &[], &[]), 0);
            assert!(added.is_some());
        }
        assert_eq!(subscriptions.add(conn(9), only(&["x"], &[], &[]), 0), None);
        assert!(
            subscriptions
                .add(conn(9), only(&["7"], &[], &[]), 0)
                .is_some()
        );
    }

    #[test]
    fn marks_what_matches_before_or_after_a_change() {
        let mut registry = Registry::new(Capacity::default());
        let mut subscriptions = Subscriptions::default();
        let entry = |name: &str| Entry {
            encoded: name.as_bytes().into(),
            keys: keys(name, &[]),
            listed: true,
            is_plain: false,
        };
        let [a, b, _] = ["a", "b", "c"].map(|name| {
            let only = only(&[name], &[], &[]);
            subscriptions.add(conn(1), only, 0).unwrap()
        });
        let id = registry.join(entry("a")).unwrap();
        subscriptions.match_changes(&registry);
        assert_eq!(subscriptions.take_pending(), BTreeSet::from([a]));
        registry.replace(id, entry("b")).unwrap();
        subscriptions.match_changes(&registry);
        assert_eq!(subscriptions.take_pending(), BTreeSet::from([a, b]));
        registry.leave(id, Cause::Closed);
        subscriptions.match_changes(&registry);
        assert_eq!(subscriptions.take_pending(), BTreeSet::from([b]));
    }

    proptest! {
        #[test]
        fn finds_what_matching_one_by_one_finds(
            all in prop::collection::vec(
                prop::collection::vec("(GET)?(/[aö]{0,2}){0,3}", 0..4), 1..8),
            urls in prop::collection::vec("GET(/[aö]{0,2}){1,3}", 0..3),
        ) {
            let mut subscriptions = Subscriptions::default();
            let keys = keys("", &urls.iter().map(String::as_str).collect::<Vec<_>>());
            let mut expected = BTreeSet::new();
            for (slot, prefixes) in all.iter().enumerate() {
                let prefixes: Vec<&str> = prefixes.iter().map(String::as_str).collect();
                let only = only(&[], &[], &prefixes);
                let matches = keys.match_only(Some(&only));
                let id = subscriptions.add(conn(slot), only, 0).unwrap();
                if matches {
                    expected.insert(id);
                }
            }
            prop_assert_eq!(subscriptions.matching(&keys), expected);
        }
    }
}
