//! The admission of requests: tokens, and names of hosts.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::config::Config;
use super::context::Answer;
use super::request::PendingRequest;
use crate::distributor::Distributor;

#[cfg(test)]
mod tests;

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
            // A browser adds Basic credentials automatically, without the intent of its user.
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
/// A page of another origin can resolve its own name to this address and then read responses, but
/// it cannot change the name that the browser sends.
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
