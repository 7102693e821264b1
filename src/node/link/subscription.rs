//! The subscription: it follows what the node looks for.

use serde::Deserialize;

use super::phase::Phase;
use super::subscription_state::{Change, Step};
use super::{DistributorLink, packets};
use crate::protocol::{Registered, Reply};
use crate::reactor::Net;

/// The `results` of a heartbeat that changes the subscription.
#[derive(Deserialize)]
struct Changed {
    /// False if the Distributor has too many subscriptions, and sends all entries from now on.
    only: Option<bool>,
}

impl DistributorLink {
    /// Sends what was added to the interests, unless a reply is still to come. Call it at the end
    /// of each turn, so that one change contains all that a turn has added.
    pub(in crate::node) fn subscribe(&mut self, net: &mut Net) {
        if self.is_viewed() {
            return;
        }
        let (last, only) = {
            let interests = self.roster.interests();
            (interests.last(), interests.wanted())
        };
        let conn = match &self.phase {
            Phase::Session { conn, .. } => *conn,
            // The last list has all entries.
            Phase::Plain { .. } => return self.apply_plain_list(net.now()),
            // No answer will come.
            _ if self.is_leaving() && !self.is_connected() => {
                return self.roster.interests().set_viewed(last);
            }
            // The registration states the interests.
            _ => return,
        };
        let Some(step) = self.subscription.step(last, only.is_none()) else {
            return;
        };
        if step == Step::Register && self.is_leaving() {
            // It would list the node again.
            return self.roster.interests().set_viewed(last);
        }
        let (key, rev) = (self.take_key(), self.roster.rev());
        self.subscription.taken(step, key, last);
        match step {
            Step::List => {
                net.send_with(conn, |out| packets::list_request(out, key));
            }
            Step::Heartbeat => {
                let only = only.as_deref();
                net.send_with(conn, |out| packets::heartbeat(out, Some(key), rev, only));
            }
            Step::Register => self.send_registration(net, conn, key, false),
        }
    }

    pub(super) fn change_answered(&mut self, net: &mut Net, change: Change, reply: Reply<'_>) {
        match (change.how, reply.errorcode) {
            (Step::Register, 0) => {
                let registered = serde_json::from_str::<Registered<'_>>(reply.raw_results());
                if let Ok(registered) = registered {
                    self.subscription.registered(&registered);
                }
            }
            (Step::Register, _) => return self.registration_rejected(net, reply),
            (_, 0) => {
                let changed = serde_json::from_str::<Changed>(reply.raw_results());
                if changed.is_ok_and(|changed| changed.only == Some(false)) {
                    self.subscription.receives_all();
                }
            }
            // The Distributor keeps the old one.
            _ => return self.roster.interests().want_all(),
        }
        self.subscription.accepted(change);
        self.note_view();
    }

    /// Returns whether the view has all nodes that the node looks for.
    pub(in crate::node) fn is_viewed(&self) -> bool {
        let interests = self.roster.interests();
        interests.last() == interests.viewed()
    }

    /// Records how far the view has followed the interests.
    pub(super) fn note_view(&mut self) {
        if let Some(viewed) = self.subscription.viewed() {
            self.roster.interests().set_viewed(viewed);
        }
    }

    /// Records that the view is going to be that of the registration.
    pub(super) fn limit_view(&mut self) {
        let mut interests = self.roster.interests();
        let viewed = interests.viewed().min(self.subscription.stated());
        interests.set_viewed(viewed);
    }
}
