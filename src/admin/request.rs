//! Pending requests.

use std::net::SocketAddr;
use std::str::FromStr;

use super::context::Answer;
use crate::http::Request;

/// The parts of a request that its response depends on.
#[derive(Debug)]
pub(super) struct PendingRequest {
    method: String,
    path: String,
    params: Vec<(String, String)>,
    pub(super) last_event_id: Option<String>,
    pub(super) host: Option<String>,
    pub(super) authorization: Option<String>,
    pub(super) peer: Option<SocketAddr>,
}

impl PendingRequest {
    pub(super) fn new(request: &Request<'_>, peer: Option<SocketAddr>) -> PendingRequest {
        let header = |name| request.header(name).map(ToOwned::to_owned);
        PendingRequest {
            method: request.method().to_owned(),
            path: request.path().to_owned(),
            params: request.query_pairs().into_owned().collect(),
            last_event_id: header("last-event-id"),
            host: request.host().map(ToOwned::to_owned),
            authorization: header("authorization"),
            peer,
        }
    }

    /// Returns the method and the path that select the handler. `HEAD` is handled as `GET`.
    pub(super) fn route(&self) -> (&str, &str) {
        let method = if self.method == "HEAD" {
            "GET"
        } else {
            &self.method
        };
        (method, &self.path)
    }

    /// Returns whether it is a health check.
    pub(super) fn is_probe(&self) -> bool {
        matches!(self.route(), ("GET", "/healthz" | "/readyz"))
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
        let invalid = |_| Answer::text(400, format!("invalid {name} {text:?}: use a number"));
        text.parse().map(Some).map_err(invalid)
    }

    /// Rejects parameters that would be ignored: those with another name, and second values.
    pub(super) fn allow_params(&self, names: &[&str]) -> Result<(), Answer> {
        for (index, (name, _)) in self.params.iter().enumerate() {
            let mut before = self.params.iter().take(index);
            let what = if !names.contains(&name.as_str()) {
                "unknown"
            } else if before.any(|(other, _)| other == name) {
                "repeated"
            } else {
                continue;
            };
            let known = names.join(", ");
            let text = format!("{what} parameter {name:?}: use each of {known} at most once");
            return Err(Answer::text(400, text));
        }
        Ok(())
    }
}
