//! Who may register, and is sent the list.

use std::net::IpAddr;
use std::sync::Arc;

use super::address_range::AddressRange;
use super::tokens::{Scope, Tokens};
use crate::distributor::Distributor;
use crate::distributor::peer::Peer;
use crate::protocol::{ErrorCode, Packet, Refusal, Registration, Token};
use crate::reactor::{Close, ConnId, Net};

/// Who is admitted: whose address is in a range, and who has a token. With neither, everybody.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Access {
    /// Addresses that need no token.
    pub ranges: Vec<AddressRange>,
    /// Tokens that admit from any address.
    pub tokens: Option<Tokens>,
}

impl Access {
    /// Whether everybody is admitted.
    pub fn is_open(&self) -> bool {
        self.ranges.is_empty() && self.tokens.is_none()
    }

    pub(crate) fn of_address(&self, address: IpAddr) -> Option<Admission> {
        let in_range = || self.ranges.iter().any(|range| range.contains(address));
        (self.is_open() || in_range()).then_some(Admission::Address)
    }

    pub(crate) fn has_token(&self, token: &str) -> bool {
        let tokens = self.tokens.as_ref();
        tokens.is_some_and(|tokens| !tokens.scopes_of(token).is_empty())
    }

    fn of_token(&self, token: &Token<'_>) -> Option<Admission> {
        let scopes = self.tokens.as_ref()?.scopes_of(token.reveal());
        (!scopes.is_empty()).then_some(Admission::Token(scopes))
    }
}

/// By what a connection is admitted. A token that is taken away later does not end it.
#[derive(Clone, Debug)]
pub(crate) enum Admission {
    Address,
    Token(Vec<Arc<Scope>>),
}

impl Admission {
    fn allows(&self, registration: &Registration<'_>) -> bool {
        match self {
            Admission::Address => true,
            Admission::Token(scopes) => scopes
                .iter()
                .any(|scope| scope.allows(registration.name(), &registration.urls())),
        }
    }
}

impl Distributor {
    /// Takes other tokens from now on. Connections that were admitted stay.
    pub fn set_tokens(&mut self, tokens: Tokens) {
        self.config.access.tokens = Some(tokens);
    }

    /// Admits a connection that registers, if it may.
    pub(crate) fn admit(&mut self, conn: ConnId, token: Option<&Token<'_>>) -> Result<(), Refusal> {
        let access = &self.config.access;
        let Some(peer) = self.peers.get_mut(conn) else {
            return Ok(());
        };
        match (&peer.admission, token) {
            // Who needs no token may have any.
            (Some(Admission::Address), _) | (Some(Admission::Token(_)), None) => {}
            (None, None) => return Err(not_admitted("a token is needed here: session.token")),
            (_, Some(token)) => match access.of_token(token) {
                Some(admission) => peer.admission = Some(admission),
                None => return Err(not_admitted("this token admits nobody")),
            },
        }
        if let Some(token) = token {
            peer.token = Some(Box::new(self.salt.mark(token.reveal())));
        }
        Ok(())
    }

    /// Whether what admits the connection allows what it registers.
    pub(crate) fn check_binding(
        &self,
        conn: ConnId,
        registration: &Registration<'_>,
    ) -> Result<(), Refusal> {
        let peer = self.peers.get(conn);
        match peer.and_then(|peer| peer.admission.as_ref()) {
            Some(admission) if admission.allows(registration) => Ok(()),
            _ => Err(not_admitted("the token is bound to other names or urls")),
        }
    }

    /// Closes the connections that were not admitted in the time that others have to say anything at
    /// all: whatever they said instead, they hold the place of somebody who may come in.
    pub(crate) fn drop_unadmitted(&mut self, net: &mut Net) {
        let (now, allowed) = (net.now(), net.limits().first_byte_timeout);
        let is_late = |peer: &Peer| {
            peer.admission.is_none() && now.saturating_since(peer.connected_at) > allowed
        };
        let late: Vec<ConnId> = self
            .peers
            .iter()
            .filter(|(_, peer)| is_late(peer))
            .map(|(conn, _)| conn)
            .collect();
        for conn in late {
            let why = Refusal {
                code: ErrorCode::DeadlinePassed,
                message: format!("no token came within {allowed:?}").into(),
            };
            self.reject(net, conn, &Packet::default(), b"", &why);
            net.close(conn, Close::AfterFlush);
        }
    }
}

pub(crate) fn not_admitted(message: &'static str) -> Refusal {
    Refusal::new(ErrorCode::NotAllowed, message)
}
