//! The time that pushing may take. Pure: times are arguments.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Time;

/// Maximum time that pushing takes without a pause.
const BURST: Duration = Duration::from_millis(50);
/// Maximum debt: it is refilled within a second if nothing else takes time.
const MAX_DEBT: Duration = Duration::from_millis(750);
/// Share of the time that refills the budget if other work takes little. The rest is for requests
/// and for the data that the loop has not read yet.
const MAX_SHARE: f64 = 0.75;
/// The same if other work takes all of the time.
const MIN_SHARE: f64 = 0.25;
/// Other work is measured over a second, which moves on by parts of this length.
const PART_MILLIS: u64 = 100;
const PARTS: u64 = 10;

/// A budget of time that refills with the share of wall time that other work leaves.
#[derive(Debug, Default)]
pub(super) struct Budget {
    /// Time taken and not refilled. What exceeds the burst is debt.
    taken: Duration,
    refilled_at: Time,
    other_work: Window,
    /// A part of the debt was cut and that is not reported yet.
    was_cut: bool,
}

impl Budget {
    /// Refills the budget. Since the last call, `other_work` was spent on other than pushes.
    pub(super) fn refill(&mut self, now: Time, other_work: Duration) {
        let passed = now.saturating_since(self.refilled_at);
        self.refilled_at = self.refilled_at.max(now);
        self.other_work.record(now, other_work);
        self.taken = self.taken.saturating_sub(passed.mul_f64(self.share()));
    }

    /// Charges time that a push took.
    pub(super) fn charge(&mut self, took: Duration) {
        self.taken += took;
        if self.taken > BURST + MAX_DEBT {
            self.taken = BURST + MAX_DEBT;
            self.was_cut = true;
        }
    }

    /// Returns whether a part of the debt was cut. Returns it once.
    pub(super) fn take_cut(&mut self) -> bool {
        std::mem::take(&mut self.was_cut)
    }

    /// Returns the time until a push may begin, if other work stays as it is; zero if it may now.
    pub(super) fn wait(&self) -> Duration {
        let debt = self.taken.saturating_sub(BURST);
        debt.div_f64(self.share())
    }

    fn share(&self) -> f64 {
        let busy = self.other_work.share(self.refilled_at);
        (1.0 - busy).clamp(MIN_SHARE, MAX_SHARE)
    }
}

/// The sum of the durations that were recorded within the last second.
#[derive(Debug, Default)]
struct Window {
    /// Sums of parts of the window, each with the number of the part since the start.
    parts: VecDeque<(u64, Duration)>,
}

impl Window {
    fn record(&mut self, now: Time, took: Duration) {
        let current = now.as_millis() / PART_MILLIS;
        self.parts.retain(|(part, _)| part + PARTS > current);
        match self.parts.back_mut() {
            Some((part, sum)) if *part == current => *sum += took,
            _ => self.parts.push_back((current, took)),
        }
    }

    /// Returns the sum as a share of the time that the window covers.
    fn share(&self, now: Time) -> f64 {
        let covered = (PARTS - 1) * PART_MILLIS + now.as_millis() % PART_MILLIS;
        let sum: Duration = self.parts.iter().map(|(_, sum)| *sum).sum();
        sum.div_duration_f64(Duration::from_millis(covered))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Returns the share of a minute that pushing takes, if each push takes `push` and begins as
    /// early as allowed, and other work takes this share of the time.
    fn share_of_pushing(push: Duration, other_work: f64) -> f64 {
        let mut budget = Budget::default();
        let (mut now, end) = (Time::ZERO, Time::ZERO + 60_000 * MS);
        let mut pushing = Duration::ZERO;
        while now < end {
            let wait = budget.wait();
            let passed = if wait.is_zero() {
                budget.charge(push);
                pushing += push;
                push
            } else {
                wait
            };
            now = now + passed;
            budget.refill(now, passed.mul_f64(other_work));
        }
        pushing.as_secs_f64() / 60.0
    }

    fn is_about(share: f64, expected: f64) -> bool {
        (share - expected).abs() < 0.02
    }

    #[test]
    fn grants_a_burst() {
        let mut budget = Budget::default();
        budget.refill(Time::from_millis(1000), Duration::ZERO);
        budget.charge(50 * MS);
        assert_eq!(budget.wait(), Duration::ZERO);
        budget.charge(3 * MS);
        assert_eq!(budget.wait(), 4 * MS);
        budget.refill(Time::from_millis(1004), Duration::ZERO);
        assert_eq!(budget.wait(), Duration::ZERO);
    }

    #[test]
    fn limits_pushing_to_three_quarters_of_the_time() {
        for push in [MS, 5 * MS, 100 * MS] {
            let share = share_of_pushing(push, 0.0);
            assert!(is_about(share, 0.75), "{share}");
        }
    }

    #[test]
    fn leaves_other_work_its_time() {
        let share = share_of_pushing(5 * MS, 0.2);
        assert!(is_about(share, 0.75), "{share}");
        let share = share_of_pushing(5 * MS, 0.6);
        assert!(is_about(share, 0.4), "{share}");
    }

    #[test]
    fn keeps_a_quarter_of_the_time_for_pushing() {
        let share = share_of_pushing(5 * MS, 1.0);
        assert!(is_about(share, 0.25), "{share}");
    }

    #[test]
    fn forgets_other_work_after_a_second() {
        let mut budget = Budget::default();
        for at in 0..100 {
            budget.refill(Time::from_millis(at * 10), 10 * MS);
        }
        budget.charge(60 * MS);
        assert!(budget.wait() > 35 * MS, "{:?}", budget.wait());
        budget.charge(500 * MS);
        budget.refill(Time::from_millis(2100), Duration::ZERO);
        budget.charge(BURST + 75 * MS);
        assert_eq!(budget.wait(), 100 * MS);
    }

    #[test]
    fn limits_the_debt_to_what_a_second_refills() {
        let mut budget = Budget::default();
        budget.charge(3600 * 1000 * MS);
        assert_eq!(budget.wait(), 1000 * MS);
    }
}
