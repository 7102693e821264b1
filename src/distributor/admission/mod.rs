//! Admission: which peers may register and receive the list.

mod address_range;
mod tokens;

use std::net::IpAddr;
use std::sync::Arc;

pub use address_range::AddressRange;
pub use tokens::Tokens;
pub(super) use tokens::{Salt, TokenMark};

use crate::protocol::{ErrorCode, Refusal, Registration, Token};
use tokens::Scope;

/// Peers that are admitted: by address, or by token. With neither, all are.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Access {
    /// Addresses that need no token.
    pub ranges: Vec<AddressRange>,
    /// Tokens that admit from every address.
    pub tokens: Option<Tokens>,
}

impl Access {
    /// Returns whether all peers are admitted.
    pub fn is_open(&self) -> bool {
        self.ranges.is_empty() && self.tokens.is_none()
    }
}

/// Reason for admitting a connection. A token that is removed later does not close it.
#[derive(Clone, Debug)]
pub(super) enum Authorization {
    Address,
    Token(Vec<Arc<Scope>>),
}

impl Authorization {
    /// Checks that it covers the name and URLs of a registration.
    pub(super) fn check(&self, registration: &Registration<'_>) -> Result<(), Refusal> {
        let (name, urls) = (registration.name(), registration.urls());
        if let Authorization::Token(scopes) = self
            && !scopes.iter().any(|scope| scope.allows(name, &urls))
        {
            return Err(not_allowed("name or url not covered by this token"));
        }
        Ok(())
    }
}

/// The rules of admission, and the salt with which tokens are hashed for the state file.
#[derive(Debug, Default)]
pub(super) struct Admission {
    access: Access,
    /// Restored, or random at the start.
    pub(super) salt: Option<Salt>,
}

impl Admission {
    pub(super) fn new(access: Access) -> Admission {
        Admission { access, salt: None }
    }

    pub(super) fn salt(&self) -> Salt {
        self.salt.unwrap_or_default()
    }

    pub(super) fn set_tokens(&mut self, tokens: Tokens) {
        self.access.tokens = Some(tokens);
    }

    /// Returns the authorization of a connection from this address before it sends anything. `None`
    /// means that it needs a token. After an error close the connection: a token could not help.
    pub(super) fn by_address(&self, address: IpAddr) -> Result<Option<Authorization>, Refusal> {
        if self.is_admitted(address) {
            return Ok(Some(Authorization::Address));
        }
        if self.access.tokens.is_some() {
            return Ok(None);
        }
        Err(not_allowed("address not admitted"))
    }

    fn is_admitted(&self, address: IpAddr) -> bool {
        let ranges = &self.access.ranges;
        self.access.is_open() || ranges.iter().any(|range| range.contains(address))
    }

    /// Returns the authorization of a connection that registers with this token, if it sent one.
    pub(super) fn by_token(
        &self,
        current: Option<&Authorization>,
        token: Option<&Token<'_>>,
    ) -> Result<Authorization, Refusal> {
        match (current, token) {
            // A connection that needs no token may send any.
            (Some(Authorization::Address), _) => Ok(Authorization::Address),
            (Some(current), None) => Ok(current.clone()),
            (None, None) => Err(authentication_required()),
            (_, Some(token)) => {
                let scopes = self.scopes_of(token.reveal());
                if scopes.is_empty() {
                    return Err(not_allowed("unknown token"));
                }
                Ok(Authorization::Token(scopes))
            }
        }
    }

    fn scopes_of(&self, token: &str) -> Vec<Arc<Scope>> {
        let tokens = self.access.tokens.iter();
        tokens.flat_map(|tokens| tokens.scopes_of(token)).collect()
    }

    pub(super) fn mark(&self, token: &Token<'_>) -> TokenMark {
        self.salt().mark(token.reveal())
    }

    pub(super) fn may_see(&self, address: IpAddr, token: Option<&str>) -> bool {
        self.is_admitted(address.to_canonical())
            || token.is_some_and(|token| !self.scopes_of(token).is_empty())
    }
}

/// Returns the rejection of a peer that is not admitted and has not sent a token.
pub(super) fn authentication_required() -> Refusal {
    not_allowed("authentication required: set `session.token`")
}

fn not_allowed(message: &'static str) -> Refusal {
    Refusal::new(ErrorCode::NotAllowed, message)
}
