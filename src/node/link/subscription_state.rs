//! The subscription of a connection to the Distributor, and its changes.
//!
//! Each [interest](super::super::interest::Interest) that is added has a number. One change is in
//! flight at a time; what is added meanwhile is part of the next one.

use crate::protocol::{ONLY, Registered};

#[derive(Debug, Default)]
pub(super) struct SubscriptionState {
    /// Number of the newest interest that the Distributor knows, or that the registration states.
    stated: u64,
    /// The Distributor sends all entries.
    sends_all: bool,
    /// The change without a reply.
    change: Option<Change>,
    /// The view is not that of the subscription before the next list.
    awaits_list: bool,
    /// The first update after a registration may repeat the revision of the view.
    awaits_update: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Change {
    key: u64,
    number: u64,
    pub(super) how: Step,
}

/// The next step of a change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// A heartbeat with the new subscription.
    Heartbeat,
    /// A registration without one, for all entries.
    Register,
    /// A request of the list, from a Distributor that sends all entries.
    List,
}

impl SubscriptionState {
    /// Begins a connection with a registration that states the interests up to `number`. Unless it
    /// resumes a view, a list follows.
    pub(super) fn registering(&mut self, number: u64, resumes: bool) {
        *self = SubscriptionState {
            stated: number,
            awaits_list: !resumes,
            ..SubscriptionState::default()
        };
    }

    /// Handles the reply to the registration.
    pub(super) fn registered(&mut self, reply: &Registered<'_>) {
        let offers = reply.features.iter().any(|feature| feature == ONLY);
        self.sends_all = !offers || reply.only == Some(false);
        self.awaits_update = true;
    }

    /// Returns the number of the newest interest that the Distributor knows.
    pub(super) fn stated(&self) -> u64 {
        self.stated
    }

    /// Returns the step to be taken for the interests up to `last`.
    pub(super) fn step(&self, last: u64, is_for_all: bool) -> Option<Step> {
        if self.stated >= last || self.change.is_some() {
            None
        } else if self.sends_all {
            (!self.awaits_list).then_some(Step::List)
        } else if is_for_all {
            Some(Step::Register)
        } else {
            Some(Step::Heartbeat)
        }
    }

    /// Records that a step was taken, with a request that has this key.
    pub(super) fn taken(&mut self, how: Step, key: u64, number: u64) {
        match how {
            Step::List => self.awaits_list = true,
            Step::Heartbeat | Step::Register => self.change = Some(Change { key, number, how }),
        }
    }

    /// Takes the change whose reply has this key.
    pub(super) fn take_change(&mut self, key: Option<u64>) -> Option<Change> {
        self.change.take_if(|change| key == Some(change.key))
    }

    /// Records that the Distributor has accepted a change.
    pub(super) fn accepted(&mut self, change: Change) {
        self.stated = change.number;
        // The update has come before the reply to a heartbeat, and the list comes after that to a
        // registration.
        self.awaits_list |= change.how == Step::Register;
    }

    /// Records that the Distributor sends all entries from now on.
    pub(super) fn receives_all(&mut self) {
        self.sends_all = true;
    }

    /// Records that the list was requested.
    pub(super) fn list_requested(&mut self) {
        self.awaits_list = true;
    }

    /// Returns whether a delta may end at the revision of the view: if it brings the view to a new
    /// subscription, without another change.
    pub(super) fn may_repeat(&self) -> bool {
        self.change.is_some() || self.awaits_update
    }

    /// Records an update that was applied, when the newest interest was `last`.
    pub(super) fn applied(&mut self, is_list: bool, last: u64) {
        self.awaits_update = false;
        if is_list {
            self.awaits_list = false;
            if self.sends_all {
                self.stated = last;
            }
        }
    }

    /// Returns the number of the newest interest whose nodes are all in the view; `None` before
    /// the list.
    pub(super) fn viewed(&self) -> Option<u64> {
        (!self.awaits_list).then_some(self.stated)
    }
}
