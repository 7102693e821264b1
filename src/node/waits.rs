//! Waits for routes to be served.

use std::time::Duration;

use super::roster::Roster;
use super::tag::Tag;
use crate::protocol::Route;
use crate::reactor::{Net, Owner, TimerId};

/// Identifies one [`Context::wait_for`](super::Context::wait_for).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct WaitId(u64);

#[derive(Debug, Default)]
pub(super) struct Waits {
    pub(super) owner: Owner,
    waits: Vec<Wait>,
    last: u64,
}

#[derive(Debug)]
struct Wait {
    id: WaitId,
    routes: Vec<Route<'static>>,
    timer: TimerId,
}

impl Waits {
    pub(super) fn add(&mut self, net: &mut Net, routes: &[Route<'_>], timeout: Duration) -> WaitId {
        self.last += 1;
        let id = WaitId(self.last);
        let timer = net.arm(self.owner, net.now() + timeout, Tag::Wait(id.0).pack());
        self.waits.push(Wait {
            id,
            routes: routes.iter().cloned().map(Route::into_owned).collect(),
            timer,
        });
        id
    }

    /// Completes the waits whose routes can all be called.
    pub(super) fn take_done(&mut self, net: &mut Net, roster: &Roster) -> Vec<WaitId> {
        let is_there = |wait: &mut Wait| {
            let mut routes = wait.routes.iter();
            routes.all(|route| roster.serving(route).any(|member| member.addr.is_some()))
        };
        let done = self.waits.extract_if(.., is_there);
        done.map(|wait| {
            net.disarm(wait.timer);
            wait.id
        })
        .collect()
    }

    pub(super) fn cancel(&mut self, net: &mut Net, id: WaitId) {
        for wait in self.waits.extract_if(.., |wait| wait.id == id) {
            net.disarm(wait.timer);
        }
    }

    pub(super) fn timed_out(&mut self, number: u64) -> Option<WaitId> {
        let mut waits = self.waits.iter();
        let place = waits.position(|wait| wait.id == WaitId(number))?;
        Some(self.waits.swap_remove(place).id)
    }
}
