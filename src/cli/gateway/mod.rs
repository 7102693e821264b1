//! The gateway as a program: its settings, and what serves them.

mod args;

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::CommandFactory;
use tracing::info;

use crate::cli::failure::{Failure, failed};
use crate::cli::fd_limit;
use crate::cli::inherited::Inherited;
use crate::cli::latest::Latest;
use crate::cli::lines::Lines;
use crate::cli::listen::{ListenAddress, Place, bind_all, refuse_public};
use crate::cli::log::Log;
use crate::cli::program::{self, EventLoop, Server};
use crate::cli::reload::{ReadAgain, read_again};
use crate::cli::resolver::distributor_address;
use crate::cli::settings::{Settings, said_to, with_sources};
use crate::cli::text_file;
use crate::gateway::{Config, Gateway};
use crate::http;
use crate::protocol::Token;
use crate::reactor::{Limits, Net, Reactor};
use args::{Args, PREFIX};

/// Runs the program.
pub fn main() -> ExitCode {
    Failure::exit_code("gateway", run())
}

fn run() -> Result<(), Failure> {
    let Some(said) = said_to(with_sources(Args::command(), PREFIX))? else {
        return Ok(());
    };
    let settings = Settings::read(Args::command(), PREFIX, said)?;
    program::run::<GatewayServer>(&settings).map_err(|failure| settings.blame(failure))
}

/// What is to be served.
struct Plan {
    args: Args,
    addresses: Vec<ListenAddress>,
    token: Option<Token<'static>>,
    new_token: Latest<Token<'static>>,
    max_connections: usize,
}

struct GatewayServer {
    gateway: Gateway,
    new_token: Latest<Token<'static>>,
    deadline: Duration,
}

/// Replies that were begun get this long, after the deadline, to be taken by their clients.
const LONGEST_GOODBYE: Duration = Duration::from_millis(500);
/// Connections to nodes, beside those of HTTP clients.
const MAX_NODES: usize = 10_000;
/// Sockets that are no connections of clients: listeners, the loop's own, logs, some nodes.
const FDS_KEPT_FREE: u64 = 256;

impl Server for GatewayServer {
    type Args = Args;
    type Plan = Plan;

    fn plan(args: Args, settings: &Settings, inherited: Vec<Inherited>) -> Result<Plan, Failure> {
        let addresses = ListenAddress::all(settings, "--listen", &args.listen, inherited)?;
        if !args.allow_anonymous {
            refuse_public(
                &addresses,
                "call every node; listen on a loopback address, or say --allow-anonymous if that \
                 is meant",
            )?;
        }
        Ok(Plan {
            token: args.token_file.as_deref().map(read_token).transpose()?,
            new_token: Latest::default(),
            max_connections: fd_limit::connections(args.max_connections, true, FDS_KEPT_FREE),
            args,
            addresses,
        })
    }

    fn limits(plan: &Plan) -> Limits {
        Limits {
            max_connections: plan.max_connections + MAX_NODES,
            // What nodes are asked at once, and a reply with its head.
            max_unsent_bytes: 8 << 20,
            // A client that sends more than is taken must be able to read why.
            max_linger_bytes: 4 << 20,
            ..Limits::default()
        }
    }

    fn read_again(plan: &Plan) -> Option<ReadAgain> {
        let (file, token) = (plan.args.token_file.clone()?, plan.new_token.clone());
        Some(Box::new(move || {
            read_again("the token", || read_token(&file), &token);
        }))
    }

    fn start(plan: Plan, reactor: &mut Reactor, stdout: &Lines) -> Result<Self, Failure> {
        let args = plan.args;
        let mut gateway = Gateway::new(Config {
            name: args.name,
            token: plan.token,
            deadline: args.deadline,
            cors_origin: args.cors_origin,
            max_plain_in_flight_bytes: usize::try_from(args.max_plain_in_flight)
                .unwrap_or(usize::MAX),
            http: http::Limits {
                max_connections: plan.max_connections,
                keep_alive: args.keep_alive,
                ..http::Limits::default()
            },
            ..Config::new(distributor_address(&args.distributor, reactor.waker()))
        });
        bind_all(plan.addresses, |place| {
            let bound = match place {
                Place::At(address) => gateway.listen(reactor.net(), address)?,
                Place::On(socket) => gateway.listen_on(reactor.net(), socket)?,
            };
            stdout.say(format!("listening on {bound}"));
            Ok(bound)
        })?;
        gateway
            .start(reactor.net())
            .map_err(failed("cannot look for the Distributor"))?;
        info!(
            distributor = %args.distributor,
            max_connections = plan.max_connections,
            version = env!("CARGO_PKG_VERSION"),
            "serving"
        );
        Ok(GatewayServer {
            gateway,
            new_token: plan.new_token,
            deadline: args.deadline,
        })
    }

    fn exchange(&mut self, net: &mut Net) {
        if let Some(token) = self.new_token.take() {
            self.gateway.set_token(net, token);
        }
    }

    fn turn(&mut self, reactor: &mut Reactor, wait: Option<Duration>) -> io::Result<()> {
        reactor.turn(wait, &mut self.gateway)
    }

    fn status(&self) -> String {
        format!("serving {} clients", self.gateway.clients())
    }

    fn stop(&mut self, event_loop: &mut EventLoop) -> io::Result<()> {
        self.gateway.stop(event_loop.reactor.net());
        let longest = self.deadline + LONGEST_GOODBYE;
        event_loop.turn_until(self, longest, |server, _| server.gateway.clients() == 0)?;
        self.gateway.leave(event_loop.reactor.net());
        event_loop.turn_until(self, LONGEST_GOODBYE, |_, net| net.connections() == 0)
    }

    fn log_stopped(&self, net: &Net, log: &Log) {
        let (counters, stats) = (net.counters(), self.gateway.stats());
        info!(
            accepted = counters.accepted,
            answered = stats.answered,
            replied = stats.replied,
            refused = stats.refused,
            limits_broken = counters.limits_broken,
            log_lines_lost = log.lines_lost(),
            log_errors = log.errors(),
            "stopped"
        );
    }
}

fn read_token(file: &Path) -> Result<Token<'static>, Failure> {
    let token = text_file::first_token("--token-file", file)?;
    text_file::warn_if_public(file);
    Ok(Token::from(token))
}
