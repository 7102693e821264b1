//! Updates of sessions with a subscription.

use super::entry::EntryId;
use super::history::{ChangeKind, Folded};
use super::{Entry, Registry};
use crate::protocol::Subscription;

/// Changes that turn the view of a session into the current one.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Update {
    /// Entries that are new or changed.
    pub(crate) joined: Vec<EntryId>,
    /// Entries that the view must not have any more, each with its cause on the wire.
    pub(crate) left: Vec<(EntryId, &'static str)>,
}

impl Update {
    /// Returns whether it changes nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.joined.is_empty() && self.left.is_empty()
    }
}

impl Registry {
    /// Returns the update from the view under the subscription `old` at revision `from` to the
    /// current view under `new`; `None` as a subscription has all entries. `None` as for
    /// [`Registry::delta_since`].
    pub(crate) fn update_since(
        &self,
        from: u64,
        old: Option<&Subscription>,
        new: Option<&Subscription>,
    ) -> Option<Update> {
        let folded = self.history.folded_since(from, self.revision)?;
        let listed = |id: &EntryId| self.get(*id).filter(|entry| entry.listed);
        let mut update = Update::default();
        for (id, Folded { before, last }) in &folded {
            let now = listed(id);
            if now.is_some_and(|entry| entry.keys.match_only(new)) {
                update.joined.push(*id);
            } else if before.is_some_and(|keys| keys.match_only(old)) {
                let cause = match last {
                    ChangeKind::Left(cause) => cause.as_str(),
                    _ if now.is_some_and(|entry| entry.keys.match_only(old)) => UNSUBSCRIBED,
                    _ => "changed",
                };
                update.left.push((*id, cause));
            }
        }
        if old != new {
            let unchanged = |ids: Vec<EntryId>| {
                let entries = ids.into_iter().filter(|id| !folded.contains_key(id));
                entries.filter_map(|id| Some((id, listed(&id)?)))
            };
            let lacks = |entry: &Entry, only| !entry.keys.match_only(only);
            let joined = unchanged(self.matching_or_all(new));
            let joined = joined.filter(|(_, entry)| lacks(entry, old));
            update.joined.extend(joined.map(|(id, _)| id));
            let left = unchanged(self.matching_or_all(old));
            let left = left.filter(|(_, entry)| lacks(entry, new));
            update.left.extend(left.map(|(id, _)| (id, UNSUBSCRIBED)));
            update.joined.sort_unstable();
            update.left.sort_unstable();
        }
        Some(update)
    }

    /// Returns the listed entries that match, in the order of the list; all for `None`.
    pub(crate) fn matching_or_all(&self, only: Option<&Subscription>) -> Vec<EntryId> {
        match only {
            Some(only) => self.matching(only),
            None => self.listed().map(|(id, _)| id).collect(),
        }
    }
}

/// The cause of an entry that left a view because its session narrowed its subscription.
const UNSUBSCRIBED: &str = "unsubscribed";
