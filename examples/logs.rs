//! A log collector: a node named `logs` that serves `POST/logs` and writes one line per packet, to
//! a file or to standard output. It never answers.
//!
//! `cargo run --release --example logs -- --file /tmp/fleet.log`, beside a Distributor. The
//! examples `echo` and `pipeline` notify it of their requests.

#![allow(clippy::print_stderr)]

use std::env;
use std::fs::OpenOptions;
use std::io::{self, Write};

use pilcrow::node::{Error, Node};

fn main() -> Result<(), Error> {
    let file = flag("--file").map(|path| OpenOptions::new().create(true).append(true).open(path));
    let output: Box<dyn Write> = match file.transpose()? {
        Some(file) => Box::new(file),
        None => Box::new(io::stdout()),
    };
    Node::builder("logs")
        .listen(flag("--listen").unwrap_or_else(|| "127.0.0.1:9040".to_owned()))
        .distributor(flag("--distributor").unwrap_or_else(|| "127.0.0.1:9000".to_owned()))
        .state(output)
        .post("/logs", |cx, request| {
            // Strings as they are, other values as JSON; always in one line.
            let text = request
                .params::<String>()
                .unwrap_or_else(|_| request.raw_params.get().to_owned());
            let line = text.replace(char::is_control, " ") + "\n";
            let output = cx.state();
            let written = output.write_all(line.as_bytes());
            if let Err(error) = written.and_then(|()| output.flush()) {
                eprintln!("failed to write a line: {error}");
            }
            Ok(cx.no_reply())
        })
        .run()
}

/// Returns the value of a flag.
fn flag(name: &str) -> Option<String> {
    env::args().skip_while(|arg| arg != name).nth(1)
}
