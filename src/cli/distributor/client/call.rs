//! The command `call`: reads the list without registering, and calls a node as another node would.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::list;
use super::show::{form_of_url, print_value};
use crate::Time;
use crate::cli::address::resolve;
use crate::cli::distributor::args::CallArgs;
use crate::cli::failure::{Failure, failed};
use crate::cli::value::shown;
use crate::node::{CallError, CallId, Config, Context, Node, Service};
use crate::protocol::{ListedNode, Reply, Route};
use crate::reactor::{Limits, Reactor};

/// Number of nodes that can be tried if none responds.
const MAX_SLOW_TRIES: u32 = 4;

struct Caller<'a> {
    route: &'a Route<'a>,
    params: &'a RawValue,
    until: Time,
    /// Addresses of nodes that list the route and were not called yet.
    addresses: Vec<SocketAddr>,
    /// Message if none of them is reachable.
    unreachable: String,
    outcome: Option<Value>,
}

impl Service for Caller<'_> {
    fn on_result(
        &mut self,
        cx: &mut Context<'_>,
        _: CallId,
        result: Result<Reply<'_>, CallError<'_>>,
    ) {
        // The request was certainly not served.
        if matches!(result, Err(CallError::Unavailable))
            && let Some(address) = self.addresses.pop()
        {
            let left = self.until.saturating_since(cx.net().now());
            cx.call_at(address, self.route, self.params, left);
            return;
        }
        let (outcome, message) = match &result {
            Ok(_) => ("reply", ""),
            Err(CallError::Refused(_)) => ("refused", ""),
            Err(CallError::Deadline) => (
                "deadline",
                "no reply in time; the request may have been served",
            ),
            Err(CallError::ConnectionLost) => (
                "lost",
                "the connection was lost; the request may have been served",
            ),
            Err(_) => (UNAVAILABLE, &*self.unreachable),
        };
        let reply = match &result {
            Ok(reply) | Err(CallError::Refused(reply)) => Some(reply),
            Err(_) => None,
        };
        self.outcome = Some(as_json(outcome, reply, message));
    }
}

/// The outcome of a call that was certainly not served.
const UNAVAILABLE: &str = "unavailable";
/// Number of addresses in a message.
const MAX_ADDRESSES: usize = 4;

fn as_json(outcome: &str, reply: Option<&Reply<'_>>, message: &str) -> Value {
    let results = reply.map(|reply| serde_json::from_str(reply.raw_results()));
    json!({
        "outcome": outcome,
        "errorcode": reply.map(|reply| reply.errorcode),
        "message": reply.map_or(message.into(), Reply::message),
        "results": results.and_then(Result::<Value, _>::ok),
    })
}

/// Formats the addresses of nodes of which none is reachable.
fn unreachable(addresses: &[SocketAddr]) -> String {
    let mut shown: Vec<String> = Vec::new();
    for address in addresses.iter().map(ToString::to_string) {
        if !shown.contains(&address) {
            shown.push(address);
        }
    }
    let more = shown.len().saturating_sub(MAX_ADDRESSES);
    shown.truncate(MAX_ADDRESSES);
    if more > 0 {
        shown.push(format!("{more} more"));
    }
    let tried = if shown.is_empty() {
        "its host has no address".to_owned()
    } else {
        format!("tried {}", shown.join(", "))
    };
    format!("listed but unreachable: {tried}; check that the node runs and is reachable from here")
}

/// Returns the nodes that list the longest listed prefix of a route.
fn nodes_serving<'n>(route: &Route<'_>, nodes: &'n [ListedNode]) -> Vec<&'n ListedNode> {
    let mut serving = route.prefixes(usize::MAX).map(|prefix| {
        let url = prefix.to_string();
        let nodes = nodes.iter().filter(|node| node.urls.contains(&url));
        nodes.collect::<Vec<_>>()
    });
    serving.find(|nodes| !nodes.is_empty()).unwrap_or_default()
}

/// Calls one of these nodes after the other, until one can be reached. Returns the outcome.
fn call(
    route: &Route<'_>,
    params: &RawValue,
    nodes: &[&ListedNode],
    deadline: Duration,
) -> Result<Value, Failure> {
    if nodes.is_empty() {
        let form = form_of_url(&route.to_string());
        let remedy = form.unwrap_or_else(|| "distributor nodes lists all routes".to_owned());
        let message = format!("not listed: no node has this route; {remedy}");
        return Ok(as_json(UNAVAILABLE, None, &message));
    }
    let addresses = nodes.iter().filter_map(|node| {
        // The host may be a name, as the Distributor lists its own machine by --loopback-host.
        (&*node.host, node.port?).to_socket_addrs().ok()
    });
    let mut addresses: Vec<SocketAddr> = addresses.flatten().collect();
    let unreachable = unreachable(&addresses);
    let cannot_turn = failed("cannot run the event loop");
    let tries = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    let usual = Limits::default();
    let connect_timeout = deadline / tries.clamp(1, MAX_SLOW_TRIES);
    let mut reactor = Reactor::new(Limits {
        connect_timeout: usual.connect_timeout.min(connect_timeout),
        ..usual
    })
    .map_err(&cannot_turn)?;
    // Repeated commands call all of them.
    let first = reactor.net().random() % u64::from(tries.max(1));
    addresses.rotate_left(usize::try_from(first).unwrap_or(0));
    let Some(address) = addresses.pop() else {
        return Ok(as_json(UNAVAILABLE, None, &unreachable));
    };
    let caller = Caller {
        route,
        params,
        until: reactor.now() + deadline,
        addresses,
        unreachable,
        outcome: None,
    };
    // It only calls, and knows no Distributor.
    let mut node = Node::new(Config::default(), caller);
    node.start(reactor.net()).map_err(&cannot_turn)?;
    node.context(reactor.net())
        .call_at(address, route, params, deadline);
    loop {
        if let Some(outcome) = node.service().outcome.take() {
            return Ok(outcome);
        }
        reactor.turn(None, &mut node).map_err(&cannot_turn)?;
    }
}

pub(super) fn run(args: &CallArgs) -> Result<(), Failure> {
    let (url, distributor) = (&args.url, &args.distributor);
    let route = Route::parse(url);
    if route.method.is_empty() || route.path.is_empty() {
        return Err(Failure::usage(format!(
            "METHOD/path {}: not a route; write it as in GET/goods",
            shown(url)
        )));
    }
    let params = RawValue::from_string(args.params.clone()).map_err(|error| {
        Failure::usage(format!(
            "JSON {}: not JSON: {error}; write it as in {{\"color\":\"red\"}}",
            shown(&args.params)
        ))
    })?;
    let addresses = resolve("--distributor", distributor)?;
    let started = Instant::now();
    let list_deadline = args.deadline.min(list::DEADLINE);
    let listed = list::read(&addresses, args.token_file.as_deref(), list_deadline)?;
    let nodes = nodes_serving(&route, &listed);
    let left = args.deadline.saturating_sub(started.elapsed());
    let outcome = call(&route, &params, &nodes, left)?;
    let text = |key| outcome.get(key).and_then(Value::as_str).unwrap_or_default();
    let is_reply = text("outcome") == "reply";
    if args.json || is_reply {
        let results = outcome.get("results").unwrap_or(&Value::Null);
        print_value(&outcome, args.json, |_| format!("{results:#}\n"))?;
    }
    if is_reply {
        return Ok(());
    }
    let code = outcome.get("errorcode").and_then(Value::as_i64);
    let code = code.map_or(String::new(), |code| format!("errorcode {code}: "));
    Err(Failure::failed(format!(
        "{}: {code}{}",
        shown(url),
        text("message")
    )))
}
