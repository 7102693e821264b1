//! A node that answers `GET/echo` with the params of the request.
//!
//! Run a Distributor (`cargo run --release --bin distributor`), then
//! `cargo run --release --example echo -- --listen 127.0.0.1:9020`, and send a request:
//!
//! ```sh
//! printf '{"uri":"/echo","method":"GET","key":7,"params":{"a":1}}¶' | nc 127.0.0.1 9020
//! ```
//!
//! It answers `{"key":7,"errorcode":0,"errormessage":"success","results":{"a":1}}¶`. For every
//! request it notifies the nodes named `logs`, if there are any: see the example of that name.

#![allow(clippy::print_stdout)]

use std::io;
use std::net::SocketAddr;

use clap::Parser;
use pilcrow::node::{Config, Context, Event, Node, ReplyTo, Request, Service};
use pilcrow::protocol::{ErrorCode, Route};
use pilcrow::reactor::{Limits, Reactor};

/// A node that answers GET/echo with the params of the request
#[derive(Parser)]
struct Args {
    /// The address to listen on
    #[arg(long, default_value = "127.0.0.1:9020")]
    listen: SocketAddr,
    /// The address of the Distributor
    #[arg(long, default_value = "127.0.0.1:9000")]
    distributor: SocketAddr,
}

struct Echo;

impl Service for Echo {
    fn on_request(&mut self, cx: &mut Context<'_>, request: &Request<'_>, reply_to: ReplyTo) {
        if request.route != Route::get("/echo") {
            cx.refuse(
                reply_to,
                ErrorCode::NotFound,
                "this node serves only GET /echo",
            );
            return;
        }
        cx.reply(reply_to, request.raw_params);
        if cx.roster().named("logs").next().is_some() {
            cx.notify("logs", &Route::post("/logs"), "echo served a request");
        }
    }

    fn on_event(&mut self, _cx: &mut Context<'_>, event: Event) {
        if let Event::Link(state) = event {
            println!("link: {state:?}");
        }
    }
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    let mut reactor = Reactor::new(Limits::default())?;
    let config = Config {
        name: "echo".to_owned(),
        routes: vec![Route::get("/echo")],
        listen: Some(args.listen),
        distributor: Some(args.distributor.into()),
        ..Config::default()
    };
    let mut node = Node::new(config, Echo);
    if let Some(addr) = node.start(reactor.net())? {
        println!("listening on {addr}");
    }
    loop {
        reactor.turn(None, &mut node)?;
    }
}
