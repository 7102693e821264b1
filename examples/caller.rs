//! Calls a node every second. The roster knows which nodes serve the route.
//!
//! `cargo run --release --example caller -- GET /echo '{"a":1}'`, beside the Distributor and the
//! example `echo`. Start a second `echo` on another port, and stop either: no call fails.

#![allow(clippy::print_stdout)]

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use pilcrow::node::{CallError, CallId, Config, Context, Event, Node, Service};
use pilcrow::protocol::{Reply, Route};
use pilcrow::reactor::{Limits, Reactor};
use serde_json::value::RawValue;

/// Calls a node every second
#[derive(Parser)]
struct Args {
    /// The method, as in GET
    #[arg(default_value = "GET")]
    method: String,
    /// The path, as in /echo
    #[arg(default_value = "/echo")]
    path: String,
    /// Any JSON
    #[arg(default_value = "null")]
    params: String,
    /// The number of calls
    #[arg(long, default_value_t = u64::MAX, hide_default_value = true)]
    count: u64,
    /// The address of the Distributor
    #[arg(long, default_value = "127.0.0.1:9000")]
    distributor: SocketAddr,
}

/// The deadline of a call, and the pause between two.
const SECOND: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Caller {
    results: u64,
    /// True if a node lists the route; `None` until that is known.
    is_served: Option<bool>,
}

impl Service for Caller {
    fn on_result(
        &mut self,
        _cx: &mut Context<'_>,
        _call: CallId,
        result: Result<Reply<'_>, CallError<'_>>,
    ) {
        self.results += 1;
        match result {
            Ok(reply) => println!("{}", reply.raw_results()),
            Err(error) => println!("{error}"),
        }
    }

    fn on_event(&mut self, _cx: &mut Context<'_>, event: Event) {
        match event {
            Event::Link(state) => println!("link: {state:?}"),
            Event::Waited(_, is_there) => self.is_served = Some(is_there),
            _ => {}
        }
    }
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    let params = RawValue::from_string(args.params).map_err(io::Error::other)?;
    let mut reactor = Reactor::new(Limits::default())?;
    let config = Config {
        name: "caller".to_owned(),
        distributor: Some(args.distributor.into()),
        ..Config::default()
    };
    let mut node = Node::new(config, Caller::default());
    node.start(reactor.net())?;

    let routes = [Route::new(args.method, args.path)];
    let [route] = &routes;
    node.context(reactor.net()).wait_for(&routes, 10 * SECOND);
    while node.service().is_served.is_none() {
        reactor.turn(None, &mut node)?;
    }
    if node.service().is_served == Some(false) {
        println!("no node lists {route}: calling nevertheless");
    }
    let mut next_call_at = reactor.now();
    for number in 1..=args.count {
        while reactor.now() < next_call_at {
            let left = next_call_at.saturating_since(reactor.now());
            reactor.turn(Some(left), &mut node)?;
        }
        next_call_at = next_call_at + SECOND;
        let mut cx = node.context(reactor.net());
        cx.call(route, &*params, SECOND);
        while node.service().results < number {
            reactor.turn(None, &mut node)?;
        }
    }
    Ok(())
}
