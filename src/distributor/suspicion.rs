//! When many fall silent at once, it may be this side that is cut off, or that stood still. Then
//! they are held as suspect, and let go slowly: a part of the list that is wrong does less harm than
//! a list that is empty.

use std::collections::VecDeque;
use std::time::Duration;

use crate::reactor::ConnId;
use crate::registry::EntryId;
use crate::time::Time;

/// Those who fall silent within this time are counted together.
const WINDOW: Duration = Duration::from_secs(15);
/// More than so many of a hundred are many,
const MANY_PERCENT: usize = 15;
/// but not fewer than this.
const MANY_AT_LEAST: usize = 3;
/// From one who is let go to the next.
const PAUSE: Duration = Duration::from_secs(1);

/// Somebody who fell silent and is held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Suspect {
    /// The connection is still there, and may be heard of again.
    Connected(ConnId),
    /// The connection is gone, and the entry may be claimed.
    Orphan(EntryId),
}

#[derive(Debug, Default)]
pub(super) struct Suspicion {
    /// When each of those within the window fell silent.
    fell_at: VecDeque<Time>,
    stalls: u64,
    stalled_at: Option<Time>,
    /// In the order in which they are let go. Some may not be suspect any more.
    held: VecDeque<Suspect>,
    next_let_go_at: Time,
}

impl Suspicion {
    /// How often the loop has stood still so far.
    pub(super) fn note_stalls(&mut self, now: Time, stalls: u64) {
        if stalls > self.stalls {
            self.stalls = stalls;
            self.stalled_at = Some(now);
        }
    }

    pub(super) fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }

    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    pub(super) fn recently_silent(&self) -> usize {
        self.fell_at.len()
    }

    /// `fallen` have fallen silent, `falling` are late by so much that they may follow, and `listed`
    /// are there, all of these included. Whether those who fell are to be held.
    pub(super) fn holds(
        &mut self,
        now: Time,
        fallen: usize,
        falling: usize,
        listed: usize,
    ) -> bool {
        let is_recent = |at: Time| now.saturating_since(at) < WINDOW;
        while self.fell_at.front().is_some_and(|at| !is_recent(*at)) {
            self.fell_at.pop_front();
        }
        let before = self.fell_at.len();
        self.fell_at.extend(std::iter::repeat_n(now, fallen));
        if self.is_holding() || self.stalled_at.is_some_and(is_recent) {
            return true;
        }
        // Nobody was held: those who fell before are gone.
        let (silent, all) = (before + fallen + falling, before + listed);
        silent >= MANY_AT_LEAST && silent * 100 > MANY_PERCENT * all
    }

    pub(super) fn hold(&mut self, now: Time, suspect: Suspect) {
        if self.held.is_empty() {
            self.next_let_go_at = now + PAUSE;
        }
        self.held.push_back(suspect);
    }

    /// Whom to let go now: the first who still `is_suspect`, if it is time.
    pub(super) fn let_one_go(
        &mut self,
        now: Time,
        mut is_suspect: impl FnMut(Suspect) -> bool,
    ) -> Option<Suspect> {
        while let Some(first) = self.held.front().copied() {
            let is_suspect = is_suspect(first);
            if is_suspect && now < self.next_let_go_at {
                return None;
            }
            self.held.pop_front();
            if is_suspect {
                self.next_let_go_at = now + PAUSE;
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
    fn few_are_let_go_at_once_and_many_are_held() {
        // Each of these alone, of so many: one more than 15 % and than two.
        for (listed, most) in [
            (1, 1),
            (3, 2),
            (13, 2),
            (19, 2),
            (20, 3),
            (100, 15),
            (1000, 150),
        ] {
            let fresh = || Suspicion::default();
            assert!(!fresh().holds(at(0), most, 0, listed), "{most} of {listed}");
            assert!(most == listed || fresh().holds(at(0), most + 1, 0, listed));
            assert!(most == listed || fresh().holds(at(0), most, 1, listed));
        }
    }

    #[test]
    fn they_are_counted_within_a_window() {
        let mut suspicion = Suspicion::default();
        for (second, listed) in [(0, 10), (14, 9)] {
            assert!(!suspicion.holds(at(second * 1000), 1, 0, listed));
        }
        // The first is out of it.
        assert!(!suspicion.holds(at(15_000), 1, 0, 8));
        assert!(suspicion.holds(at(28_999), 1, 0, 7));
    }

    #[test]
    fn after_a_stall_everybody_is_held_for_a_while() {
        let mut suspicion = Suspicion::default();
        suspicion.note_stalls(at(0), 0);
        assert!(!suspicion.holds(at(0), 1, 0, 100));
        suspicion.note_stalls(at(1000), 1);
        suspicion.note_stalls(at(9000), 1);
        assert!(suspicion.holds(at(15_999), 1, 0, 100));
        assert!(!suspicion.holds(at(16_000), 1, 0, 100));
    }

    #[test]
    fn one_a_second_is_let_go_and_none_who_is_back() {
        let mut suspicion = Suspicion::default();
        let suspects: Vec<Suspect> = (0..4)
            .map(|slot| Suspect::Connected(ConnId::new(slot, 1)))
            .collect();
        for suspect in &suspects {
            suspicion.hold(at(100), *suspect);
        }
        let is_back = suspects[1];
        let mut gone = Vec::new();
        for millis in (0..5000).step_by(50) {
            let one = suspicion.let_one_go(at(millis), |suspect| suspect != is_back);
            gone.extend(one.map(|suspect| (millis, suspect)));
        }
        let wanted = [
            (1100, suspects[0]),
            (2100, suspects[2]),
            (3100, suspects[3]),
        ];
        assert_eq!(gone, wanted);
        assert!(!suspicion.is_holding());
    }
}
