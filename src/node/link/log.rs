//! The log of a registration: each change once, however often the node retries.

use std::net::SocketAddr;

use tracing::{debug, info, warn};

use crate::protocol::Reply;

#[derive(Debug, Default)]
pub(super) struct RegistrationLog {
    was_accepted: bool,
    is_lost: bool,
    /// Errorcode of the last rejection, until the registration is accepted.
    rejected: Option<i64>,
}

impl RegistrationLog {
    pub(super) fn accepted(&mut self, node: &str, distributor: Option<SocketAddr>) {
        let distributor = distributor.map(tracing::field::display);
        if !std::mem::replace(&mut self.was_accepted, true) {
            info!(node, distributor, "registration accepted");
        } else if self.is_lost {
            info!(node, distributor, "registered again");
        }
        self.is_lost = false;
        self.rejected = None;
    }

    pub(super) fn rejected(&mut self, node: &str, reply: &Reply<'_>) {
        let errorcode = reply.errorcode;
        let message = reply.message();
        if self.rejected.replace(errorcode) == Some(errorcode) {
            debug!(node, errorcode, %message, "registration rejected again");
        } else {
            warn!(node, errorcode, %message, "registration rejected, retrying");
        }
    }

    pub(super) fn lost(&mut self, node: &str) {
        if !std::mem::replace(&mut self.is_lost, true) {
            warn!(node, "connection to the Distributor lost, retrying");
        }
    }
}
