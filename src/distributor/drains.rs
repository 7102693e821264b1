//! Drains: removals from the list that are reported once all sessions have acknowledged them.

use std::time::Duration;

use serde_json::value::RawValue;

use super::peers::Concerned;
use crate::protocol::{Drained, write_reply};
use crate::reactor::{ConnId, Net, Owner, TimerId};
use crate::time::Time;

/// Identifies a drain of [`Distributor::drain_entries`](super::Distributor::drain_entries).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DrainId(u64);

/// Longest time that a drain waits for acknowledgements.
pub const MAX_DRAIN_WAIT: Duration = Duration::from_secs(60);

/// Tag of the timers of [`Drains`].
pub(super) const TAG: u64 = 3;

/// Pending drains, and results that were not taken yet.
#[derive(Debug, Default)]
pub(super) struct Drains {
    pending: Vec<Drain>,
    finished: Vec<(DrainId, Drained)>,
    last_id: u64,
}

#[derive(Debug)]
struct Drain {
    id: DrainId,
    requester: Requester,
    revision: u64,
    ends_at: Time,
    timer: TimerId,
    /// Number of watching sessions when it began.
    total: u64,
    /// Number of watching peers that cannot acknowledge.
    untracked: u64,
    unacknowledged: Vec<Awaited>,
}

/// A session that has not acknowledged. It stays pending after its connection ends, until the same
/// instance reconnects and acknowledges.
#[derive(Debug)]
struct Awaited {
    conn: ConnId,
    /// Revision with whose acknowledgement it does not have the entries any more.
    revision: u64,
    instance: Option<Box<str>>,
    entry: u64,
}

/// The node that requested a drain, with the key of its request. `None` means the admin API, which
/// receives the result from [`Drains::take_finished`].
pub(super) type Requester = Option<(ConnId, Option<Box<RawValue>>)>;

impl Drain {
    fn is_of(&self, conn: ConnId) -> bool {
        matches!(self.requester, Some((requester, _)) if requester == conn)
    }
}

impl Drains {
    /// Begins to wait until the peers that it concerns have acknowledged `revision`.
    pub(super) fn begin(
        &mut self,
        net: &mut Net,
        owner: Owner,
        concerned: Vec<Concerned<'_>>,
        revision: u64,
        wait: Duration,
        requester: Requester,
    ) -> DrainId {
        self.last_id += 1;
        let id = DrainId(self.last_id);
        let ends_at = net.now() + wait.min(MAX_DRAIN_WAIT);
        let mut drain = Drain {
            id,
            requester,
            revision,
            ends_at,
            timer: net.arm(owner, ends_at, TAG),
            total: 0,
            untracked: 0,
            unacknowledged: Vec::new(),
        };
        for Concerned { conn, peer, until } in concerned {
            if drain.is_of(conn) {
                continue;
            }
            let Some(session) = &peer.session else {
                drain.untracked += 1;
                continue;
            };
            drain.total += 1;
            let revision = until.unwrap_or(revision);
            if session.acked_revision < revision {
                drain.unacknowledged.push(Awaited {
                    conn,
                    revision,
                    instance: session.instance.clone(),
                    entry: peer.entry.map_or(0, |id| id.number()),
                });
            }
        }
        self.pending.push(drain);
        self.finish(net);
        id
    }

    /// Records that the session of `conn` has applied `revision`.
    pub(super) fn acknowledged(&mut self, net: &mut Net, conn: ConnId, revision: u64) {
        for drain in &mut self.pending {
            let is_missing =
                |awaited: &Awaited| awaited.conn != conn || awaited.revision > revision;
            drain.unacknowledged.retain(is_missing);
        }
        self.finish(net);
    }

    /// Records that the node with this instance has reconnected as `conn`.
    pub(super) fn reconnected(&mut self, instance: &str, conn: ConnId) {
        let drains = self.pending.iter_mut();
        for awaited in drains.flat_map(|drain| &mut drain.unacknowledged) {
            if awaited.instance.as_deref() == Some(instance) {
                awaited.conn = conn;
            }
        }
    }

    /// Drops the drain that was requested on a connection that has ended.
    pub(super) fn cancel(&mut self, net: &mut Net, conn: ConnId) {
        for drain in self.pending.extract_if(.., |drain| drain.is_of(conn)) {
            net.disarm(drain.timer);
        }
    }

    /// Completes the drains that all sessions have acknowledged, or whose time is over.
    pub(super) fn finish(&mut self, net: &mut Net) {
        let now = net.now();
        let is_over = |drain: &mut Drain| drain.unacknowledged.is_empty() || drain.ends_at <= now;
        for drain in self.pending.extract_if(.., is_over) {
            net.disarm(drain.timer);
            let unacknowledged = drain.unacknowledged.iter();
            let unacknowledged: Vec<u64> = unacknowledged.map(|awaited| awaited.entry).collect();
            let result = Drained {
                rev: drain.revision,
                acked: drain.total - unacknowledged.len() as u64,
                total: drain.total,
                unacknowledged,
                untracked: drain.untracked,
            };
            match drain.requester {
                None => self.finished.push((drain.id, result)),
                Some((conn, key)) => {
                    let key = key.as_deref().map_or("null", RawValue::get);
                    net.send_with(conn, |out| write_reply(out, key, &result));
                }
            }
        }
    }

    /// Returns the results of drains of the admin API, once each.
    pub(super) fn take_finished(&mut self) -> Vec<(DrainId, Drained)> {
        std::mem::take(&mut self.finished)
    }

    pub(super) fn is_any_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    pub(super) fn is_pending(&self, conn: ConnId) -> bool {
        self.pending.iter().any(|drain| drain.is_of(conn))
    }

    /// Returns the number of pending drains, and of sessions that they await.
    pub(super) fn sizes(&self) -> [usize; 2] {
        let awaited = self.pending.iter().map(|drain| drain.unacknowledged.len());
        [self.pending.len(), awaited.sum()]
    }
}
