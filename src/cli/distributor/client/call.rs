//! The command `call`: joins without being listed, and calls a node as another node would.

use std::slice;
use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::show::print_value;
use crate::Time;
use crate::cli::address::resolve;
use crate::cli::distributor::args::CallArgs;
use crate::cli::failure::{Failure, failed};
use crate::cli::text_file;
use crate::node::{CallError, CallId, Config, Context, Event, LinkState, Node, Service};
use crate::protocol::{Reply, Route};
use crate::reactor::{Limits, Reactor};

/// Time to wait for a node that lists exactly this route. Then a node that lists a prefix is
/// called.
const LIST_WAIT: Duration = Duration::from_millis(500);

struct Caller<'a> {
    route: Route<'a>,
    params: &'a RawValue,
    deadline: Duration,
    until: Time,
    is_registered: bool,
    end: Option<Result<Value, String>>,
}

impl Service for Caller<'_> {
    fn on_result(
        &mut self,
        _: &mut Context<'_>,
        _: CallId,
        result: Result<Reply<'_>, CallError<'_>>,
    ) {
        let (outcome, reply, message) = match result {
            Ok(reply) => ("reply", Some(reply), ""),
            Err(CallError::Refused(reply)) => ("refused", Some(reply), ""),
            Err(CallError::Deadline) => (
                "deadline",
                None,
                "no reply in time; it may have been served",
            ),
            Err(CallError::ConnectionLost) => (
                "lost",
                None,
                "the connection was lost; it may have been served",
            ),
            Err(_) => ("unavailable", None, "no node that serves it is reachable"),
        };
        let results = reply
            .as_ref()
            .map(|reply| serde_json::from_str(reply.raw_results()));
        let outcome = json!({
            "outcome": outcome,
            "errorcode": reply.as_ref().map(|reply| reply.errorcode),
            "message": reply.as_ref().map_or(message.into(), Reply::message),
            "results": results.and_then(Result::<Value, _>::ok),
        });
        self.end = Some(Ok(outcome));
    }

    fn on_event(&mut self, cx: &mut Context<'_>, event: Event) {
        match event {
            Event::Link(LinkState::Registered) if !self.is_registered => {
                self.is_registered = true;
                let wait = LIST_WAIT.min(self.deadline);
                cx.wait_for(slice::from_ref(&self.route), wait);
            }
            Event::Waited(..) => {
                let left = self.until.saturating_since(cx.net().now());
                cx.call(&self.route, self.params, left);
            }
            // Once it was registered, its call may be in flight and is waited for.
            Event::RegistrationRefused(reply) if !self.is_registered => {
                self.end = Some(Err(reply.message().into_owned()));
            }
            _ => {}
        }
    }
}

pub(super) fn run(args: &CallArgs) -> Result<(), Failure> {
    let (url, distributor) = (&args.url, &args.distributor);
    let route = Route::parse(url);
    if route.method.is_empty() || route.path.is_empty() {
        return Err(Failure::usage(format!(
            "{url}: invalid route; expected METHOD/path, as in GET/goods"
        )));
    }
    let params = RawValue::from_string(args.params.clone())
        .map_err(|error| Failure::usage(format!("invalid JSON params: {error}")))?;
    let token = text_file::token(args.token_file.as_deref())?;
    let config = Config {
        name: "distributor call".to_owned(),
        token: token.map(Into::into),
        distributor: Some(resolve("--distributor", distributor)?.into()),
        ..Config::default()
    };
    let cannot_turn = failed("cannot run the event loop");
    let mut reactor = Reactor::new(Limits::default()).map_err(&cannot_turn)?;
    let until = reactor.now() + args.deadline;
    let caller = Caller {
        route,
        params: &params,
        deadline: args.deadline,
        until,
        is_registered: false,
        end: None,
    };
    let mut node = Node::new(config, caller);
    node.start(reactor.net()).map_err(&cannot_turn)?;
    let outcome = loop {
        let caller = node.service();
        if let Some(end) = caller.end.take() {
            let rejected = |why| Failure::failed(format!("{distributor}: not admitted: {why}"));
            break end.map_err(rejected)?;
        }
        // After the registration the call has the remaining time.
        let left = || until.saturating_since(reactor.now());
        let wait = (!caller.is_registered).then(left);
        if wait == Some(Duration::ZERO) {
            return Err(Failure::failed(format!(
                "no Distributor answers at {distributor}"
            )));
        }
        reactor.turn(wait, &mut node).map_err(&cannot_turn)?;
    };
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
    Err(Failure::failed(format!("{url}: {code}{}", text("message"))))
}
