//! What an operator wants to know afterwards: what happened, who was told, and how long it took.
//!
//! Nothing of this is kept until [`Distributor::observe`] asks for it. All of it is bounded.

mod event;
mod histogram;
mod pushes;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

pub use event::{Event, What};
pub use histogram::Histogram;
pub use pushes::Pushed;

use super::Distributor;
use super::peer::Peer;
use crate::reactor::{ConnId, Net};
use crate::registry::EntryId;
use crate::time::Time;
use event::Ring;
use pushes::{MAX_NAMES, Pushes};

/// What was observed so far.
#[derive(Debug, Default)]
pub struct Observed {
    ring: Ring,
    /// What came before it is noted.
    noted_revision: u64,
    pushes: Pushes,
    /// When each node joined.
    joined_at: BTreeMap<EntryId, Time>,
    join_to_last_ack: Histogram,
    push_writing: Histogram,
    turns: Histogram,
    /// Of all turns so far.
    turn_time: Duration,
    /// What the time of day was at [`Time::ZERO`].
    unix_time_at_zero: Duration,
}

impl Observed {
    /// The time of day at `at`, as the time since 1970 in UTC. Always the same for the same moment,
    /// whatever has become of the clock since.
    pub fn unix_time_of(&self, at: Time) -> Duration {
        self.unix_time_at_zero + at.saturating_since(Time::ZERO)
    }

    /// The last 10,000 events, the oldest first.
    pub fn events(&self) -> impl DoubleEndedIterator<Item = &Event> {
        self.ring.iter()
    }

    /// The events behind this number, the oldest first. `None` if some of them are forgotten, or if
    /// there was no such number yet.
    pub fn events_since(&self, number: u64) -> Option<impl DoubleEndedIterator<Item = &Event>> {
        self.ring.since(number)
    }

    /// The number of the last event, 0 if there is none.
    pub fn last_event(&self) -> u64 {
        self.ring.last_number()
    }

    /// Events that were left out, because strangers cause too many of their kind.
    pub fn events_left_out(&self) -> u64 {
        self.ring.left_out
    }

    /// By which push everybody was told of the change that made this revision. `None`: it was not
    /// pushed yet, or is forgotten.
    pub fn push_of(&self, revision: u64) -> Option<&Pushed> {
        self.pushes.of_revision(revision)
    }

    /// When the node joined.
    pub fn joined_at(&self, entry: EntryId) -> Option<Time> {
        self.joined_at.get(&entry).copied()
    }

    /// From a change until the last session had applied it: at most one change a second.
    pub fn join_to_last_ack(&self) -> &Histogram {
        &self.join_to_last_ack
    }

    /// What writing took, of each push.
    pub fn push_writing(&self) -> &Histogram {
        &self.push_writing
    }

    /// Time that turns of the loop took, without waiting.
    pub fn turns(&self) -> &Histogram {
        &self.turns
    }

    /// Events, pushes, samples and times of joining that are kept.
    pub(super) fn sizes(&self) -> [usize; 4] {
        let (pushes, samples) = (self.pushes.len(), self.pushes.samples());
        [self.ring.len(), pushes, samples, self.joined_at.len()]
    }
}

/// What an event is about.
#[derive(Clone, Copy, Default)]
pub(super) struct About<'a> {
    pub(super) addr: Option<SocketAddr>,
    pub(super) name: &'a str,
    pub(super) entry: Option<EntryId>,
}

impl Distributor {
    /// Keeps from now on what [`Distributor::observed`] shows. Best asked for before anybody is served.
    pub fn observe(&mut self, net: &mut Net) {
        let unix_time_at_zero = net
            .unix_time()
            .saturating_sub(net.now().saturating_since(Time::ZERO));
        self.observed.get_or_insert_with(|| {
            Box::new(Observed {
                unix_time_at_zero,
                turn_time: net.counters().turn_time,
                ..Observed::default()
            })
        });
    }

    /// What was observed, if [`Distributor::observe`] was called.
    pub fn observed(&self) -> Option<&Observed> {
        self.observed.as_deref()
    }

    /// Notes how long the last turn took.
    pub(super) fn note_turn(&mut self, net: &Net) {
        if let Some(observed) = &mut self.observed {
            let before = std::mem::replace(&mut observed.turn_time, net.counters().turn_time);
            observed
                .turns
                .record(observed.turn_time.saturating_sub(before));
        }
    }

    /// Keeps an event, if events are kept. To be told when the registry has the change already.
    pub(super) fn note(&mut self, now: Time, what: What, about: About<'_>) {
        let revision = self.registry.revision();
        let Some(observed) = &mut self.observed else {
            return;
        };
        match (what, about.entry) {
            (What::Joined, Some(id)) => {
                observed.joined_at.insert(id, now);
            }
            (What::Left(..), Some(id)) => {
                observed.joined_at.remove(&id);
            }
            _ => {}
        }
        let changed_list = what.is_change() && revision > observed.noted_revision;
        observed.noted_revision = revision;
        if changed_list {
            observed.pushes.changed(now);
        }
        observed.ring.push(Event {
            number: 0,
            at: now,
            what,
            peer: about.addr,
            name: about.name.into(),
            entry: about.entry,
            revision,
            changed_list,
        });
    }

    /// As [`Distributor::note`], about what is known of a connection.
    pub(super) fn note_conn(&mut self, now: Time, what: What, conn: ConnId) {
        if self.observed.is_none() {
            return;
        }
        let peer = self.peers.get(conn);
        let entry = peer.and_then(|peer| peer.entry);
        let name = entry.and_then(|id| self.registry.get(id));
        let name: Box<str> = name.map(|entry| entry.name.clone()).unwrap_or_default();
        let about = About {
            addr: peer.map(|peer| peer.addr),
            name: &name,
            entry,
        };
        self.note(now, what, about);
    }

    /// Entries of the last run are listed again.
    pub(super) fn note_restored(&mut self, now: Time, entries: usize) {
        if let Some(observed) = &mut self.observed {
            let ids = self.registry.iter().map(|(id, _)| (id, now));
            observed.joined_at.extend(ids);
        }
        self.note(now, What::Restored(entries), About::default());
    }

    /// A push has begun, to all who watch. To be told before they are marked as sent it.
    pub(super) fn note_push(&mut self, net: &Net, revision: u64, asks_for_ack: bool) {
        let Some(observed) = &mut self.observed else {
            return;
        };
        let mut pushed = Pushed {
            revision,
            at: net.now(),
            sent: 0,
            backlogged: 0,
            backlogged_names: Vec::new(),
            of: 0,
            asks_for_ack,
            acked: 0,
            last_acked_at: None,
            blind: 0,
        };
        for (conn, peer) in self.peers.iter().filter(|(_, peer)| peer.is_watching()) {
            match &peer.session {
                Some(_) => pushed.of += 1,
                None => pushed.blind += 1,
            }
            if !net.is_backlogged(conn) {
                pushed.sent += 1;
                continue;
            }
            pushed.backlogged += 1;
            let entry = peer.entry.and_then(|id| self.registry.get(id));
            if let Some(entry) = entry
                && pushed.backlogged_names.len() < MAX_NAMES
            {
                pushed.backlogged_names.push(entry.name.clone());
            }
        }
        observed.pushes.begin(pushed);
    }

    /// What the last push took is known now.
    pub(super) fn note_push_writing(&mut self, took: Option<Duration>) {
        if let (Some(observed), Some(took)) = (&mut self.observed, took) {
            observed.push_writing.record(took);
        }
    }

    /// A session that was awaited from `before` on has now applied `revision`.
    pub(super) fn note_acked(&mut self, now: Time, before: u64, revision: u64) {
        if let Some(observed) = &mut self.observed {
            let times = &mut observed.join_to_last_ack;
            observed.pushes.acked(now, before, revision, times);
        }
    }

    /// A session is over, or is another from now on.
    pub(super) fn note_lost(&mut self, now: Time, conn: ConnId) {
        let peer = self.peers.get(conn);
        let awaited_from = peer.and_then(Peer::awaited_from);
        if let (Some(observed), Some(before)) = (&mut self.observed, awaited_from) {
            let times = &mut observed.join_to_last_ack;
            observed.pushes.lost(now, before, times);
        }
    }

    /// Who has not acknowledged everything yet. Looks at all sessions, once: who asks about many
    /// revisions asks this.
    pub fn late_sessions(&self) -> LateSessions<'_> {
        let newest = self.registry.revision();
        let mut all: Vec<(u64, &str)> = self
            .peers
            .iter()
            .filter_map(|(_, peer)| {
                let from = peer.awaited_from().filter(|from| *from < newest)?;
                let entry = peer.entry.and_then(|id| self.registry.get(id));
                Some((from, entry.map_or("", |entry| &*entry.name)))
            })
            .collect();
        all.sort_by_key(|(from, _)| *from);
        LateSessions(all)
    }
}

/// Sessions that were told of something and have not said that they applied it: each with the
/// revision that it has, the furthest behind first.
#[derive(Debug)]
pub struct LateSessions<'a>(Vec<(u64, &'a str)>);

impl LateSessions<'_> {
    /// How many have not applied this revision, and the names of some that are listed.
    pub fn behind(&self, revision: u64) -> (usize, impl Iterator<Item = &str>) {
        let count = self.0.partition_point(|(from, _)| *from < revision);
        let names = self.0.iter().take(count).map(|(_, name)| *name);
        (count, names.filter(|name| !name.is_empty()).take(MAX_NAMES))
    }
}

impl Peer {
    /// It is to acknowledge what is pushed behind this revision.
    pub(super) fn awaited_from(&self) -> Option<u64> {
        let session = self.session.as_deref().filter(|_| self.is_watching())?;
        Some(session.acked_revision.max(session.opened_at_push))
    }
}
