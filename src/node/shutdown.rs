//! The orderly end of a node: it drains, waits for its tasks, and stops.

use std::time::Duration;

use crate::time::Time;

/// A node leaves in these steps, each within the same time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Shutdown {
    #[default]
    None,
    /// The Distributor removes the node from the list, and the others acknowledge that.
    Draining { until: Time },
    /// Its tasks end.
    Finishing { until: Time },
    /// Its connections are closed when their queues are written.
    Stopped,
}

/// Time that a plain Distributor needs to notify all nodes. It has no acknowledgements.
pub(super) const PLAIN_DRAIN: Duration = Duration::from_secs(1);

impl Shutdown {
    /// Returns the next state, at the end of a turn.
    pub(super) fn next(self, now: Time, is_drained: bool, tasks: usize) -> Shutdown {
        match self {
            Shutdown::Draining { until } if is_drained || now >= until => {
                Shutdown::Finishing { until }.next(now, is_drained, tasks)
            }
            Shutdown::Finishing { until } if tasks == 0 || now >= until => Shutdown::Stopped,
            state => state,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drains_then_waits_for_tasks_then_stops() {
        let at = |millis| Time::ZERO + Duration::from_millis(millis);
        let until = at(100);
        let state = Shutdown::Draining { until };
        assert_eq!(state.next(at(99), false, 0), state);
        let finishing = Shutdown::Finishing { until };
        assert_eq!(state.next(at(5), true, 2), finishing);
        assert_eq!(finishing.next(at(99), true, 2), finishing);
        for stopped in [
            finishing.next(at(99), true, 0),
            finishing.next(at(100), true, 2),
            state.next(at(100), false, 2),
            state.next(at(5), true, 0),
        ] {
            assert_eq!(stopped, Shutdown::Stopped);
        }
    }
}
