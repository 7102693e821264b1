//! Figures of the last hour, for the charts of the page.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Serialize;

use super::event_json::unix_ms;
use super::metrics::Figures;
use crate::registry::Cause;
use crate::time::Time;

/// Samples of the last hour, the oldest first, at most [`MAX_SAMPLES`].
#[derive(Debug, Default)]
pub(super) struct History {
    samples: VecDeque<Sample>,
    /// The number of the last sample, counted from 1.
    last_number: u64,
    /// Totals at the last sample.
    totals: Totals,
    /// The revision at the sample before the last one.
    overdue_revision: u64,
    /// Time of the next sample.
    due: Time,
}

/// Figures at a moment, and since the previous sample.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub(super) struct Sample {
    unix_ms: u64,
    nodes: usize,
    joined: u64,
    left: u64,
    /// Sessions that have not acknowledged the overdue revision.
    late: usize,
    /// Packets, connections and requests that were refused.
    refused: u64,
    /// Times that a limit was hit.
    limits: u64,
}

/// Counters since the start.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    entries: u64,
    left: u64,
    refused: u64,
    limits: u64,
    revision: u64,
}

pub(super) const STEP: Duration = Duration::from_secs(10);
const MAX_SAMPLES: usize = 360;

impl History {
    /// Records a sample if one is due. Returns the time of the next one.
    pub(super) fn record(&mut self, figures: &Figures<'_>) -> Time {
        if self.samples.len() >= MAX_SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(self.sample(figures));
        self.last_number += 1;
        self.overdue_revision = self.totals.revision;
        self.totals = Totals::new(figures);
        self.due = figures.net.now() + STEP;
        self.due
    }

    pub(super) fn is_due(&self, now: Time) -> bool {
        now >= self.due
    }

    /// Returns a sample of the present, which is not recorded. Iterates over all sessions.
    pub(super) fn sample(&self, figures: &Figures<'_>) -> Sample {
        let (before, totals) = (&self.totals, Totals::new(figures));
        let left = totals.left.saturating_sub(before.left);
        let late = figures.distributor.view().unacknowledged();
        let journal = figures.distributor.journal();
        Sample {
            unix_ms: journal.map_or(0, |journal| unix_ms(figures.net.now(), journal)),
            nodes: figures.distributor.registry().len(),
            joined: (totals.entries + left).saturating_sub(before.entries),
            left,
            late: late.of(self.overdue_revision).0,
            refused: totals.refused.saturating_sub(before.refused),
            limits: totals.limits.saturating_sub(before.limits),
        }
    }

    /// Returns the samples after the one with this number, the oldest first.
    pub(super) fn since(&self, number: u64) -> impl Iterator<Item = &Sample> {
        let count = self.last_number.saturating_sub(number);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        self.samples
            .range(self.samples.len().saturating_sub(count)..)
    }

    pub(super) fn last_number(&self) -> u64 {
        self.last_number
    }

    /// Returns the revision that each session should have acknowledged: one that is at least
    /// [`STEP`] old.
    pub(super) fn overdue_revision(&self) -> u64 {
        self.overdue_revision
    }

    pub(super) fn len(&self) -> usize {
        self.samples.len()
    }
}

impl Totals {
    fn new(figures: &Figures<'_>) -> Totals {
        let registry = figures.distributor.registry();
        // The rejected packet of an unadmitted connection counts too.
        let refusals = figures.refusals().into_iter();
        let refusals = refusals.filter(|(kind, _)| *kind != "not_admitted");
        let left = [Cause::Closed, Cause::Drained, Cause::Silent, Cause::Absent];
        Totals {
            entries: registry.len() as u64,
            left: left.map(|cause| registry.departures(cause)).iter().sum(),
            refused: refusals.map(|(_, count)| count).sum(),
            limits: figures.limit_hits().map(|(_, count)| count).sum(),
            revision: registry.revision(),
        }
    }
}
