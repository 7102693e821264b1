//! The entries by name and by url.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::entry::{EntryId, Keys};
use crate::protocol::{Subscription, is_under};

/// The listed entries by what subscriptions name. Finding some costs what they are, however many
/// others there are.
#[derive(Debug, Default)]
pub(super) struct Index {
    by_name: BTreeMap<Arc<str>, BTreeSet<EntryId>>,
    by_url: BTreeMap<Box<str>, BTreeSet<EntryId>>,
}

impl Index {
    pub(super) fn insert(&mut self, id: EntryId, keys: &Keys) {
        let of_name = self.by_name.entry(Arc::clone(&keys.name)).or_default();
        of_name.insert(id);
        for url in keys.urls.iter() {
            match self.by_url.get_mut(url) {
                Some(of_url) => of_url.insert(id),
                None => self.by_url.entry(url.clone()).or_default().insert(id),
            };
        }
    }

    pub(super) fn remove(&mut self, id: EntryId, keys: &Keys) {
        if let Some(of_name) = self.by_name.get_mut(&keys.name) {
            of_name.remove(&id);
            if of_name.is_empty() {
                self.by_name.remove(&keys.name);
            }
        }
        for url in keys.urls.iter() {
            if let Some(of_url) = self.by_url.get_mut(url) {
                of_url.remove(&id);
                if of_url.is_empty() {
                    self.by_url.remove(url);
                }
            }
        }
    }

    /// Returns the entries that match.
    pub(super) fn matching(&self, only: &Subscription) -> BTreeSet<EntryId> {
        let mut found = BTreeSet::new();
        for name in &only.names {
            found.extend(self.by_name.get(&**name).into_iter().flatten());
        }
        for url in &only.urls {
            found.extend(self.by_url.get(url).into_iter().flatten());
        }
        // The empty prefix has no segment, and would visit all urls.
        for prefix in only.prefixes.iter().filter(|prefix| !prefix.is_empty()) {
            let from = self.by_url.range(prefix.clone()..);
            let begins = from.take_while(|(url, _)| url.starts_with(&**prefix));
            let under = begins.filter(|(url, _)| is_under(url, prefix));
            found.extend(under.flat_map(|(_, of_url)| of_url));
        }
        found
    }
}
