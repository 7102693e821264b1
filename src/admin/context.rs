//! Helpers of the request handlers.

use std::time::Duration;

use super::answer::Answer;
use crate::distributor::Distributor;
use crate::http::{ResponseTo, Server};
use crate::reactor::{Net, Owner, TimerId};
use crate::time::Time;

/// The loop, the HTTP server and the Distributor, for one callback.
pub(super) struct Context<'a> {
    pub(super) net: &'a mut Net,
    pub(super) server: &'a mut Server,
    pub(super) distributor: &'a mut Distributor,
    /// The owner of the admin API's own timers.
    pub(super) timers: Owner,
}

/// The approximate cost of a byte of a response: it is encoded, copied and written.
const NANOS_PER_BYTE: u64 = 2;

impl Context<'_> {
    /// Sends a response. Returns its cost, about.
    pub(super) fn respond(&mut self, to: ResponseTo, answer: &Answer) -> Duration {
        answer.send(&mut self.server.http(self.net), to);
        Duration::from_nanos(answer.body.len() as u64 * NANOS_PER_BYTE)
    }

    /// Arms a timer of the admin API.
    pub(super) fn arm(&mut self, at: Time) -> TimerId {
        self.net.arm(self.timers, at, 0)
    }
}
