//! A drain: beside the phase of the link, since it outlives connections.

use super::super::tag::Tag;
use crate::reactor::{Net, Owner, TimerId};
use crate::time::Time;

#[derive(Debug, Default)]
pub(super) enum Drain {
    #[default]
    None,
    /// The Distributor waits until others know, and replies with this key.
    Asked {
        key: u64,
        until: Time,
        timer: TimerId,
    },
    /// No Distributor will tell who knows. The node serves until the time to wait is over.
    Unproven { timer: TimerId },
    /// Its end was reported.
    Over,
}

impl Drain {
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self, Drain::Asked { .. } | Drain::Unproven { .. })
    }

    /// Asks the Distributor: it replies with `key` at `until`, or has failed by `timeout`.
    pub(super) fn ask(
        &mut self,
        net: &mut Net,
        owner: Owner,
        key: u64,
        until: Time,
        timeout: Time,
    ) {
        let timer = net.arm(owner, timeout, Tag::Link.pack());
        *self = Drain::Asked { key, until, timer };
    }

    /// Goes on without the Distributor.
    pub(super) fn wait_unproven(&mut self, net: &mut Net, owner: Owner, until: Time) {
        if let Drain::Asked { timer, .. } = self {
            net.disarm(*timer);
        }
        let timer = net.arm(owner, until, Tag::Link.pack());
        *self = Drain::Unproven { timer };
    }

    /// Returns whether this timer has ended the drain.
    pub(super) fn timer_rang(&mut self, rang: TimerId) -> bool {
        let is_over = matches!(self, Drain::Asked { timer, .. } | Drain::Unproven { timer } if *timer == rang);
        if is_over {
            *self = Drain::Over;
        }
        is_over
    }

    pub(super) fn replied(&mut self, net: &mut Net) {
        if let Drain::Asked { timer, .. } = self {
            net.disarm(*timer);
        }
        *self = Drain::Over;
    }
}
