//! Notifications: requests without a reply.

use std::io::{self, Write};
use std::net::SocketAddr;

use serde::Serialize;

use super::super::roster::Roster;
use super::super::waiting::{MAX_WAITING_NOTIFICATIONS, WaitingNotification};
use super::Caller;
use crate::protocol::{Route, write_request};
use crate::reactor::{FrameWriter, Net};

impl Caller {
    /// Notifies all nodes with a name. If this `awaits` an interest, they are notified when it is
    /// in view. Returns the number of nodes that were notified now.
    pub(in crate::node) fn notify_all(
        &mut self,
        net: &mut Net,
        roster: &Roster,
        name: &str,
        route: &Route<'_>,
        params: &(impl Serialize + ?Sized),
        awaits: Option<u64>,
    ) -> usize {
        if let Some(awaits) = awaits {
            let mut request = Vec::new();
            if encode(&mut request, route, params).is_ok() {
                self.hold(net, name, request, awaits);
            }
            return 0;
        }
        let members = roster.known_name(name).filter_map(|member| member.addr);
        members
            .filter(|addr| self.notify(net, *addr, |out| encode(out, route, params)))
            .count()
    }

    /// Sends a request without a reply. Returns whether there was room for it: notifications never
    /// fill the queue, calls take precedence.
    fn notify(
        &mut self,
        net: &mut Net,
        addr: SocketAddr,
        write: impl FnOnce(&mut FrameWriter<'_>) -> io::Result<()>,
    ) -> bool {
        let place = self.peers.at(addr);
        let (Some(conn), Some(peer)) = (self.connection(net, place), self.peers.get(place)) else {
            return false;
        };
        let mut most = net.limits().max_unsent_bytes / 4;
        if peer.is_plain {
            most = most.min(self.max_plain_in_flight_bytes);
        }
        if peer.unsent_bytes(net) > most {
            return false;
        }
        net.send_with(conn, write)
    }

    /// Keeps a notification until the interest with this number is in view, if there is room.
    fn hold(&mut self, net: &Net, name: &str, request: Vec<u8>, awaits: u64) {
        let waiting = &mut self.waiting;
        let bytes = waiting.notification_bytes + request.len();
        let has_room = waiting.notifications.len() < MAX_WAITING_NOTIFICATIONS
            && bytes <= net.limits().max_unsent_bytes / 4;
        if has_room && !self.is_stopped {
            waiting.notification_bytes = bytes;
            waiting.notifications.push_back(WaitingNotification {
                awaits,
                name: name.into(),
                request,
            });
        }
    }

    /// Sends the notifications whose interest is in view.
    pub(super) fn send_waiting(&mut self, net: &mut Net, roster: &Roster, viewed: u64) {
        let waiting = self.waiting.notifications.len();
        for _ in 0..waiting {
            let Some(next) = self.waiting.notifications.pop_front() else {
                return;
            };
            if next.awaits > viewed {
                self.waiting.notifications.push_back(next);
                continue;
            }
            self.waiting.notification_bytes -= next.request.len();
            let members = roster.known_name(&next.name);
            for addr in members.filter_map(|member| member.addr) {
                self.notify(net, addr, |out| out.write_all(&next.request));
            }
        }
    }
}

fn encode(
    out: impl Write,
    route: &Route<'_>,
    params: &(impl Serialize + ?Sized),
) -> io::Result<()> {
    let written = write_request(out, route, 0, None, params);
    written.inspect_err(|error| {
        tracing::error!(%route, %error, "notification cannot be encoded");
    })
}
