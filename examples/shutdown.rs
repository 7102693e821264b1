//! A graceful shutdown, at the end of standard input: no request is lost.
//!
//! `cargo run --release --example shutdown`, beside a Distributor. Call `GET/slow`, and press
//! Ctrl-D meanwhile: the node leaves the list, answers the request, and ends. `run` does the same
//! on SIGINT and SIGTERM. An argument is the address of the Distributor, a second one that of the
//! node.

#![allow(clippy::print_stdout)]

use std::env;
use std::io;
use std::thread;
use std::time::Duration;

use pilcrow::node::{Error, Event, Node, Stop};

fn main() -> Result<(), Error> {
    let arg = |place, default: &str| env::args().nth(place).unwrap_or_else(|| default.to_owned());
    let stop = Stop::new();
    let at_end_of_input = stop.clone();
    thread::spawn(move || {
        // An error ends the input as well.
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        println!("leaving the list, and finishing requests");
        at_end_of_input.stop();
    });
    Node::builder("slow")
        .listen(arg(2, "127.0.0.1:9041"))
        .distributor(arg(1, "127.0.0.1:9000"))
        .get_async("/slow", async |cx, _request| {
            println!("serving a request");
            cx.sleep(Duration::from_secs(3)).await;
            println!("replying");
            Ok("done")
        })
        .on_start(|cx| {
            if let Some(addr) = cx.local_addr() {
                println!("listening on {addr}");
            }
        })
        .on_event(|_cx, event| match event {
            Event::Drained(drained) => {
                println!("{} sessions know that it leaves", drained.acked);
            }
            Event::DrainedUnproven => println!("no Distributor to leave"),
            _ => {}
        })
        .drain_timeout(Duration::from_secs(10))
        .run_until(stop)?;
    println!("ended");
    Ok(())
}
