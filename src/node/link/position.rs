//! The revision of the list that the view follows.

use super::super::roster::{Changes, Roster};
use crate::protocol::{Update, UpdateSession};
use crate::time::Time;

/// An epoch and a revision of it.
#[derive(Debug, Default)]
pub(super) struct Position {
    /// Empty: no list with a session was applied.
    epoch: String,
    pub(super) rev: u64,
}

impl Position {
    /// Returns the epoch and revision from which changes can lead on.
    pub(super) fn known(&self, roster: &Roster) -> Option<(&str, u64)> {
        // What was merged may hold some who are gone: no change tells so, only a complete list.
        let is_known = !self.epoch.is_empty() && roster.is_complete();
        is_known.then_some((&*self.epoch, self.rev))
    }

    /// Begins a session. Its first list follows: what was known of another epoch can't be led on
    /// from, and to acknowledge it would be to acknowledge what was never applied.
    pub(super) fn begin(&mut self, epoch: &str) {
        if self.epoch != epoch {
            self.forget();
        }
    }

    pub(super) fn forget(&mut self) {
        self.epoch.clear();
        self.rev = 0;
    }

    /// Applies an update with a session. Returns what changed, and whether the epoch is a new one.
    /// `None` if it does not lead on from this position: the whole list is needed.
    pub(super) fn apply(
        &mut self,
        update: &Update<'_>,
        session: &UpdateSession<'_>,
        roster: &mut Roster,
        now: Time,
    ) -> Option<(Changes, bool)> {
        let is_new_epoch = self.epoch != session.epoch;
        let changes = match update {
            Update::List { entries, .. } => {
                let merges = session.complete == Some(false);
                roster.apply_list(entries, Some(session), merges, now)
            }
            Update::Delta { joined, left, .. }
                if !is_new_epoch && session.from == Some(self.rev) =>
            {
                roster.apply_delta(joined, session, left, now)
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
}
