//! Calls from other threads, through a node that runs in this one.
//!
//! `cargo run --release --example threads`, beside a Distributor and the example `goods`. An
//! argument is the address of the Distributor.

#![allow(clippy::print_stdout)]

use std::env;
use std::thread;
use std::time::Duration;

use pilcrow::node::{Error, Handle, Node, Stop};
use pilcrow::protocol::Route;

const GOODS: Route<'static> = Route::get("/goods");
const PATIENCE: Duration = Duration::from_secs(5);

/// Calls, and waits for the result: only this thread is blocked.
fn work(name: &str, handle: &Handle) {
    match handle.call(&GOODS, &(), PATIENCE).recv() {
        Ok(Ok(reply)) => println!("{name}: {}", reply.raw_results()),
        Ok(Err(error)) => println!("{name}: {error}"),
        Err(_) => println!("{name}: the node has ended"),
    }
}

fn main() -> Result<(), Error> {
    let distributor = env::args().nth(1);
    let stop = Stop::new();
    let done = stop.clone();
    Node::builder("threads")
        .distributor(distributor.unwrap_or_else(|| "127.0.0.1:9000".to_owned()))
        .on_start(move |cx| {
            let handle = cx.handle();
            let task = cx.spawn(async move |cx| {
                cx.wait_for(&[GOODS], PATIENCE).await;
                thread::spawn(move || {
                    thread::scope(|scope| {
                        scope.spawn(|| work("first", &handle));
                        scope.spawn(|| work("second", &handle));
                    });
                    done.stop();
                });
                Ok(())
            });
            if let Err(error) = task {
                println!("{error}");
            }
        })
        .run_until(stop)
}
