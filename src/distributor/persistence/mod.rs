//! Persistence: when the list is passed to a sink, and in which format.

mod snapshot;

use std::fmt;
use std::time::Duration;

use crate::distributor::admission::Salt;
use crate::distributor::identities::Identities;
use crate::reactor::{Net, Owner, TimerId};
use crate::registry::{EntryId, Registry};
use crate::time::Time;

pub use snapshot::{Restored, Snapshot, Unreadable};

/// Persists the list of a Distributor: see
/// [`Distributor::persist_to`](super::Distributor::persist_to).
pub trait SnapshotSink {
    /// Receives a snapshot to persist. It replaces earlier ones that have not been persisted yet.
    ///
    /// Called on the thread of the loop, so it must not block: write files on another one.
    fn persist(&mut self, snapshot: Snapshot);

    /// Returns the number of persisted and failed snapshots so far. For metrics only.
    fn counts(&self) -> SnapshotCounts {
        SnapshotCounts::default()
    }
}

/// Counters of a [`SnapshotSink`]. They only grow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SnapshotCounts {
    /// Snapshots that were persisted.
    pub persisted: u64,
    /// Attempts that failed.
    pub failures: u64,
}

/// Maximum delay of a change under churn. When all is quiet, it is persisted at once.
const MIN_PAUSE: Duration = Duration::from_millis(50);

/// Tag of the timer of [`Persistence`].
pub(super) const TAG: u64 = 4;

/// The sink, and whether a snapshot is due.
#[derive(Default)]
pub(super) struct Persistence {
    sink: Option<Box<dyn SnapshotSink>>,
    /// The list that the sink last received.
    list: Snapshot,
    /// Entries that changed since.
    changed: Vec<EntryId>,
    is_changed: bool,
    persisted_at: Option<Time>,
    timer: Option<TimerId>,
}

impl Persistence {
    /// Sets the sink. It receives the first snapshot in the next turn, even an empty one, so that a
    /// failing sink is detected early.
    pub(super) fn start(
        &mut self,
        net: &mut Net,
        owner: Owner,
        sink: Box<dyn SnapshotSink>,
        list: Snapshot,
    ) {
        self.sink = Some(sink);
        self.list = list;
        self.is_changed = true;
        self.arm(net, owner, net.now());
    }

    /// Records that an entry, or its identity, changed.
    pub(super) fn changed(&mut self, entry: EntryId) {
        if self.sink.is_some() {
            self.changed.push(entry);
        }
        self.is_changed = true;
    }

    /// Returns whether to persist a snapshot now. If one is due soon, a timer then causes a turn.
    pub(super) fn is_due(&mut self, net: &mut Net, owner: Owner) -> bool {
        if !self.is_changed || self.sink.is_none() {
            return false;
        }
        let now = net.now();
        let due_at = self.persisted_at.map_or(now, |last| last + MIN_PAUSE);
        if now < due_at {
            self.arm(net, owner, due_at);
            return false;
        }
        self.is_changed = false;
        self.persisted_at = Some(now);
        if let Some(timer) = self.timer.take() {
            net.disarm(timer);
        }
        true
    }

    /// Passes the list to the sink. Encodes only what has changed since it was last passed.
    pub(super) fn persist_changes(
        &mut self,
        salt: Salt,
        registry: &Registry,
        identities: &Identities,
    ) {
        for entry in self.changed.drain(..) {
            self.list.update(entry, registry, identities);
        }
        self.list.salt = salt;
        let snapshot = self.list.clone();
        self.persist(snapshot);
    }

    /// Passes a snapshot to the sink.
    pub(super) fn persist(&mut self, snapshot: Snapshot) {
        if let Some(sink) = &mut self.sink {
            sink.persist(snapshot);
        }
    }

    fn arm(&mut self, net: &mut Net, owner: Owner, at: Time) {
        self.timer.get_or_insert_with(|| net.arm(owner, at, TAG));
    }

    pub(super) fn timer_fired(&mut self) {
        self.timer = None;
    }

    pub(super) fn counts(&self) -> SnapshotCounts {
        let sink = self.sink.as_ref();
        sink.map(|sink| sink.counts()).unwrap_or_default()
    }
}

impl fmt::Debug for Persistence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Persistence")
            .field("is_changed", &self.is_changed)
            .finish_non_exhaustive()
    }
}
