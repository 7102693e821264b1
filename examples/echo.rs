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

use std::env;

use pilcrow::node::{Error, Event, Node};
use pilcrow::protocol::Route;

fn main() -> Result<(), Error> {
    Node::builder("echo")
        .listen(flag("--listen", "127.0.0.1:9020"))
        .distributor(flag("--distributor", "127.0.0.1:9000"))
        .get("/echo", |cx, request| {
            let replied = cx.reply(&request.raw_params)?;
            if cx.roster().named("logs").next().is_some() {
                cx.notify("logs", &Route::post("/logs"), "echo served a request");
            }
            Ok(replied)
        })
        .on_start(|cx| {
            if let Some(addr) = cx.local_addr() {
                println!("listening on {addr}");
            }
        })
        .on_event(|_cx, event| {
            if let Event::Link(state) = event {
                println!("link: {state:?}");
            }
        })
        .run()
}

/// Returns the value of a flag.
fn flag(name: &str, default: &str) -> String {
    let mut args = env::args().skip_while(|arg| arg != name).skip(1);
    args.next().unwrap_or_else(|| default.to_owned())
}
