//! When the list is to be kept again.

use std::time::Duration;

use crate::reactor::{Net, Owner, TimerId};
use crate::time::Time;

/// The list is kept at once when all is quiet, and this often under churn: on a disk that takes no
/// longer it is there within 100 ms of a change.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);

/// About what is kept beside each entry.
pub(super) const BYTES_BESIDE_ENTRY: usize = 160;

#[derive(Debug, Default)]
pub(super) struct Saving {
    is_unsaved: bool,
    handed_over_at: Option<Time>,
    timer: Option<TimerId>,
}

impl Saving {
    pub(super) fn changed(&mut self) {
        self.is_unsaved = true;
    }

    /// Whether the list is to be handed over now. If it is to be soon, there will be a turn then.
    pub(super) fn is_due(&mut self, net: &mut Net, owner: Owner) -> bool {
        if !self.is_unsaved {
            return false;
        }
        let now = net.now();
        if let Some(last) = self.handed_over_at {
            let next_at = last + SHORTEST_PAUSE;
            if now < next_at {
                self.timer
                    .get_or_insert_with(|| net.arm(owner, next_at, super::TAG_SAVING));
                return false;
            }
        }
        if let Some(timer) = self.timer.take() {
            net.disarm(timer);
        }
        self.is_unsaved = false;
        self.handed_over_at = Some(now);
        true
    }

    pub(super) fn timer_rang(&mut self) {
        self.timer = None;
    }
}
