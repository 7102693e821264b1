//! Requests that wait, and the share of the time that answering them may take.

use std::collections::VecDeque;
use std::time::Duration;

use super::request::PendingRequest;
use crate::http::ResponseTo;
use crate::time::Time;

/// Requests in the order in which they are answered.
#[derive(Debug, Default)]
pub(super) struct RequestQueue {
    /// Health checks are answered before all others.
    pub(super) probes: VecDeque<(ResponseTo, PendingRequest)>,
    pub(super) others: VecDeque<(ResponseTo, PendingRequest)>,
}

impl RequestQueue {
    pub(super) fn push(&mut self, to: ResponseTo, request: PendingRequest) {
        if request.route.is_probe() {
            self.probes.push_back((to, request));
        } else {
            self.others.push_back((to, request));
        }
    }

    pub(super) fn remove(&mut self, to: &ResponseTo) {
        self.probes.retain(|(queued, _)| queued != to);
        self.others.retain(|(queued, _)| queued != to);
    }

    pub(super) fn len(&self) -> usize {
        self.probes.len() + self.others.len()
    }
}

/// Keeps answering to a fifth of the time: what it took, four times over, passes before the next
/// answer.
#[derive(Debug, Default)]
pub(super) struct TimeBudget {
    /// When requests may be answered again.
    pub(super) free_at: Time,
    /// When requests were answered in the last turn, and the time spent in all turns before it.
    last: Option<(Time, Duration)>,
}

/// How long the answers of one turn may take.
pub(super) const MAX_PER_TURN: Duration = Duration::from_millis(1);
/// What it took, this many times, passes before the next answer.
const PAUSE_FACTOR: u32 = 4;

impl TimeBudget {
    /// Corrects the estimate for the last turn by the time that it took. To be called in each turn,
    /// with the time spent in all turns.
    pub(super) fn correct(&mut self, turn_time: Duration) {
        if let Some((at, before)) = self.last.take() {
            let took = turn_time.saturating_sub(before);
            self.free_at = self.free_at.max(at + took * PAUSE_FACTOR);
        }
    }

    /// Charges answers of this turn with their estimated cost.
    pub(super) fn charge(&mut self, now: Time, turn_time: Duration, cost: Duration) {
        self.last = Some((now, turn_time));
        self.free_at = now + cost * PAUSE_FACTOR;
    }
}
