//! Drains: the node asks to be unlisted, and serves until the sessions have acknowledged it.

use std::time::Duration;

use super::super::event::Event;
use super::super::tag::Tag;
use super::phase::{Drain, Phase};
use super::{DistributorLink, packets};
use crate::protocol::{Drained, Reply};
use crate::reactor::Net;
use crate::time::Time;

impl DistributorLink {
    pub(in crate::node) fn drain(&mut self, net: &mut Net, wait: Duration) {
        // A second request would be rejected, and end the first as unproven.
        if matches!(self.drain, Drain::Pending { .. } | Drain::Unproven) {
            return;
        }
        let until = net.now() + wait;
        let Phase::Session { conn, .. } = self.phase else {
            // No Distributor can collect acknowledgements. Disconnecting removes the node.
            self.set_drain(net, Drain::Unproven, Some(until));
            self.is_parting = self.is_plain();
            return self.disconnect(net);
        };
        let key = self.take_key();
        // The Distributor replies by `until`, unless it hangs.
        let timeout = until + self.config.registration_timeout;
        self.set_drain(net, Drain::Pending { key, until }, Some(timeout));
        net.send_with(conn, |out| packets::drain(out, key, wait));
    }

    pub(super) fn drain_answered(&mut self, net: &mut Net, reply: &Reply<'_>, until: Time) {
        match serde_json::from_str::<Drained>(reply.raw_results()) {
            Ok(drained) if reply.errorcode == 0 => {
                self.set_drain(net, Drain::Over, None);
                self.events.push(Event::Drained(drained));
            }
            // The node may still be listed. Disconnecting removes it, without acknowledgements of
            // the sessions.
            _ => {
                self.set_drain(net, Drain::Unproven, Some(until));
                self.disconnect(net);
            }
        }
    }

    pub(super) fn set_drain(&mut self, net: &mut Net, drain: Drain, ends_at: Option<Time>) {
        if let Some(timer) = self.drain_timer.take() {
            net.disarm(timer);
        }
        self.drain = drain;
        self.drain_timer = ends_at.map(|at| net.arm(self.owner, at, Tag::Link.pack()));
    }
}
