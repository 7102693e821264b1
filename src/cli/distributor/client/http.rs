//! A client of the admin API.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;
use ureq::http::{Request, Response};
use ureq::{Agent, Body};

use super::show::array;
use crate::cli::distributor::args::HttpClientArgs;
use crate::cli::failure::Failure;
use crate::cli::http_error::{describe, is_lookup};
use crate::cli::text_file;
use crate::cli::value::shown;
use crate::host_port::HostPort;

pub(super) struct Client {
    agent: Agent,
    base: String,
    authorization: Option<String>,
    /// The address, if it is a default one.
    default: Option<SocketAddr>,
}

/// Addresses of the admin API if none is given. The first that accepts a connection is used.
const DEFAULT_ADDRESSES: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9001),
    SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 9001),
];

/// An event of the stream.
#[derive(Clone, Default)]
pub(super) struct Event {
    pub(super) name: String,
    pub(super) id: String,
    pub(super) data: String,
}

const READINESS: &str = "/readyz";
pub(super) const DRAIN: &str = "/drain";

const NOT_A_DISTRIBUTOR: &str = "not a response of a Distributor";
const ADMIN_TOKEN: &str =
    "pass the token of the Distributor's --admin-token-file with --token-file FILE";
const REMEDY: &str = "start a Distributor, or set the address of its admin API with --http ADDR";

/// Pairs of a query. Those without a value are left out.
type Pairs<'a> = [(&'a str, Option<&'a str>)];

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Timeout of a response, which exceeds the longest wait of a drain.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(80);
const MAX_BODY_BYTES: u64 = 1 << 30;

/// Returns the default address of the admin API, or `None` if nothing listens there.
pub(super) fn default_address() -> Option<SocketAddr> {
    let accepts =
        |address: &SocketAddr| TcpStream::connect_timeout(address, CONNECT_TIMEOUT).is_ok();
    DEFAULT_ADDRESSES.into_iter().find(accepts)
}

impl Client {
    pub(super) fn new(args: &HttpClientArgs) -> Result<Client, Failure> {
        let default = match &args.http {
            Some(_) => None,
            // The request then fails with the reason.
            None => Some(default_address().unwrap_or(DEFAULT_ADDRESSES[0])),
        };
        let given = default.map(|address| address.to_string());
        let given = args
            .http
            .as_deref()
            .or(given.as_deref())
            .unwrap_or_default();
        let invalid = |why: &str| Err(Failure::usage(format!("--http {}: {why}", shown(given))));
        let address = given.strip_prefix("http://").unwrap_or(given);
        let address = address.trim_end_matches('/');
        if address.starts_with("https://") {
            return invalid("TLS is not supported; use ADDRESS:PORT");
        }
        // Without a port it may be a proxy, on port 80.
        let is_port = address.bytes().all(|byte| byte.is_ascii_digit());
        let with_port = if address.contains(':') || is_port {
            address.to_owned()
        } else {
            format!("{address}:80")
        };
        if address.contains('/') {
            return invalid("invalid address; use ADDRESS:PORT or NAME:PORT, as in 127.0.0.1:9001");
        }
        if with_port.parse::<HostPort>().is_err() {
            let why = address.parse::<HostPort>().err().unwrap_or_default();
            return invalid(&why.replace(":9000", ":9001"));
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
            base: format!("http://{with_port}"),
            authorization: token.map(|token| format!("Bearer {token}")),
            default,
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
        let value = serde_json::from_str(&text)
            .map_err(|error| self.failed(&format!("{NOT_A_DISTRIBUTOR}: {error}; {REMEDY}")))?;
        self.report_default();
        Ok(value)
    }

    /// Prints on standard error which Distributor answered, if its address was not given: there may
    /// be several on this machine.
    fn report_default(&self) {
        let Some(address) = self.default else {
            return;
        };
        let no_samples = [("since", Some("18446744073709551615"))];
        let status = self.send("GET", "/status", &no_samples, None);
        let status = status.and_then(|response| self.body(response));
        let status: Value = serde_json::from_str(&status.unwrap_or_default()).unwrap_or_default();
        let listen = array(&status, "listen").filter_map(Value::as_str);
        let listen: Vec<&str> = listen.collect();
        let on = if listen.is_empty() {
            String::new()
        } else {
            format!(" on {}", listen.join(" and "))
        };
        let [first, _] = DEFAULT_ADDRESSES;
        let why = if address == first {
            String::new()
        } else {
            format!("; nothing listens on {first}")
        };
        // A closed standard error must not change the exit code.
        let _ = writeln!(
            io::stderr(),
            "distributor: answered by the Distributor{on} (default --http {address}{why})"
        );
    }

    /// Returns whether the Distributor is ready, and its state in words.
    pub(super) fn ready(&self) -> Result<(bool, String), Failure> {
        let response = self.send("GET", READINESS, &[], None)?;
        self.report_default();
        let is_ready = response.status() == 200;
        Ok((is_ready, self.body(response)?.trim().to_owned()))
    }

    /// Returns the events after `last_id`, until the stream ends.
    pub(super) fn events(
        &self,
        last_id: Option<&str>,
    ) -> Result<impl Iterator<Item = Event> + use<>, Failure> {
        let response = self.send("GET", "/events", &[], last_id)?;
        self.report_default();
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
        let is_text = response.headers().get("content-type");
        let is_text = is_text.is_some_and(|value| value.as_bytes().starts_with(b"text/plain"));
        let text = self.body(response)?;
        let why = match (status, &self.authorization, path) {
            _ if !is_text => format!("{NOT_A_DISTRIBUTOR}; {REMEDY}"),
            (401, None, DRAIN) => format!("authentication required; {ADMIN_TOKEN}"),
            (403, Some(_), DRAIN) if text.starts_with("unknown") => {
                format!("unknown admin token; {ADMIN_TOKEN}")
            }
            (401, None, _) => {
                "authentication required; pass a token with --token-file FILE".to_owned()
            }
            (401, Some(_), _) => {
                "unknown token; pass one of the Distributor with --token-file FILE".to_owned()
            }
            (404, _, DRAIN) => {
                let name = pairs.iter().find(|(key, _)| *key == "name");
                let name = name.and_then(|(_, name)| *name).unwrap_or_default();
                format!(
                    "no node has the name {}; distributor nodes lists all",
                    shown(name)
                )
            }
            _ => text.trim().to_owned(),
        };
        Err(self.failed(&format!("{status}: {why}")))
    }

    fn body(&self, response: Response<Body>) -> Result<String, Failure> {
        let mut body = response.into_body();
        let text = body.with_config().limit(MAX_BODY_BYTES).read_to_string();
        text.map_err(|error| self.unreachable(&error))
    }

    fn unreachable(&self, error: &ureq::Error) -> Failure {
        let remedy = if is_lookup(error) {
            "check its spelling and DNS, or use an address"
        } else {
            REMEDY
        };
        self.failed(&format!("{}; {remedy}", describe(error)))
    }

    fn failed(&self, why: &str) -> Failure {
        Failure::failed(format!("admin API at {}: {why}", self.base))
    }
}
