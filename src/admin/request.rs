//! A request that waits for its response.

use std::net::SocketAddr;
use std::str::FromStr;

use super::answer::Answer;
use super::credentials::Credentials;
use super::router::Route;
use crate::http::Request;

/// The parts of a request that its response depends on.
#[derive(Debug)]
pub(super) struct PendingRequest {
    pub(super) route: Route,
    params: Vec<(String, String)>,
    pub(super) last_event_id: Option<String>,
    pub(super) host: Option<String>,
    pub(super) credentials: Credentials,
    pub(super) peer: Option<SocketAddr>,
}

impl PendingRequest {
    pub(super) fn new(request: &Request<'_>, peer: Option<SocketAddr>) -> PendingRequest {
        PendingRequest {
            route: Route::new(request.method(), request.path()),
            params: request.query_pairs().into_owned().collect(),
            last_event_id: request.header("last-event-id").map(ToOwned::to_owned),
            host: request.host().map(ToOwned::to_owned),
            credentials: Credentials::parse(request.header("authorization")),
            peer,
        }
    }

    /// Returns the value of a parameter.
    pub(super) fn param(&self, name: &str) -> Option<&str> {
        let found = self.params.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Returns the value of a parameter that is a number.
    pub(super) fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, Answer> {
        let Some(text) = self.param(name) else {
            return Ok(None);
        };
        let invalid = |_| Answer::text(400, format!("invalid {name} {text:?}: not a number"));
        text.parse().map(Some).map_err(invalid)
    }

    /// Rejects parameters that would be ignored: those with another name, and second values.
    pub(super) fn allow_params(&self, names: &[&str]) -> Result<(), Answer> {
        let mut seen: Vec<&str> = Vec::new();
        for (name, _) in &self.params {
            let what = if !names.contains(&name.as_str()) {
                "unknown"
            } else if seen.contains(&name.as_str()) {
                "repeated"
            } else {
                seen.push(name);
                continue;
            };
            let known = names.join(", ");
            let text =
                format!("{what} parameter {name:?}: use each of these once at most: {known}");
            return Err(Answer::text(400, text));
        }
        Ok(())
    }
}
