//! Which requests are admitted.

use std::net::IpAddr;

use super::admin_token::AdminToken;
use super::answer::Answer;
use super::credentials::Credentials;
use super::request::PendingRequest;
use super::router::Route;
use crate::distributor::Distributor;

/// Decides which requests are admitted.
#[derive(Debug)]
pub(super) struct Access {
    pub(super) hosts: Vec<String>,
    pub(super) admin_token: Option<AdminToken>,
}

impl Access {
    /// Returns the response to a request that is not admitted as the error.
    pub(super) fn check(
        &self,
        distributor: &Distributor,
        request: &PendingRequest,
    ) -> Result<(), Answer> {
        if let Some(host) = &request.host
            && !is_own_host(host, &self.hosts)
        {
            let text = format!(
                "unknown host {host:?}: use an address or localhost, or start the Distributor with \
                 --http-host NAME"
            );
            return Err(Answer::text(421, text));
        }
        match request.route {
            Route::Healthz | Route::Readyz => Ok(()),
            Route::Drain => self.check_admin(&request.credentials),
            _ => self.check_reader(distributor, request),
        }
    }

    fn check_admin(&self, credentials: &Credentials) -> Result<(), Answer> {
        match credentials {
            _ if self.admin_token.is_none() => Err(Answer::text(
                403,
                "changes are disabled: start the Distributor with --admin-token-file FILE",
            )),
            Credentials::Bearer(token) if self.is_admin(token) => Ok(()),
            Credentials::Bearer(_) => Err(Answer::text(403, "unknown admin token")),
            // What a browser adds on its own does not show that its user means it.
            Credentials::Basic(_) | Credentials::None => Err(Answer::text(
                401,
                "authentication required: send the admin token as Authorization: Bearer TOKEN",
            )
            .with(&[("WWW-Authenticate", "Bearer realm=\"distributor\"")])),
        }
    }

    fn check_reader(
        &self,
        distributor: &Distributor,
        request: &PendingRequest,
    ) -> Result<(), Answer> {
        let token = request.credentials.token();
        let may_see = |address| distributor.may_see(address, token);
        if request.peer.is_some_and(|peer| may_see(peer.ip()))
            || token.is_some_and(|token| self.is_admin(token))
        {
            return Ok(());
        }
        Err(Answer::text(
            401,
            "authentication required: send a token of --token-file as Authorization: Bearer TOKEN, \
             or as the password of Basic",
        )
        .with(&[("WWW-Authenticate", "Basic realm=\"distributor\"")]))
    }

    fn is_admin(&self, token: &str) -> bool {
        let admin = self.admin_token.as_ref();
        admin.is_some_and(|admin| admin.matches(token))
    }
}

/// Returns whether a request to this host is meant for this server.
///
/// A page of another origin can make its own name resolve to our address and then read our responses,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_addresses_and_configured_names() {
        let names = ["registry.internal".to_owned()];
        for ours in [
            "localhost",
            "LOCALHOST:9001",
            "127.0.0.1:1",
            "[::1]:9001",
            "::1",
            "10.0.0.5",
            "registry.internal:80",
            "Registry.internal.",
        ] {
            assert!(is_own_host(ours, &names), "{ours}");
        }
        for not in [
            "",
            "evil.example",
            "evil.example:9001",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "registry.internal.evil",
            "[evil]",
            "127.0.0.1:x",
        ] {
            assert!(!is_own_host(not, &names), "{not}");
        }
    }
}
