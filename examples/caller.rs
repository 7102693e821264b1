//! Calls a node every second, in a task. The roster knows which nodes serve the route.
//!
//! `cargo run --release --example caller -- GET /echo '{"a":1}'`, beside the Distributor and the
//! example `echo`. Start a second `echo` on another port, and stop either: no call fails. A fourth
//! argument is the number of calls, a fifth the address of the Distributor.

#![allow(clippy::print_stdout)]

use std::env;
use std::time::Duration;

use pilcrow::node::{Error, Event, Node, TaskContext};
use pilcrow::protocol::Route;
use serde_json::Value;

/// The deadline of a call, and the pause between two.
const SECOND: Duration = Duration::from_secs(1);

fn main() -> Result<(), Error> {
    let args: Vec<String> = env::args().skip(1).collect();
    let arg = |place: usize, default: &str| args.get(place).map_or(default, |arg| arg).to_owned();
    let (method, path) = (arg(0, "GET"), arg(1, "/echo"));
    let params: Value = serde_json::from_str(&arg(2, "null"))?;
    let count: u64 = arg(3, &u64::MAX.to_string())
        .parse()
        .map_err(Error::internal)?;
    Node::builder("caller")
        .distributor(arg(4, "127.0.0.1:9000"))
        .on_event(|_cx, event| {
            if let Event::Link(state) = event {
                println!("link: {state:?}");
            }
        })
        .on_start(move |cx| {
            let calls = async move |cx: TaskContext| {
                let route = Route::new(&*method, &*path);
                if !cx.wait_for(&[route], 10 * SECOND).await {
                    println!("no node lists {method}{path}: calling nevertheless");
                }
                for _ in 0..count {
                    let call = cx.request(&method, &path).params(&params).timeout(SECOND);
                    match call.await {
                        Ok(reply) => println!("{}", reply.raw_results()),
                        Err(error) => println!("{error}"),
                    }
                    cx.sleep(SECOND).await;
                }
                cx.with(|cx| cx.shut_down(SECOND)).await;
                Ok(())
            };
            if let Err(error) = cx.spawn(calls) {
                println!("{error}");
            }
        })
        .run()
}
