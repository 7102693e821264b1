//! Times after which sessions reconnect after a planned stop.

use std::time::Duration;

/// Time until the first session may reconnect.
const FIRST: Duration = Duration::from_millis(500);
/// Time from the first to the last, if there are not very many sessions.
const USUAL_SPREAD: Duration = Duration::from_secs(5);
/// Maximum of that time: all have to reconnect within the next run's warm-up.
const LONGEST_SPREAD: Duration = Duration::from_secs(8);
/// Time from one session to the next, if they are few.
const LONGEST_STEP: Duration = Duration::from_millis(20);
/// Minimum of that time, unless there are too many sessions for it.
const SHORTEST_STEP: Duration = Duration::from_millis(1);

/// Returns a different time for each session.
pub(super) fn retry_after(sessions: usize) -> impl Iterator<Item = Duration> {
    let sessions = u32::try_from(sessions).unwrap_or(u32::MAX).max(1);
    let step = (USUAL_SPREAD / sessions).clamp(SHORTEST_STEP, LONGEST_STEP);
    let step = step.min(LONGEST_SPREAD / sessions);
    (0..sessions).map(move |number| FIRST + step * number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distributor::Config;

    #[test]
    fn lets_all_sessions_reconnect_within_the_next_warm_up() {
        let warm_up = Config::default().warm_up;
        for sessions in [1, 2, 100, 500, 4999, 8000, 10_000, 80_000] {
            let all: Vec<Duration> = retry_after(sessions).collect();
            assert_eq!(all.len(), sessions);
            let step = |pair: &[Duration]| pair[1] - pair[0];
            let steps = all.windows(2).map(step);
            let shortest = if sessions > 8000 {
                Duration::from_nanos(1)
            } else {
                SHORTEST_STEP
            };
            assert!(steps.into_iter().all(|step| step >= shortest), "{sessions}");
            let last = *all.last().unwrap();
            assert!(
                last + Duration::from_secs(1) < warm_up,
                "{sessions}: {last:?}"
            );
        }
    }
}
