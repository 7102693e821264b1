//! The maximum number of slashes in a listed path.

use std::collections::BTreeMap;

/// Number of listed routes by the number of their slashes.
#[derive(Debug, Default)]
pub(super) struct Slashes {
    routes: BTreeMap<usize, usize>,
    most: usize,
}

impl Slashes {
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// Records that a route is listed now.
    pub(super) fn add(&mut self, slashes: usize) {
        *self.routes.entry(slashes).or_default() += 1;
        self.most = self.most.max(slashes);
    }

    /// Records that a route is no longer listed.
    pub(super) fn remove(&mut self, slashes: usize) {
        if let Some(count) = self.routes.get_mut(&slashes) {
            *count -= 1;
            if *count == 0 {
                self.routes.remove(&slashes);
            }
        }
        self.most = self.routes.keys().next_back().copied().unwrap_or(0);
    }
}
