//! A client of the admin API.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use serde_json::Value;
use ureq::http::{Request, Response};
use ureq::{Agent, Body};

use crate::cli::distributor::args::HttpClientArgs;
use crate::cli::failure::Failure;
use crate::cli::text_file;

pub(super) struct Client {
    agent: Agent,
    base: String,
    authorization: Option<String>,
}

pub(super) const DEFAULT_ADDRESS: &str = "127.0.0.1:9001";

/// An event of the stream.
#[derive(Clone, Default)]
pub(super) struct Event {
    pub(super) name: String,
    pub(super) id: String,
    pub(super) data: String,
}

const READINESS: &str = "/readyz";

/// Pairs of a query. Those without a value are left out.
type Pairs<'a> = [(&'a str, Option<&'a str>)];

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Timeout of a response, which exceeds the longest wait of a drain.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(80);
const MAX_BODY_BYTES: u64 = 1 << 30;

impl Client {
    pub(super) fn new(args: &HttpClientArgs) -> Result<Client, Failure> {
        let given = args.http.as_deref().unwrap_or(DEFAULT_ADDRESS);
        let invalid = |why| Err(Failure::usage(format!("--http {given}: {why}")));
        let address = given.strip_prefix("http://").unwrap_or(given);
        let address = address.trim_end_matches('/');
        if address.starts_with("https://") {
            return invalid("TLS is not supported; expected ADDRESS:PORT");
        }
        if address.is_empty() || address.contains(['/', ' ', '@', '?']) {
            return invalid("invalid address; expected ADDRESS:PORT, as in 127.0.0.1:9001");
        }
        let token = text_file::token(args.token_file.as_deref())?;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(RESPONSE_TIMEOUT))
            .build();
        Ok(Client {
            agent: config.into(),
            base: format!("http://{address}"),
            authorization: token.map(|token| format!("Bearer {token}")),
        })
    }

    /// Requests a JSON resource.
    pub(super) fn json(
        &self,
        method: &str,
        path: &str,
        pairs: &Pairs<'_>,
    ) -> Result<Value, Failure> {
        let text = self.body(self.send(method, path, pairs, None)?)?;
        serde_json::from_str(&text)
            .map_err(|error| self.failed(&format!("not a response of a Distributor: {error}")))
    }

    /// Returns whether the Distributor is ready, and its state in words.
    pub(super) fn ready(&self) -> Result<(bool, String), Failure> {
        let response = self.send("GET", READINESS, &[], None)?;
        let is_ready = response.status() == 200;
        Ok((is_ready, self.body(response)?.trim().to_owned()))
    }

    /// Returns the events after `last_id`, until the stream ends.
    pub(super) fn events(
        &self,
        last_id: Option<&str>,
    ) -> Result<impl Iterator<Item = Event> + use<>, Failure> {
        let response = self.send("GET", "/events", &[], last_id)?;
        let mut event = Event::default();
        let lines = BufReader::new(response.into_body().into_reader()).lines();
        Ok(lines.map_while(Result::ok).filter_map(move |line| {
            match line.split_once(": ")? {
                ("event", name) => name.clone_into(&mut event.name),
                ("id", id) => id.clone_into(&mut event.id),
                ("data", data) => {
                    data.clone_into(&mut event.data);
                    return Some(event.clone());
                }
                _ => {}
            }
            None
        }))
    }

    /// Sends a request. A response with another status than 200 is an error.
    fn send(
        &self,
        method: &str,
        path: &str,
        pairs: &Pairs<'_>,
        last_event_id: Option<&str>,
    ) -> Result<Response<Body>, Failure> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in pairs {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        let uri = format!("{}{path}?{}", self.base, query.finish());
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in [
            ("Authorization", self.authorization.as_deref()),
            ("Last-Event-ID", last_event_id),
        ] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        let request = request.body(()).map_err(ureq::Error::from);
        let response = request.and_then(|request| self.agent.run(request));
        let response = response.map_err(|error| self.unreachable(&error))?;
        let status = response.status().as_u16();
        if status == 200 || status == 503 && path == READINESS {
            return Ok(response);
        }
        let remedy = match (status, &self.authorization) {
            (401, None) => "; pass a token with --token-file FILE",
            (401, Some(_)) => "; the token of --token-file is not valid",
            _ => "",
        };
        let text = self.body(response)?;
        Err(self.failed(&format!("{status}: {}{remedy}", text.trim())))
    }

    fn body(&self, response: Response<Body>) -> Result<String, Failure> {
        let mut body = response.into_body();
        let text = body.with_config().limit(MAX_BODY_BYTES).read_to_string();
        text.map_err(|error| self.unreachable(&error))
    }

    fn unreachable(&self, error: &ureq::Error) -> Failure {
        self.failed(&format!(
            "{error}; is a Distributor there, started with --http?"
        ))
    }

    fn failed(&self, why: &str) -> Failure {
        Failure::failed(format!("{}: {why}", self.base))
    }
}
