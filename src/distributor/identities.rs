//! Identities: the node of each entry, and the connection that holds the entry.
//!
//! An entry that no connection holds is *unclaimed*: it stays listed, in its place, until its node
//! claims it or it is evicted. This module does no I/O: all times are arguments.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use super::admission::TokenMark;
use crate::protocol::{ErrorCode, Refusal};
use crate::rate_limit::RateLimit;
use crate::reactor::ConnId;
use crate::registry::{EntryId, Registry};
use crate::time::Time;

/// Identity of a node, which a connection must match to claim its entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Identity {
    pub(super) address: IpAddr,
    pub(super) instance: Option<Box<str>>,
    pub(super) token: Option<TokenMark>,
}

impl Identity {
    /// Checks that `other`, which has the same instance, is the same node.
    fn check(&self, other: &Identity) -> Result<(), Refusal> {
        if self.address == other.address && self.token == other.token {
            return Ok(());
        }
        let message = "instance in use from another host or with another token: choose a new one";
        Err(Refusal::new(ErrorCode::NotAllowed, message))
    }
}

/// Reason why no connection holds an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unclaimed {
    /// The entry was restored from the last run.
    LastRun,
    /// The host of the node fell silent together with many others.
    Suspect,
}

/// Place of a registration.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Claim {
    /// Entry in whose place it registers; `None` for a new one at the end of the list.
    pub(super) entry: Option<EntryId>,
    /// Connection of the same instance that holds the entry.
    pub(super) take_over_from: Option<ConnId>,
    pub(super) was_unclaimed: bool,
}

impl Claim {
    fn unclaimed(entry: EntryId) -> Claim {
        Claim {
            entry: Some(entry),
            was_unclaimed: true,
            ..Claim::default()
        }
    }
}

/// The identities of all entries.
///
/// Invariants: `by_instance` contains entries of `by_entry` only. `unclaimed` has the entries of
/// `by_entry` that no connection holds, and no others.
#[derive(Debug, Default)]
pub(super) struct Identities {
    by_entry: BTreeMap<EntryId, Owned>,
    /// Entry of each instance; the newest if there are several.
    by_instance: HashMap<Box<str>, EntryId>,
    /// Unclaimed entries, by their listed form: params with the host.
    unclaimed: HashMap<Rc<[u8]>, BTreeSet<EntryId>>,
}

/// An entry whose node is known.
#[derive(Debug)]
pub(super) struct Owned {
    identity: Identity,
    holder: Holder,
}

#[derive(Debug)]
enum Holder {
    /// Held by this connection, with the rate of take-overs of its instance.
    Connection(ConnId, RateLimit),
    None(Unclaimed, Rc<[u8]>),
}

/// Maximum number of take-overs within a minute. More mean that two nodes have the same instance.
const MAX_TAKE_OVERS: u32 = 3;
const TAKE_OVER_WINDOW: Duration = Duration::from_secs(60);

impl Identities {
    /// Returns the place of a registration on `conn`, which holds the entry `own`. `encoded` is the
    /// entry as it will be listed.
    ///
    /// The place is the entry of the same instance, the connection's own entry, or the first equal
    /// unclaimed entry. Nothing changes before [`Identities::hold`], but take-overs are counted.
    pub(super) fn claim(
        &mut self,
        conn: ConnId,
        own: Option<EntryId>,
        claimant: &Identity,
        encoded: &[u8],
        now: Time,
    ) -> Result<Claim, Refusal> {
        let instance = claimant.instance.as_deref();
        let of_instance = instance.and_then(|instance| self.by_instance.get(instance));
        if let Some(entry) = of_instance.copied()
            && let Some(owned) = self.by_entry.get_mut(&entry)
        {
            match &mut owned.holder {
                Holder::Connection(from, take_overs) if *from != conn => {
                    owned.identity.check(claimant)?;
                    if !take_overs.allow(now) {
                        let message =
                            "instance taken over more than 3 times per minute: try again later";
                        return Err(Refusal::new(ErrorCode::Busy, message));
                    }
                    if own.is_some() {
                        let message = "instance in use by another connection: drain the entry of this one first";
                        return Err(Refusal::new(ErrorCode::NotAllowed, message));
                    }
                    return Ok(Claim {
                        entry: Some(entry),
                        take_over_from: Some(*from),
                        ..Claim::default()
                    });
                }
                Holder::None(..) if own.is_none() => {
                    owned.identity.check(claimant)?;
                    return Ok(Claim::unclaimed(entry));
                }
                _ => {}
            }
        }
        let equal = self.unclaimed.get(encoded).and_then(BTreeSet::first);
        Ok(match (own, equal) {
            (None, Some(entry)) => Claim::unclaimed(*entry),
            _ => Claim {
                entry: own,
                ..Claim::default()
            },
        })
    }

    /// Records that `conn` now holds an entry, for a node with this identity.
    pub(super) fn hold(&mut self, entry: EntryId, conn: ConnId, identity: Identity) {
        let before = self.remove(entry);
        let take_overs = match before.map(|before| (before.holder, before.identity.instance)) {
            Some((Holder::Connection(_, take_overs), instance))
                if instance == identity.instance =>
            {
                take_overs
            }
            _ => RateLimit::new(MAX_TAKE_OVERS, TAKE_OVER_WINDOW),
        };
        self.insert(entry, identity, Holder::Connection(conn, take_overs));
    }

    /// Adds an entry of the last run, which is unclaimed.
    pub(super) fn restore(&mut self, entry: EntryId, identity: Identity, registry: &Registry) {
        if let Some(listed) = registry.get(entry) {
            let holder = Holder::None(Unclaimed::LastRun, (*listed.encoded).into());
            self.insert(entry, identity, holder);
        }
    }

    /// Records that the connection of an entry ended. The entry stays as a suspect.
    pub(super) fn detach(&mut self, entry: EntryId, registry: &Registry) {
        if let Some(listed) = registry.get(entry)
            && let Some(owned) = self.remove(entry)
        {
            let holder = Holder::None(Unclaimed::Suspect, (*listed.encoded).into());
            self.insert(entry, owned.identity, holder);
        }
    }

    /// Removes an entry that left the list.
    pub(super) fn remove(&mut self, entry: EntryId) -> Option<Owned> {
        let owned = self.by_entry.remove(&entry)?;
        if let Some(instance) = &owned.identity.instance
            && self.by_instance.get(instance) == Some(&entry)
        {
            self.by_instance.remove(instance);
        }
        if let Holder::None(_, encoded) = &owned.holder
            && let Some(equal) = self.unclaimed.get_mut(encoded)
        {
            equal.remove(&entry);
            if equal.is_empty() {
                self.unclaimed.remove(encoded);
            }
        }
        Some(owned)
    }

    fn insert(&mut self, entry: EntryId, identity: Identity, holder: Holder) {
        if let Some(instance) = &identity.instance {
            self.by_instance.insert(instance.clone(), entry);
        }
        if let Holder::None(_, encoded) = &holder {
            let equal = self.unclaimed.entry(Rc::clone(encoded)).or_default();
            equal.insert(entry);
        }
        self.by_entry.insert(entry, Owned { identity, holder });
    }

    pub(super) fn get(&self, entry: EntryId) -> Option<&Identity> {
        self.by_entry.get(&entry).map(|owned| &owned.identity)
    }

    pub(super) fn holder(&self, entry: EntryId) -> Option<ConnId> {
        match self.by_entry.get(&entry)?.holder {
            Holder::Connection(conn, _) => Some(conn),
            Holder::None(..) => None,
        }
    }

    pub(super) fn unclaimed(&self, entry: EntryId) -> Option<Unclaimed> {
        match self.by_entry.get(&entry)?.holder {
            Holder::Connection(..) => None,
            Holder::None(why, _) => Some(why),
        }
    }

    /// Returns the entries of the last run that are unclaimed.
    pub(super) fn absent(&self) -> Vec<EntryId> {
        let entries = self.by_entry.keys().copied();
        entries
            .filter(|entry| self.unclaimed(*entry) == Some(Unclaimed::LastRun))
            .collect()
    }

    /// Returns the number of entries, of instances, and of different unclaimed entries.
    pub(super) fn sizes(&self) -> [usize; 3] {
        [
            self.by_entry.len(),
            self.by_instance.len(),
            self.unclaimed.len(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{Entry, Keys};

    /// Returns three entries, of which the first two are equal.
    fn registry() -> (Registry, [EntryId; 3]) {
        let mut registry = Registry::default();
        let ids = ["same", "same", "other"].map(|text| {
            let entry = Entry {
                encoded: text.as_bytes().into(),
                keys: Keys {
                    name: "".into(),
                    urls: [].into(),
                },
                listed: true,
                is_plain: false,
            };
            registry.join(entry).unwrap()
        });
        (registry, ids)
    }

    fn identity(instance: Option<&str>, host: u8) -> Identity {
        Identity {
            address: [10, 0, 0, host].into(),
            instance: instance.map(Into::into),
            token: None,
        }
    }

    fn conn(slot: usize) -> ConnId {
        ConnId::new(slot, 1)
    }

    #[test]
    fn claims_by_instance_before_equal_text() {
        let (registry, [a, b, c]) = registry();
        let mut identities = Identities::default();
        identities.restore(a, identity(None, 1), &registry);
        identities.restore(b, identity(Some("b"), 1), &registry);
        identities.restore(c, identity(None, 1), &registry);
        let mut claim = |instance, host, text: &[u8]| {
            identities.claim(conn(1), None, &identity(instance, host), text, Time::ZERO)
        };
        assert_eq!(claim(Some("b"), 1, b"new"), Ok(Claim::unclaimed(b)));
        let refusal = claim(Some("b"), 2, b"same").unwrap_err();
        assert_eq!(refusal.code, ErrorCode::NotAllowed);
        assert_eq!(claim(None, 2, b"same"), Ok(Claim::unclaimed(a)));
        assert_eq!(claim(Some("d"), 1, b"other"), Ok(Claim::unclaimed(c)));
        assert_eq!(claim(None, 1, b"new"), Ok(Claim::default()));
        identities.hold(a, conn(1), identity(None, 1));
        let next = identities.claim(conn(2), None, &identity(None, 1), b"same", Time::ZERO);
        assert_eq!(next, Ok(Claim::unclaimed(b)), "each is claimed once");
        assert_eq!(identities.absent(), [b, c]);
    }

    #[test]
    fn allows_three_take_overs_per_minute() {
        let (_, [a, b, _]) = registry();
        let mut identities = Identities::default();
        let same = identity(Some("a"), 1);
        identities.hold(a, conn(0), same.clone());
        let at = |identities: &mut Identities, slot: usize, seconds: u64| {
            let now = Time::from_millis(seconds * 1000);
            let claim = identities.claim(conn(slot), None, &same, b"", now)?;
            identities.hold(a, conn(slot), same.clone());
            Ok(claim)
        };
        for slot in 1..=3 {
            let from = conn(slot - 1);
            let claim = at(&mut identities, slot, 0);
            let claim = claim.unwrap();
            assert_eq!((claim.entry, claim.take_over_from), (Some(a), Some(from)));
        }
        let refusal: Refusal = at(&mut identities, 4, 59).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::Busy);
        assert!(at(&mut identities, 4, 60).is_ok());
        // Rejected on a connection with its own entry, which would be left over.
        let claim = identities.claim(conn(9), Some(b), &same, b"", Time::from_millis(60_000));
        assert_eq!(claim.unwrap_err().code, ErrorCode::NotAllowed);
    }

    #[test]
    fn counts_take_overs_until_no_connection_holds_the_instance() {
        let (registry, [a, ..]) = registry();
        let mut identities = Identities::default();
        let take_over = |identities: &mut Identities, of: &Identity| {
            for slot in 1..=3 {
                let claim = identities.claim(conn(slot), None, of, b"", Time::ZERO);
                assert!(claim.unwrap().take_over_from.is_some());
                identities.hold(a, conn(slot), of.clone());
            }
        };
        identities.hold(a, conn(0), identity(Some("a"), 1));
        take_over(&mut identities, &identity(Some("a"), 1));
        identities.detach(a, &registry);
        identities.hold(a, conn(0), identity(Some("a"), 1));
        take_over(&mut identities, &identity(Some("a"), 1));
        identities.hold(a, conn(3), identity(Some("b"), 1));
        take_over(&mut identities, &identity(Some("b"), 1));
    }

    #[test]
    fn forgets_all_of_an_entry() {
        let (registry, [a, b, c]) = registry();
        let mut identities = Identities::default();
        identities.restore(a, identity(Some("a"), 1), &registry);
        identities.hold(b, conn(1), identity(Some("b"), 1));
        identities.hold(b, conn(1), identity(Some("b2"), 1));
        identities.hold(c, conn(2), identity(Some("c"), 1));
        identities.detach(c, &registry);
        assert_eq!(identities.sizes(), [3, 3, 2]);
        assert_eq!(identities.unclaimed(c), Some(Unclaimed::Suspect));
        assert_eq!(identities.holder(b), Some(conn(1)));
        for entry in [a, b, c] {
            identities.remove(entry);
        }
        assert_eq!(identities.sizes(), [0, 0, 0]);
    }
}
