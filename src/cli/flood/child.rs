//! Servers in child processes of their own: this program again, told to be something else.
//!
//! A child ends with its standard input, so that none outlives a run, however that ends.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::time::Duration;

use crate::admin::{AdminApi, Config as AdminConfig};
use crate::distributor::{Config as DistributorConfig, Distributor};
use crate::node::{Config as NodeConfig, Context, Node, ReplyTo, Request, Service};
use crate::protocol::ErrorCode;
use crate::reactor::{Limits, Reactor};
use crate::registry::Capacity;
use clap::ValueEnum;
use serde_json::value::RawValue;

use crate::cli::flood::bare;
use crate::cli::flood::capacity::raise_fd_limit;
use crate::cli::flood::usage::Process;

/// What a child is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Role {
    /// A Distributor of this crate.
    Distributor,
    /// The same with its HTTP side.
    DistributorWithHttp,
    /// A node of this crate that echoes.
    EchoNode,
    /// What `bare` has.
    Bare,
}

/// A child that serves.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    pub(crate) addr: SocketAddr,
    /// Of its HTTP side, if it has one.
    pub(crate) http: Option<SocketAddr>,
}

impl Server {
    /// Starts one for at least so many connections.
    pub(crate) fn spawn(role: Role, connections: usize) -> io::Result<Server> {
        let role = role.to_possible_value();
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("serve")
            .arg(role.as_ref().map_or("", |role| role.get_name()))
            .arg(connections.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        // Ctrl-C is for the parent, which then ends its children.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn()?;
        let commands = child.stdin.take();
        let answers = child.stdout.take().map(BufReader::new);
        let Some(mut answers) = answers else {
            return Err(io::Error::other("a child without standard output"));
        };
        let mut line = String::new();
        answers.read_line(&mut line)?;
        let mut addrs = line.split_whitespace().map_while(|addr| addr.parse().ok());
        let Some(addr) = addrs.next() else {
            let _ = child.kill();
            let line = line.trim();
            return Err(io::Error::other(format!("the child did not serve: {line}")));
        };
        Ok(Server {
            child,
            commands,
            answers,
            addr,
            http: addrs.next(),
        })
    }

    pub(crate) fn process(&self) -> Process {
        Process {
            pid: self.child.id(),
        }
    }

    /// Tells a bare server what to do next.
    pub(crate) fn command(&mut self, words: &str, blocks: &[&[u8]]) -> io::Result<()> {
        if let Some(commands) = &mut self.commands {
            commands.write_all(words.as_bytes())?;
            commands.write_all(b"\n")?;
            for block in blocks {
                commands.write_all(block)?;
            }
            commands.flush()?;
        }
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        match answer.trim() {
            "ok" => Ok(()),
            _ => Err(io::Error::other(format!(
                "the bare server failed at: {words}"
            ))),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.commands.take());
        let _ = self.child.wait();
    }
}

/// What the child does.
pub(crate) fn serve(role: Role, connections: usize) -> ExitCode {
    let served = match role {
        Role::Bare => raise_fd_limit().and_then(|_| bare::serve()),
        Role::Distributor => serve_distributor(connections, false),
        Role::DistributorWithHttp => serve_distributor(connections, true),
        Role::EchoNode => serve_echo_node(connections),
    };
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "flood: the child that serves: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Connections beside those of the run.
const SPARE: usize = 1024;

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
        // When it ends every session is sent the whole list once. In the midst of a run that
        // would be taken for what a change costs.
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
    // Which of the connections ask for HTTP is not said.
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
        urls: vec!["GET/echo".to_owned()],
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

/// Says where, and ends when nobody wants it any more.
fn begin_to_serve(addrs: &str) -> io::Result<()> {
    end_with_standard_input();
    let mut out = io::stdout().lock();
    writeln!(out, "{addrs}")?;
    out.flush()
}

fn end_with_standard_input() {
    std::thread::spawn(|| {
        let mut nothing = Vec::new();
        let _ = io::stdin().read_to_end(&mut nothing);
        std::process::exit(0);
    });
}

/// What `examples/echo.rs` serves.
struct Echo;

impl Service for Echo {
    fn on_request(&mut self, cx: &mut Context<'_>, request: &Request<'_>, reply_to: ReplyTo) {
        if (request.method(), request.uri()) != ("GET", "/echo") {
            cx.refuse(reply_to, ErrorCode::NotFound, "here is only GET /echo");
            return;
        }
        match request.parse_params::<&RawValue>() {
            Ok(params) => cx.reply(reply_to, params),
            Err(error) => {
                cx.refuse(reply_to, ErrorCode::InvalidParameters, &error.to_string());
            }
        }
    }
}
