//! Calling a node as another node would.

use std::time::Duration;

use crate::node::{CallError, CallId, Config, Context, Event, LinkState, Node, Service};
use crate::protocol::{Reply, Route, Token};
use crate::reactor::{Limits, Reactor};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::http::token_in;
use crate::cli::address::resolve;
use crate::cli::distributor::args::CallArgs;
use crate::cli::failure::{Failure, failed};
use crate::cli::print::{print, print_json};

const LIST_WAIT: Duration = Duration::from_millis(500);

/// What came of it.
#[derive(Default)]
struct Caller {
    is_served: Option<bool>,
    refused: Option<String>,
    outcome: Option<Answered>,
}

#[derive(Serialize)]
struct Answered {
    outcome: &'static str,
    errorcode: Option<i64>,
    message: String,
    results: Value,
}

impl Service for Caller {
    fn on_result(
        &mut self,
        _: &mut Context<'_>,
        _: CallId,
        result: Result<Reply<'_>, CallError<'_>>,
    ) {
        let plain = |outcome, message: &str| Answered {
            outcome,
            errorcode: None,
            message: message.to_owned(),
            results: Value::Null,
        };
        self.outcome = Some(match result {
            Ok(reply) | Err(CallError::Refused(reply)) => Answered {
                outcome: if reply.errorcode == 0 {
                    "reply"
                } else {
                    "refused"
                },
                errorcode: Some(reply.errorcode),
                message: reply.message().into_owned(),
                results: serde_json::from_str(reply.results()).unwrap_or_default(),
            },
            Err(CallError::Deadline) => {
                plain("deadline", "no answer in time; it may have been done")
            }
            Err(CallError::ConnectionLost) => {
                plain("lost", "the node was lost; it may have been done")
            }
            Err(CallError::Unavailable) => {
                plain("nobody", "nobody who serves that could be reached")
            }
        });
    }

    fn on_event(&mut self, _: &mut Context<'_>, event: Event) {
        match event {
            Event::Waited(_, is_there) => self.is_served = Some(is_there),
            Event::RegistrationRefused(reply) => self.refused = Some(reply.message().into_owned()),
            _ => {}
        }
    }
}

/// Joins without being listed, calls, and prints the results.
pub(super) fn run(args: &CallArgs) -> Result<(), Failure> {
    let url = &args.url;
    let route = Route::parse(url);
    if route.method.is_empty() || route.path.is_empty() {
        return Err(Failure::usage(format!(
            "{url}: it takes METHOD/path, as in GET/goods"
        )));
    }
    let params = RawValue::from_string(args.params.clone())
        .map_err(|error| Failure::usage(format!("the params are no JSON: {error}")))?;
    let token = args.token_file.as_deref().map(token_in).transpose()?;
    let distributor = &args.distributor;
    let addresses = resolve("--distributor", distributor)?;
    let wrong = failed("cannot set up the event loop");
    let mut reactor = Reactor::new(Limits::default()).map_err(&wrong)?;
    let config = Config {
        name: "distributor call".to_owned(),
        distributor: Some(addresses.into()),
        token: token.map(Token::from),
        ..Config::default()
    };
    let mut node = Node::new(config, Caller::default());
    node.start(reactor.net()).map_err(&wrong)?;
    let until = reactor.now() + args.deadline;
    while node.context(reactor.net()).link() != LinkState::Registered {
        if let Some(why) = &node.service().refused {
            return Err(Failure::failed(format!(
                "{distributor}: not admitted: {why}"
            )));
        }
        let left = until.saturating_since(reactor.now());
        if left.is_zero() {
            return Err(Failure::failed(format!(
                "no Distributor answers at {distributor}"
            )));
        }
        reactor.turn(Some(left), &mut node).map_err(&wrong)?;
    }
    // The list comes at once. If nobody lists exactly this, somebody may list a beginning of it.
    node.context(reactor.net())
        .wait_for(std::slice::from_ref(&route), LIST_WAIT.min(args.deadline));
    while node.service().is_served.is_none() {
        reactor.turn(None, &mut node).map_err(&wrong)?;
    }
    let left = until.saturating_since(reactor.now());
    node.context(reactor.net()).call(&route, &*params, left);
    while node.service().outcome.is_none() {
        reactor.turn(None, &mut node).map_err(&wrong)?;
    }
    let Some(answered) = &node.service().outcome else {
        return Err(Failure::failed("there is no outcome"));
    };
    if args.json {
        print_json(&json!(answered))?;
    } else if answered.outcome == "reply" {
        print(&format!("{:#}\n", answered.results))?;
    }
    match (answered.outcome, answered.errorcode) {
        ("reply", _) => Ok(()),
        (_, Some(code)) => Err(Failure::failed(format!(
            "{url}: errorcode {code}: {}",
            answered.message
        ))),
        _ => Err(Failure::failed(format!("{url}: {}", answered.message))),
    }
}
