//! Servers in child processes: this program again, as something else.
//!
//! A child ends with its standard input, so that none outlives a run, however that ends.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{self, ChildStdout, Command, Stdio};
use std::time::Duration;

use clap::ValueEnum;
use serde_json::value::RawValue;

use super::bare::{self, Task};
use super::capacity::raise_fd_limit;
use super::format::name_of;
use super::stop::Halt;
use super::usage::Process;
use crate::admin::{AdminApi, Config as AdminConfig};
use crate::distributor::{Config as DistributorConfig, Distributor};
use crate::node::{Config as NodeConfig, Context, Node, ReplyTo, Request, Service};
use crate::protocol::{ErrorCode, Route};
use crate::reactor::{Limits, Reactor};
use crate::registry::Capacity;

/// Connections beside those of the run.
const SPARE: usize = 1024;

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Role {
    Distributor,
    EchoNode,
    Bare,
}

/// A child that serves. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Child {
    process: process::Child,
    output: BufReader<ChildStdout>,
    pub(crate) addr: SocketAddr,
    pub(crate) http: Option<SocketAddr>,
}

impl Child {
    /// Starts one for at least this many connections.
    pub(crate) fn spawn(role: Role, connections: usize, with_http: bool) -> io::Result<Child> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(["serve", &name_of(role), &connections.to_string()])
            .args(with_http.then_some("--with-http"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C is for the parent, which then ends its children.
            .process_group(0)
            .spawn()?;
        let output = process.stdout.take();
        let output = output.ok_or_else(|| io::Error::other("a child without standard output"))?;
        let mut output = BufReader::new(output);
        let mut line = String::new();
        output.read_line(&mut line)?;
        let mut addrs = line.split_whitespace().map_while(|addr| addr.parse().ok());
        let Some(addr) = addrs.next() else {
            let _ = process.kill();
            let what = format!("the child did not serve: {}", line.trim());
            return Err(io::Error::other(what));
        };
        let http = addrs.next();
        Ok(Child {
            process,
            output,
            addr,
            http,
        })
    }

    pub(crate) fn process(&self) -> Process {
        Process {
            pid: self.process.id(),
        }
    }

    pub(crate) fn set_task(&mut self, task: &Task) -> io::Result<()> {
        if let Some(input) = &mut self.process.stdin {
            let line = serde_json::to_string(task)? + "\n";
            input.write_all(line.as_bytes())?;
        }
        let mut answer = String::new();
        self.output.read_line(&mut answer)?;
        if answer.trim() != "ok" {
            return Err(io::Error::other("the bare server did not take its task"));
        }
        Ok(())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // This closes its standard input first.
        let _ = self.process.wait();
    }
}

pub(crate) fn serve(role: Role, connections: usize, with_http: bool) -> Result<(), Halt> {
    let served = match role {
        Role::Bare => raise_fd_limit().and_then(|_| bare::serve()),
        Role::Distributor => serve_distributor(connections, with_http),
        Role::EchoNode => serve_echo_node(connections),
    };
    served.map_err(|error| Halt::failed(format!("the child that serves: {error}")))
}

fn any_port() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

fn reactor_for(connections: usize) -> io::Result<Reactor> {
    raise_fd_limit()?;
    let defaults = Limits::default();
    Reactor::new(Limits {
        max_connections: defaults.max_connections.max(connections + SPARE),
        ..defaults
    })
}

fn serve_distributor(connections: usize, with_http: bool) -> io::Result<()> {
    let mut reactor = reactor_for(connections)?;
    let capacity = Capacity::default();
    let mut distributor = Distributor::new(DistributorConfig {
        capacity: Capacity {
            max_entries: capacity.max_entries.max(connections + SPARE),
            ..capacity
        },
        // When it ends, every session is sent the whole list once. During a run that would be taken
        // for the cost of a change.
        warm_up: Duration::ZERO,
        ..DistributorConfig::default()
    });
    if !with_http {
        let addr = distributor.listen(reactor.net(), any_port())?;
        begin_to_serve(&addr.to_string())?;
        loop {
            reactor.turn(None, &mut distributor)?;
        }
    }
    // All connections of the run may be to the HTTP side.
    let mut admin = AdminApi::new(AdminConfig {
        max_connections: connections + SPARE,
        max_streams: connections + SPARE,
        ..AdminConfig::default()
    });
    let http = admin.listen(reactor.net(), &mut distributor, any_port())?;
    let addr = distributor.listen(reactor.net(), any_port())?;
    begin_to_serve(&format!("{addr} {http}"))?;
    loop {
        reactor.turn(None, &mut admin.beside(&mut distributor))?;
    }
}

fn serve_echo_node(connections: usize) -> io::Result<()> {
    let mut reactor = reactor_for(connections)?;
    let config = NodeConfig {
        name: "echo".to_owned(),
        routes: vec![Route::get("/echo")],
        listen: Some(any_port()),
        ..NodeConfig::default()
    };
    let mut node = Node::new(config, Echo);
    let addr = node.start(reactor.net())?;
    begin_to_serve(&addr.map_or_else(String::new, |addr| addr.to_string()))?;
    loop {
        reactor.turn(None, &mut node)?;
    }
}

/// Prints the addresses, and ends the process with its standard input.
fn begin_to_serve(addrs: &str) -> io::Result<()> {
    std::thread::spawn(|| {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        process::exit(0);
    });
    bare::print_line(addrs)
}

/// Serves the same as `examples/echo.rs`.
struct Echo;

impl Service for Echo {
    fn on_request(&mut self, cx: &mut Context<'_>, request: &Request<'_>, reply_to: ReplyTo) {
        if request.route != Route::get("/echo") {
            cx.refuse(reply_to, ErrorCode::NotFound, "here is only GET /echo");
            return;
        }
        match request.params::<&RawValue>() {
            Ok(params) => cx.reply(reply_to, params),
            Err(error) => cx.refuse(reply_to, ErrorCode::InvalidParameters, &error.to_string()),
        }
    }
}
