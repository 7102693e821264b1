//! Asking over HTTP.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use serde_json::Value;
use ureq::http::Response;
use ureq::{Agent, RequestBuilder};

use crate::cli::distributor::args::HttpClientArgs;
use crate::cli::failure::Failure;
use crate::cli::text_file;

/// One Distributor's --http.
pub(super) struct Client {
    agent: Agent,
    base: String,
    authorization: Option<String>,
}

/// Where it is if nobody says.
pub(super) const HTTP_BY_DEFAULT: &str = "127.0.0.1:9001";

/// Pairs of a query. Those without a value are left out.
type Pairs<'a> = [(&'a str, Option<&'a str>)];

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer than a drain may wait.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(80);
const MAX_ANSWER_BYTES: u64 = 1 << 30;

impl Client {
    pub(super) fn new(args: &HttpClientArgs) -> Result<Client, Failure> {
        let address = args.http.as_deref().unwrap_or(HTTP_BY_DEFAULT);
        let address = address.trim_end_matches('/');
        if address.starts_with("https://") {
            return Err(Failure::usage(format!(
                "--http {address}: there is no TLS here; it takes ADDRESS:PORT"
            )));
        }
        let address = address.strip_prefix("http://").unwrap_or(address);
        if address.is_empty() || address.contains(['/', ' ', '@', '?']) {
            return Err(Failure::usage(format!(
                "--http {address}: it takes ADDRESS:PORT, as in 127.0.0.1:9001"
            )));
        }
        let token = args.token_file.as_deref().map(token_in).transpose()?;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(ANSWER_TIMEOUT))
            .build();
        Ok(Client {
            agent: config.into(),
            base: format!("http://{address}"),
            authorization: token.map(|token| format!("Bearer {token}")),
        })
    }

    pub(super) fn get_json(&self, path: &str, pairs: &Pairs<'_>) -> Result<Value, Failure> {
        let request = self.agent.get(self.url(path)).query_pairs(known(pairs));
        self.json(self.reached(self.authorized(request).call())?)
    }

    pub(super) fn post_json(&self, path: &str, pairs: &Pairs<'_>) -> Result<Value, Failure> {
        let request = self.agent.post(self.url(path)).query_pairs(known(pairs));
        self.json(self.reached(self.authorized(request).send_empty())?)
    }

    /// Whether the Distributor is ready, and in words.
    pub(super) fn ready(&self) -> Result<(bool, String), Failure> {
        let mut answer = self.reached(self.agent.get(self.url("/readyz")).call())?;
        let words = self.text(&mut answer)?.trim().to_owned();
        match answer.status().as_u16() {
            200 => Ok((true, words)),
            503 => Ok((false, words)),
            status => Err(Failure::failed(format!("{}: {status} {words}", self.base))),
        }
    }

    /// Passes on the events after `last_id` until the stream ends, or printing them fails: the inner
    /// result.
    pub(super) fn follow(
        &self,
        last_id: &mut Option<String>,
        mut print: impl FnMut(&str, &str) -> Result<(), Failure>,
    ) -> Result<Result<(), Failure>, Failure> {
        let mut request = self.authorized(self.agent.get(self.url("/events")));
        if let Some(id) = last_id {
            request = request.header("Last-Event-ID", &*id);
        }
        let answer = self.reached(request.call())?;
        if answer.status() != 200 {
            return self.json(answer).map(|_| Ok(()));
        }
        let (mut name, mut id) = (String::new(), String::new());
        for line in BufReader::new(answer.into_body().into_reader()).lines() {
            let line = line.map_err(|error| Failure::failed(format!("{}: {error}", self.base)))?;
            match line.split_once(": ") {
                Some(("event", value)) => value.clone_into(&mut name),
                Some(("id", value)) => value.clone_into(&mut id),
                Some(("data", data)) => {
                    if let Err(failure) = print(&name, data) {
                        return Ok(Err(failure));
                    }
                    *last_id = Some(id.clone());
                }
                _ => {}
            }
        }
        Ok(Ok(()))
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn authorized<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        match &self.authorization {
            Some(authorization) => request.header("Authorization", authorization),
            None => request,
        }
    }

    fn reached<T>(&self, answer: Result<T, ureq::Error>) -> Result<T, Failure> {
        answer.map_err(|error| {
            Failure::failed(format!(
                "{}: {error}; is a Distributor there, started with --http?",
                self.base
            ))
        })
    }

    fn text(&self, answer: &mut Response<ureq::Body>) -> Result<String, Failure> {
        let body = answer.body_mut().with_config().limit(MAX_ANSWER_BYTES);
        self.reached(body.read_to_string())
    }

    fn json(&self, mut answer: Response<ureq::Body>) -> Result<Value, Failure> {
        let text = self.text(&mut answer)?;
        if answer.status() != 200 {
            let status = answer.status().as_u16();
            let advice = match (status, &self.authorization) {
                (401, None) => "; give it with --token-file FILE",
                (401, Some(_)) => "; the one that was shown is none",
                _ => "",
            };
            return Err(Failure::failed(format!(
                "{}: {status}: {}{advice}",
                self.base,
                text.trim()
            )));
        }
        serde_json::from_str(&text).map_err(|error| {
            Failure::failed(format!("{}: that is no Distributor: {error}", self.base))
        })
    }
}

fn known<'a>(pairs: &Pairs<'a>) -> impl Iterator<Item = (&'a str, &'a str)> {
    let pairs = pairs.iter();
    pairs.filter_map(|(name, value)| Some((*name, (*value)?)))
}

/// The first token in the file.
pub(super) fn token_in(file: &std::path::Path) -> Result<String, Failure> {
    text_file::first_token("--token-file", file)
}
