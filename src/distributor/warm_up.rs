//! Warm-up: the time after a start or a stall during which the list may be incomplete.

use std::time::Duration;

use super::peer::Peer;
use super::peers::Peers;
use crate::reactor::{ConnId, Net, Owner, TimerId};
use crate::registry::Registry;
use crate::time::Time;

/// Tag of the timer of [`WarmUp`].
pub(super) const TAG: u64 = 1;

/// Time from the removal of absent entries to the complete list. Sessions receive the cause of each
/// removal before the next list.
pub(super) const ABSENT_BEFORE_COMPLETE: Duration = Duration::from_millis(50);

/// State of the warm-up: whether the list may be incomplete.
#[derive(Debug, Default)]
pub(super) enum WarmUp {
    /// The Distributor does not listen yet.
    #[default]
    NotBegun,
    /// Nodes have until `ends_at` to reconnect.
    Running { ends_at: Time, timer: TimerId },
    /// The list is complete. Lists up to this revision may have been marked as incomplete.
    Over { last_incomplete: u64 },
}

impl WarmUp {
    /// Begins or restarts the warm-up, or sets its remaining time.
    pub(super) fn run_for(&mut self, net: &mut Net, owner: Owner, length: Duration) {
        if let WarmUp::Running { timer, .. } = *self {
            net.disarm(timer);
        }
        let ends_at = net.now() + length;
        let timer = net.arm(owner, ends_at, TAG);
        *self = WarmUp::Running { ends_at, timer };
    }

    /// Ends the warm-up. The complete list is a new revision, which is sent only to sessions that
    /// have an incomplete one. Returns those with a subscription: schedule their list.
    pub(super) fn end(&mut self, registry: &mut Registry, peers: &mut Peers) -> Vec<ConnId> {
        let before = registry.revision();
        *self = WarmUp::Over {
            last_incomplete: before,
        };
        if !peers.iter().any(|(_, peer)| was_sent_incomplete(peer)) {
            return Vec::new();
        }
        registry.renew();
        let mut due = Vec::new();
        for (conn, peer) in peers.iter_mut() {
            if peer.subscription().is_some() {
                if was_sent_incomplete(peer) {
                    peer.is_list_due = true;
                    due.push(conn);
                }
            } else if !was_sent_incomplete(peer) && peer.listed_revision == Some(before) {
                peer.listed_revision = Some(registry.revision());
            }
        }
        due
    }

    pub(super) fn is_complete(&self) -> bool {
        matches!(self, WarmUp::Over { .. })
    }

    /// Returns whether a session with this revision may receive changes only.
    pub(super) fn can_resume(&self, revision: u64) -> bool {
        matches!(self, WarmUp::Over { last_incomplete } if revision > *last_incomplete)
    }

    /// Returns the remaining time; zero if the list is complete.
    pub(super) fn remaining(&self, now: Time) -> Duration {
        // Absent entries are removed shortly before the list is complete.
        let at_least = Duration::from_millis(1);
        match self {
            WarmUp::NotBegun => at_least,
            WarmUp::Running { ends_at, .. } => ends_at.saturating_since(now).max(at_least),
            WarmUp::Over { .. } => Duration::ZERO,
        }
    }
}

fn was_sent_incomplete(peer: &Peer) -> bool {
    let session = peer.session.as_ref();
    session.is_some_and(|session| session.was_sent_incomplete)
}
