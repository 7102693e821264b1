//! Entries without a connection: listed, in their old places, until somebody claims them.
//!
//! Those of the last run wait for the end of the warm-up, those whose host fell silent together with
//! many others for their turn to be let go.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use super::admission::TokenMark;
use super::events::{Event, Subject};
use super::state::{State, UnsavedState};
use super::{Distributor, saving};
use crate::reactor::Net;
use crate::registry::{Cause, Entry, EntryId};

#[derive(Debug, Default)]
pub(super) struct Orphans {
    by_entry: BTreeMap<EntryId, Why>,
    by_instance: HashMap<Box<str>, EntryId>,
    /// By host and params, which are the entry as it is listed.
    by_text: HashMap<Box<[u8]>, BTreeSet<EntryId>>,
}

/// Why an entry has no connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Why {
    /// It is known from the last run.
    LastRun,
    /// Its host fell silent, and so did many.
    Suspect,
}

/// What becomes of a registration that may claim an orphan.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum OrphanClaim {
    None,
    Entry(EntryId),
    /// There is one of this instance, of another host or token.
    NotAllowed,
}

impl Orphans {
    fn add(&mut self, id: EntryId, entry: &Entry, instance: Option<&str>, why: Why) {
        self.by_entry.insert(id, why);
        if let Some(instance) = instance {
            self.by_instance.insert(instance.into(), id);
        }
        let same = self.by_text.entry(entry.encoded.clone()).or_default();
        same.insert(id);
    }

    fn remove(&mut self, id: EntryId, entry: &Entry, instance: Option<&str>) -> Option<Why> {
        let why = self.by_entry.remove(&id)?;
        if let Some(instance) = instance
            && self.by_instance.get(instance) == Some(&id)
        {
            self.by_instance.remove(instance);
        }
        if let Some(same) = self.by_text.get_mut(&entry.encoded) {
            same.remove(&id);
            if same.is_empty() {
                self.by_text.remove(&entry.encoded);
            }
        }
        Some(why)
    }

    /// By entry, by instance and by text.
    pub(super) fn sizes(&self) -> [usize; 3] {
        [
            self.by_entry.len(),
            self.by_instance.len(),
            self.by_text.len(),
        ]
    }

    pub(super) fn is_suspect(&self, id: EntryId) -> bool {
        self.by_entry.get(&id) == Some(&Why::Suspect)
    }
}

/// What [`Distributor::restore`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Restored {
    /// Entries that are listed again.
    pub entries: usize,
    /// Entries for which there is no room any more, or that are over a limit.
    pub left_out: usize,
}

impl Distributor {
    /// Lists the entries of the last run again, until their nodes are back. To be called before the
    /// first turn. The warm-up begins now, and whoever is not back when it ends leaves as
    /// [`Cause::Absent`].
    pub fn restore(&mut self, net: &mut Net, state: State) -> Restored {
        let mut restored = Restored {
            entries: 0,
            left_out: state.left_out(),
        };
        self.salt = state.salt;
        self.begin_warm_up(net);
        for saved in state.entries {
            let Ok(id) = self.registry.join(saved.entry) else {
                restored.left_out += 1;
                continue;
            };
            self.identities.insert(id, saved.identity);
            self.abandon(id, Why::LastRun);
            restored.entries += 1;
        }
        let event = Event::Restored {
            entries: restored.entries,
        };
        self.events
            .emit(net.now(), &self.registry, Subject::default(), event);
        restored
    }

    /// The list as it is to be kept, if it is another than when this was last asked; more often than
    /// every 50 ms it says so only later, and sees to it that there is a turn then. To be
    /// asked after each turn.
    pub fn unsaved_state(&mut self, net: &mut Net) -> Option<UnsavedState> {
        let owner = self.claim_owner(net);
        self.saving.is_due(net, owner).then(|| self.state())
    }

    /// Notes how often the list was kept so far, and how often that failed, by whoever does it.
    pub fn note_states(&mut self, kept: u64, failures: u64) {
        (
            self.events.stats.states_kept,
            self.events.stats.state_failures,
        ) = (kept, failures);
    }

    /// The list as it is to be kept, whether or not it changed.
    pub fn state(&self) -> UnsavedState {
        let entries = self.registry.iter();
        let room = self.registry.encoded_bytes() + saving::BYTES_BESIDE_ENTRY * self.registry.len();
        let mut state = UnsavedState::new(self.salt, room);
        for (id, entry) in entries {
            if let Some(identity) = self.identities.get(&id) {
                state.push(entry, identity);
            }
        }
        state
    }

    /// The entry has no connection any more, and stays.
    pub(super) fn abandon(&mut self, id: EntryId, why: Why) {
        let entry = self.registry.get(id);
        if let (Some(entry), Some(identity)) = (entry, self.identities.get(&id)) {
            self.orphans
                .add(id, entry, identity.instance.as_deref(), why);
        }
    }

    /// The orphan that this registration may have: that of its instance, else the first that is the
    /// same in host and params.
    pub(super) fn claimable(
        &self,
        entry: &Entry,
        instance: Option<&str>,
        address: IpAddr,
        token: Option<TokenMark>,
    ) -> OrphanClaim {
        let of_instance = instance.and_then(|instance| self.orphans.by_instance.get(instance));
        if let Some(id) = of_instance {
            return match self.identities.get(id) {
                Some(identity) if identity.may_be(address, token) => OrphanClaim::Entry(*id),
                _ => OrphanClaim::NotAllowed,
            };
        }
        let same = self.orphans.by_text.get(&entry.encoded);
        same.and_then(BTreeSet::first)
            .map_or(OrphanClaim::None, |id| OrphanClaim::Entry(*id))
    }

    /// The entry has a connection again, or is about to go. To be told before it is another.
    /// Why it had none until now, if it had none.
    pub(super) fn adopt(&mut self, id: EntryId) -> Option<Why> {
        let identity = self.identities.get(&id);
        let instance = identity.and_then(|identity| identity.instance.as_deref());
        let entry = self.registry.get(id)?;
        self.orphans.remove(id, entry, instance)
    }

    /// Lets those of the last run go who were not claimed. `true` if there were any.
    pub(super) fn let_absent_go(&mut self, net: &mut Net) -> bool {
        let absent: Vec<EntryId> = self
            .orphans
            .by_entry
            .iter()
            .filter(|(_, why)| **why == Why::LastRun)
            .map(|(id, _)| *id)
            .collect();
        for id in &absent {
            self.let_orphan_go(net, *id, Cause::Absent);
        }
        !absent.is_empty()
    }

    pub(super) fn let_orphan_go(&mut self, net: &mut Net, id: EntryId, cause: Cause) {
        self.adopt(id);
        let Some(entry) = self.let_go(id, cause) else {
            return;
        };
        let subject = Subject {
            peer: None,
            name: &entry.name,
            entry: Some(id),
        };
        let reason = match cause {
            Cause::Absent => "it did not come back after the restart",
            Cause::Drained => super::drain::BY_OPERATOR,
            _ => "its host does not answer",
        };
        let left = Event::Left { cause, reason };
        self.events.emit(net.now(), &self.registry, subject, left);
    }

    /// Takes an entry out of the list, and returns it if it was there.
    pub(super) fn let_go(&mut self, id: EntryId, cause: Cause) -> Option<Entry> {
        self.saving.changed();
        self.identities.remove(&id);
        self.registry.leave(id, cause)
    }
}
