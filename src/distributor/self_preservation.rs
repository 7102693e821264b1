//! Self-preservation: when many nodes fall silent at once, the fault may be on this side.
//!
//! They are then held and evicted slowly: a partly wrong list does less harm than an empty one.
//! Pure: all times are arguments.

use std::collections::VecDeque;
use std::time::Duration;

use crate::reactor::ConnId;
use crate::registry::EntryId;
use crate::time::Time;

/// Nodes that fall silent within this time count together.
const WINDOW: Duration = Duration::from_secs(15);
/// Percentage of all entries above which a loss of nodes is a mass loss.
const MANY_PERCENT: usize = 15;
/// Minimum number of nodes of a mass loss.
const MANY_AT_LEAST: usize = 3;
/// Time between two evictions of suspects.
const EVICTION_INTERVAL: Duration = Duration::from_secs(1);

/// An entry that is held although its node fell silent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Suspect {
    /// The connection is open, and the node may recover.
    Connected(ConnId),
    /// The connection ended; the entry may be claimed.
    Unclaimed(EntryId),
}

/// Recent losses, and the suspects.
#[derive(Debug, Default)]
pub(super) struct SelfPreservation {
    /// Time at which each node fell silent, within the window.
    silent_at: VecDeque<Time>,
    stalls: u64,
    stalled_at: Option<Time>,
    /// Suspects in the order of eviction. Some may have recovered.
    held: VecDeque<Suspect>,
    /// Time of the next eviction.
    evicts_at: Time,
}

impl SelfPreservation {
    /// Records the number of stalls of the loop so far.
    pub(super) fn note_stalls(&mut self, now: Time, stalls: u64) {
        if stalls > self.stalls {
            self.stalls = stalls;
            self.stalled_at = Some(now);
        }
    }

    pub(super) fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }

    /// Returns the number of suspects, and of nodes that fell silent within the window.
    pub(super) fn sizes(&self) -> [usize; 2] {
        [self.held.len(), self.silent_at.len()]
    }

    /// Returns whether nodes that fall silent now are to be held.
    ///
    /// `silent` nodes fell silent and `overdue` ones may follow, of `entries` in total, which
    /// includes both.
    pub(super) fn holds(
        &mut self,
        now: Time,
        silent: usize,
        overdue: usize,
        entries: usize,
    ) -> bool {
        let is_recent = |at: Time| now.saturating_since(at) < WINDOW;
        while self.silent_at.front().is_some_and(|at| !is_recent(*at)) {
            self.silent_at.pop_front();
        }
        let before = self.silent_at.len();
        self.silent_at.extend(std::iter::repeat_n(now, silent));
        if self.is_holding() || self.stalled_at.is_some_and(is_recent) {
            return true;
        }
        // None was held before, so earlier losses are no longer among `entries`.
        let (lost, all) = (before + silent + overdue, before + entries);
        lost >= MANY_AT_LEAST && lost * 100 > MANY_PERCENT * all
    }

    pub(super) fn hold(&mut self, now: Time, suspect: Suspect) {
        if self.held.is_empty() {
            self.evicts_at = now + EVICTION_INTERVAL;
        }
        self.held.push_back(suspect);
    }

    /// Removes and returns the first remaining suspect if an eviction is due.
    pub(super) fn evict_one(
        &mut self,
        now: Time,
        mut is_suspect: impl FnMut(Suspect) -> bool,
    ) -> Option<Suspect> {
        while let Some(first) = self.held.front().copied() {
            let is_suspect = is_suspect(first);
            if is_suspect && now < self.evicts_at {
                return None;
            }
            self.held.pop_front();
            if is_suspect {
                self.evicts_at = now + EVICTION_INTERVAL;
                return Some(first);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    #[test]
    fn holds_more_than_15_percent_and_at_least_three() {
        // The maximum losses of so many entries that are not held.
        for (listed, most) in [
            (1, 1),
            (3, 2),
            (13, 2),
            (19, 2),
            (20, 3),
            (100, 15),
            (1000, 150),
        ] {
            let fresh = || SelfPreservation::default();
            assert!(!fresh().holds(at(0), most, 0, listed), "{most} of {listed}");
            assert!(most == listed || fresh().holds(at(0), most + 1, 0, listed));
            assert!(most == listed || fresh().holds(at(0), most, 1, listed));
        }
    }

    #[test]
    fn counts_losses_within_a_window() {
        let mut mode = SelfPreservation::default();
        for (second, listed) in [(0, 10), (14, 9)] {
            assert!(!mode.holds(at(second * 1000), 1, 0, listed));
        }
        // The first is no longer in the window.
        assert!(!mode.holds(at(15_000), 1, 0, 8));
        assert!(mode.holds(at(28_999), 1, 0, 7));
    }

    #[test]
    fn holds_all_for_a_while_after_a_stall() {
        let mut mode = SelfPreservation::default();
        mode.note_stalls(at(0), 0);
        assert!(!mode.holds(at(0), 1, 0, 100));
        mode.note_stalls(at(1000), 1);
        mode.note_stalls(at(9000), 1);
        assert!(mode.holds(at(15_999), 1, 0, 100));
        assert!(!mode.holds(at(16_000), 1, 0, 100));
    }

    #[test]
    fn evicts_one_per_second_and_no_recovered_suspect() {
        let mut mode = SelfPreservation::default();
        let suspects: Vec<Suspect> = (0..4)
            .map(|slot| Suspect::Connected(ConnId::new(slot, 1)))
            .collect();
        for suspect in &suspects {
            mode.hold(at(100), *suspect);
        }
        let is_back = suspects[1];
        let mut gone = Vec::new();
        for millis in (0..5000).step_by(50) {
            let one = mode.evict_one(at(millis), |suspect| suspect != is_back);
            gone.extend(one.map(|suspect| (millis, suspect)));
        }
        let wanted = [
            (1100, suspects[0]),
            (2100, suspects[2]),
            (3100, suspects[3]),
        ];
        assert_eq!(gone, wanted);
        assert!(!mode.is_holding());
    }
}
