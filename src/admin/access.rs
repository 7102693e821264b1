//! Which requests are admitted.

use std::fmt;
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use constant_time_eq::constant_time_eq_32;
use sha2::{Digest, Sha256};

use super::config::Config;
use super::context::Answer;
use super::request::PendingRequest;
use crate::distributor::Distributor;

#[cfg(test)]
mod tests;

/// The token that admits to everything, changes included. Only its hash is kept.
#[derive(Clone)]
pub struct AdminToken([u8; 32]);

/// A shorter token can be guessed.
const MIN_BYTES: usize = 16;

impl AdminToken {
    /// Parses the first line of a file that is neither empty nor a comment. The error never contains
    /// any of the text.
    pub fn parse(text: &str) -> Result<AdminToken, &'static str> {
        let mut lines = text.lines().map(str::trim);
        let token = lines
            .find(|line| !line.is_empty() && !line.starts_with('#'))
            .ok_or("no token: write one as the first line")?;
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("invalid token: use printable ASCII characters without spaces");
        }
        if token.len() < MIN_BYTES {
            return Err("invalid token: shorter than 16 characters, it can be guessed");
        }
        Ok(AdminToken(Sha256::digest(token).into()))
    }

    /// Returns whether this is the token. Takes the same time however much of it matches.
    fn matches(&self, token: &str) -> bool {
        let digest: [u8; 32] = Sha256::digest(token).into();
        constant_time_eq_32(&self.0, &digest)
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken")
    }
}

/// Checks that a request is admitted. The error is the response to one that is not.
pub(super) fn check(
    config: &Config,
    distributor: &Distributor,
    request: &PendingRequest,
) -> Result<(), Answer> {
    if let Some(host) = &request.host
        && !is_own_host(host, &config.hosts)
    {
        let text = format!(
            "unknown host {host:?}: use an address or localhost, or start the Distributor with \
             --http-host NAME"
        );
        return Err(Answer::text(421, text));
    }
    if request.is_probe() {
        return Ok(());
    }
    let header = request.authorization.as_deref();
    let bearer = header.and_then(|header| credentials(header, "bearer"));
    let is_admin = |token| {
        let admin = config.admin_token.as_ref();
        admin.is_some_and(|admin| admin.matches(token))
    };
    if let ("POST", "/drain") = request.route() {
        let text = match bearer {
            _ if config.admin_token.is_none() => {
                "changes are disabled: start the Distributor with --admin-token-file FILE"
            }
            Some(token) if is_admin(token) => return Ok(()),
            Some(_) => "unknown admin token: send that of --admin-token-file",
            // A browser adds Basic credentials on its own, without the intent of its user.
            None => {
                let text =
                    "authentication required: send the admin token as Authorization: Bearer TOKEN";
                let challenge = &[("WWW-Authenticate", "Bearer realm=\"distributor\"")];
                return Err(Answer::text(401, text).with(challenge));
            }
        };
        return Err(Answer::text(403, text));
    }
    let basic = header.and_then(|header| credentials(header, "basic"));
    let password = basic.and_then(password);
    let token = bearer.or(password.as_deref());
    let may_see = |address| distributor.may_see(address, token);
    if request.peer.is_some_and(|peer| may_see(peer.ip())) || token.is_some_and(is_admin) {
        return Ok(());
    }
    let text = "authentication required: send a token of --token-file as Authorization: Bearer TOKEN, \
                or as the password of Basic";
    let challenge = &[("WWW-Authenticate", "Basic realm=\"distributor\"")];
    Err(Answer::text(401, text).with(challenge))
}

/// Returns the credentials in an `Authorization` header with this scheme.
fn credentials<'h>(header: &'h str, scheme: &str) -> Option<&'h str> {
    let (sent, credentials) = header.split_once(' ')?;
    let is_scheme = sent.eq_ignore_ascii_case(scheme);
    is_scheme.then_some(credentials.trim())
}

/// Returns the password in `user:password`, in base64.
fn password(encoded: &str) -> Option<String> {
    let text = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    Some(text.split_once(':')?.1.to_owned())
}

/// Returns whether a request to this host is meant for this server.
///
/// A page of another origin can make its own name resolve to this address and then read responses,
/// but it cannot change the name that the browser sends.
fn is_own_host(host: &str, names: &[String]) -> bool {
    let host = host.trim();
    let without_port = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = without_port.trim_end_matches('.');
    let bare = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    name.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok()
        || bare.unwrap_or(name).parse::<IpAddr>().is_ok()
        || names.iter().any(|own| own.eq_ignore_ascii_case(name))
}
