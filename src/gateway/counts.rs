//! Counts of requests and their responses.

use std::collections::BTreeMap;
use std::time::Duration;

use super::config::Stats;
use crate::histogram::Histogram;

#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) stats: Stats,
    /// Number of responses by status.
    by_status: BTreeMap<u16, u64>,
    /// Times from requests to their responses.
    pub(super) times: Histogram,
}

impl Counts {
    /// Counts the response to a request.
    pub(super) fn responded(&mut self, status: u16, took: Duration) {
        self.stats.answered += 1;
        *self.by_status.entry(status).or_default() += 1;
        self.times.record(took);
    }

    /// Counts the refusal of a malformed request.
    pub(super) fn refused(&mut self, status: u16) {
        self.stats.refused += 1;
        *self.by_status.entry(status).or_default() += 1;
    }

    /// Counts a reply that is the response to a request.
    pub(super) fn replied(&mut self, errorcode: i64) {
        self.stats.replied += 1;
        self.stats.error_replies += u64::from(errorcode != 0);
    }

    /// Returns the number of responses by status.
    pub(super) fn by_status(&self) -> impl Iterator<Item = (u16, u64)> {
        self.by_status
            .iter()
            .map(|(status, count)| (*status, *count))
    }
}
