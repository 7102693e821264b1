//! Warm-up: the time after a start, or a stall, in which the list may be incomplete.

use std::time::Duration;

use super::peer::Peer;
use crate::reactor::conn_map::ConnMap;
use crate::reactor::{Net, Owner, TimerId};
use crate::registry::Registry;
use crate::time::Time;

/// Tag of the timer of [`WarmUp`].
pub(super) const TAG: u64 = 1;

/// Absent entries leave this long before the list is complete: each with its cause, and not only by
/// being missing in the next list.
pub(super) const ABSENT_BEFORE_COMPLETE: Duration = Duration::from_millis(50);

/// Whether the list may be incomplete.
#[derive(Debug)]
pub(super) enum WarmUp {
    /// Nothing is served yet.
    NotBegun,
    /// Nodes have until then to reconnect.
    Running { ends_at: Time, timer: TimerId },
    /// The list is complete. Lists up to this revision may have been sent as incomplete.
    Over { last_incomplete: u64 },
}

impl WarmUp {
    /// Begins, or begins anew. Sessions keep the entries that they know: their next update is a
    /// list, which can say that it is incomplete.
    pub(super) fn begin(
        &mut self,
        net: &mut Net,
        owner: Owner,
        length: Duration,
        peers: &mut ConnMap<Peer>,
    ) {
        self.run_for(net, owner, length);
        for (_, peer) in peers.iter_mut() {
            if let Some(session) = &mut peer.session {
                session.needs_list = true;
            }
        }
    }

    /// Sets the time until its end.
    pub(super) fn run_for(&mut self, net: &mut Net, owner: Owner, length: Duration) {
        if let WarmUp::Running { timer, .. } = *self {
            net.disarm(timer);
        }
        let ends_at = net.now() + length;
        let timer = net.arm(owner, ends_at, TAG);
        *self = WarmUp::Running { ends_at, timer };
    }

    /// Ends. That the list is complete is a new revision, which only those sessions are sent that
    /// were sent an incomplete list.
    pub(super) fn end(&mut self, registry: &mut Registry, peers: &mut ConnMap<Peer>) {
        let before = registry.revision();
        *self = WarmUp::Over {
            last_incomplete: before,
        };
        if !peers.iter().any(|(_, peer)| was_told_incomplete(peer)) {
            return;
        }
        registry.renew();
        for (_, peer) in peers.iter_mut() {
            if !was_told_incomplete(peer) && peer.listed_revision == Some(before) {
                peer.listed_revision = Some(registry.revision());
            }
        }
    }

    /// Returns whether the list is complete.
    pub(super) fn is_complete(&self) -> bool {
        matches!(self, WarmUp::Over { .. })
    }

    /// Returns whether a session that knows this revision may be sent changes only.
    pub(super) fn can_resume(&self, revision: u64) -> bool {
        match self {
            WarmUp::Over { last_incomplete } => revision > *last_incomplete,
            WarmUp::NotBegun | WarmUp::Running { .. } => false,
        }
    }

    /// Returns the time that is left, zero if the list is complete.
    pub(super) fn remaining(&self, now: Time) -> Duration {
        // Absent entries leave a moment before the list is complete.
        let at_least = Duration::from_millis(1);
        match self {
            WarmUp::NotBegun => at_least,
            WarmUp::Running { ends_at, .. } => ends_at.saturating_since(now).max(at_least),
            WarmUp::Over { .. } => Duration::ZERO,
        }
    }
}

fn was_told_incomplete(peer: &Peer) -> bool {
    let session = peer.session.as_ref();
    session.is_some_and(|session| session.was_told_incomplete)
}
