//! The list of a session, as its lists and changes make it.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::{Departure, SessionFields};

/// The list that a session knows, and its revision.
#[derive(Default, Clone)]
pub struct View {
    pub epoch: String,
    pub revision: u64,
    /// The text of each entry.
    pub entries: BTreeMap<u64, Rc<str>>,
    /// The session has a subscription: changes may begin before its revision, and repeat what it
    /// has applied.
    pub is_subscribed: bool,
}

impl View {
    /// The epoch and revision to resume from.
    pub fn known(&self) -> Option<(&str, u64)> {
        (!self.epoch.is_empty()).then_some((self.epoch.as_str(), self.revision))
    }

    /// Replaces the view by a whole list. Fails unless each entry has an id, in ascending order.
    pub fn replace(
        &mut self,
        entries: Vec<Rc<str>>,
        session: &SessionFields,
    ) -> Result<(), String> {
        if session.ids.len() != entries.len() || !session.ids.is_sorted() {
            return Err(format!("{:?} for {} entries", session.ids, entries.len()));
        }
        self.entries = session.ids.iter().copied().zip(entries).collect();
        self.advance(session);
        Ok(())
    }

    /// Applies changes. Returns the entries that left; an empty text for one that it did not have.
    ///
    /// Fails unless the changes lead from this view to a later revision.
    pub fn apply(
        &mut self,
        joined: Vec<Rc<str>>,
        left: &[Departure],
        session: &SessionFields,
    ) -> Result<Vec<Rc<str>>, String> {
        let leads_on = match session.from {
            Some(from) if self.is_subscribed => from <= self.revision,
            from => from == Some(self.revision),
        };
        if self.epoch != session.epoch || !leads_on || session.rev <= self.revision {
            return Err(format!(
                "a change from {:?} to {} of {} for a view of {} of {}",
                session.from, session.rev, session.epoch, self.revision, self.epoch
            ));
        }
        if session.ids.len() != joined.len() {
            return Err(format!("{:?} for {} entries", session.ids, joined.len()));
        }
        let mut gone = Vec::new();
        for departure in left {
            let entry = self.entries.remove(&departure.id);
            if entry.is_none() && !self.is_subscribed {
                return Err(format!("{} left without an entry", departure.id));
            }
            gone.push(entry.unwrap_or_default());
        }
        self.entries.extend(session.ids.iter().copied().zip(joined));
        self.advance(session);
        Ok(gone)
    }

    fn advance(&mut self, session: &SessionFields) {
        self.epoch.clone_from(&session.epoch);
        self.revision = session.rev;
    }
}
