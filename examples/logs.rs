//! A log collector: a node named `logs` that serves `POST/logs` and writes one line per packet, to
//! a file or to standard output. It never answers.
//!
//! `cargo run --release --example logs -- --file /tmp/fleet.log`, beside a Distributor. The
//! examples `echo` and `pipeline` notify it of their requests.

#![allow(clippy::print_stderr)]

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use pilcrow::node::{Config, Context, Node, ReplyTo, Request, Service};
use pilcrow::protocol::{ErrorCode, Route};
use pilcrow::reactor::{Limits, Reactor};

/// Writes one line per packet of other nodes
#[derive(Parser)]
struct Args {
    /// The address to listen on
    #[arg(long, default_value = "127.0.0.1:9040")]
    listen: SocketAddr,
    /// The address of the Distributor
    #[arg(long, default_value = "127.0.0.1:9000")]
    distributor: SocketAddr,
    /// Append to this file [default: standard output]
    #[arg(long)]
    file: Option<PathBuf>,
}

struct Logs(Output);

enum Output {
    File(File),
    Stdout(io::Stdout),
}

impl Service for Logs {
    fn on_request(&mut self, cx: &mut Context<'_>, request: &Request<'_>, reply_to: ReplyTo) {
        if request.route != Route::post("/logs") {
            cx.refuse(
                reply_to,
                ErrorCode::NotFound,
                "this node serves only POST /logs",
            );
            return;
        }
        // Strings as they are, other values as JSON; always in one line.
        let text = request
            .params::<String>()
            .unwrap_or_else(|_| request.raw_params.get().to_owned());
        let line = text.replace(char::is_control, " ") + "\n";
        let written = match &mut self.0 {
            Output::File(file) => file.write_all(line.as_bytes()),
            Output::Stdout(stdout) => stdout
                .write_all(line.as_bytes())
                .and_then(|()| stdout.flush()),
        };
        if let Err(error) = written {
            eprintln!("failed to write a line: {error}");
        }
    }
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    let output = match &args.file {
        Some(path) => Output::File(OpenOptions::new().create(true).append(true).open(path)?),
        None => Output::Stdout(io::stdout()),
    };
    let mut reactor = Reactor::new(Limits::default())?;
    let config = Config {
        name: "logs".to_owned(),
        routes: vec![Route::post("/logs")],
        listen: Some(args.listen),
        distributor: Some(args.distributor.into()),
        ..Config::default()
    };
    let mut node = Node::new(config, Logs(output));
    if let Some(addr) = node.start(reactor.net())? {
        eprintln!("listening on {addr}");
    }
    loop {
        reactor.turn(None, &mut node)?;
    }
}
