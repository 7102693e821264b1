//! The log of a registration: each change once, however often the node retries.

use std::net::SocketAddr;

use tracing::{debug, info, warn};

use crate::protocol::{Reply, Token};
use crate::reactor::CloseReason;

#[derive(Debug, Default)]
pub(super) struct RegistrationLog {
    was_accepted: bool,
    is_lost: bool,
    /// Connecting has failed since the last registration.
    is_unreachable: bool,
    /// A registration has had no answer since the last that had one.
    is_unanswered: bool,
    /// Errorcode of the last rejection, until the registration is accepted.
    rejected: Option<i64>,
}

impl RegistrationLog {
    /// Warns of a token that can be guessed, as a Distributor does that admits it.
    pub(super) fn token(node: &str, token: Option<&Token<'_>>) {
        if token.is_some_and(|token| token.reveal().len() < Token::MIN_BYTES) {
            warn!(
                node,
                short = 1,
                "tokens of fewer than 16 characters can be guessed"
            );
        }
    }

    pub(super) fn accepted(&mut self, node: &str, distributor: Option<SocketAddr>) {
        let distributor = distributor.map(tracing::field::display);
        if !std::mem::replace(&mut self.was_accepted, true) {
            info!(node, distributor, "registration accepted");
        } else if self.is_lost {
            info!(node, distributor, "registered again");
        }
        self.is_lost = false;
        self.is_unreachable = false;
        self.is_unanswered = false;
        self.rejected = None;
    }

    pub(super) fn rejected(&mut self, node: &str, reply: &Reply<'_>) {
        let errorcode = reply.errorcode;
        let message = reply.message();
        if self.rejected.replace(errorcode) == Some(errorcode) {
            debug!(node, errorcode, error = %message, "registration rejected again");
        } else {
            warn!(node, errorcode, error = %message, "registration rejected, retrying");
        }
    }

    pub(super) fn unreachable(&mut self, node: &str, address: SocketAddr, error: CloseReason) {
        if !std::mem::replace(&mut self.is_unreachable, true) {
            warn!(node, %address, %error, "failed to connect to the Distributor, retrying");
        }
    }

    /// Logs that a Distributor, or a server of another protocol, does not answer the registration.
    pub(super) fn unanswered(&mut self, node: &str, address: Option<SocketAddr>, error: &str) {
        if !std::mem::replace(&mut self.is_unanswered, true) {
            let address = address.map(tracing::field::display);
            warn!(
                node,
                address, error, "the Distributor did not answer the registration, retrying"
            );
        }
    }

    pub(super) fn lost(&mut self, node: &str) {
        if !std::mem::replace(&mut self.is_lost, true) {
            warn!(node, "connection to the Distributor lost, retrying");
        }
    }
}
