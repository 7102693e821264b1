//! Servers in child processes of their own: this program again, told to be something else.
//!
//! A child ends with its standard input, so that none outlives a run, however that ends.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::time::Duration;

use clap::ValueEnum;
use pilcrow::distributor::{Config as DistributorConfig, Distributor};
use pilcrow::node::{Config as NodeConfig, Fleet, Node, ReplyTo, Request, Service};
use pilcrow::protocol::ErrorCode;
use pilcrow::reactor::{Handler, Limits, Reactor};
use pilcrow::registry::Capacity;
use serde_json::value::RawValue;

use crate::bare;
use crate::capacity::raise_fd_limit;
use crate::usage::Process;

/// What a child is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Role {
    /// A Distributor of this crate.
    Distributor,
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
        let addr = line.trim().parse().map_err(|_| {
            let _ = child.kill();
            io::Error::other(format!("the child did not serve: {}", line.trim()))
        })?;
        Ok(Server {
            child,
            commands,
            answers,
            addr,
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
        Role::Distributor | Role::EchoNode => serve_on_reactor(role, connections),
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

fn serve_on_reactor(role: Role, connections: usize) -> io::Result<()> {
    raise_fd_limit()?;
    let defaults = Limits::default();
    let limits = Limits {
        max_connections: defaults.max_connections.max(connections + SPARE),
        ..defaults
    };
    let mut reactor = Reactor::new(limits)?;
    let any_port: SocketAddr = ([127, 0, 0, 1], 0).into();
    let mut distributor;
    let mut node;
    let (addr, handler): (_, &mut dyn Handler) = if role == Role::Distributor {
        let capacity = Capacity::default();
        distributor = Distributor::new(DistributorConfig {
            capacity: Capacity {
                max_entries: capacity.max_entries.max(connections + SPARE),
                ..capacity
            },
            // When it ends every session is sent the whole list once. In the midst of a run that
            // would be taken for what a change costs.
            warm_up: Duration::ZERO,
            ..DistributorConfig::default()
        });
        let addr = distributor.listen(reactor.net(), any_port)?;
        (Some(addr), &mut distributor)
    } else {
        let config = NodeConfig {
            name: "echo".to_owned(),
            urls: vec!["GET/echo".to_owned()],
            listen: Some(any_port),
            ..NodeConfig::default()
        };
        node = Node::new(config, Echo);
        (node.start(reactor.net())?, &mut node)
    };
    end_with_standard_input();
    if let Some(addr) = addr {
        let mut out = io::stdout().lock();
        writeln!(out, "{addr}")?;
        out.flush()?;
    }
    loop {
        reactor.turn(None, handler)?;
    }
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
    fn on_request(&mut self, fleet: &mut Fleet<'_>, request: &Request<'_>, reply_to: ReplyTo) {
        if (request.method(), request.uri()) != ("GET", "/echo") {
            fleet.refuse(reply_to, ErrorCode::NotFound, "here is only GET /echo");
            return;
        }
        match request.parse_params::<&RawValue>() {
            Ok(params) => fleet.reply(reply_to, params),
            Err(error) => {
                fleet.refuse(reply_to, ErrorCode::InvalidParameters, &error.to_string());
            }
        }
    }
}
