//! The gateway as a program.

mod args;
mod subscribe;

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use clap::FromArgMatches;
use tracing::{debug, info};

use crate::cli::address::without_lookup;
use crate::cli::failure::{Failure, failed};
use crate::cli::generate::Generate;
use crate::cli::listen::{self, ListenAddress, Listening, Place, bind_all, reject_public};
use crate::cli::log::{Log, LogArgs};
use crate::cli::program::{self, EventLoop, SERVING, Server, Start};
use crate::cli::settings::{Settings, parse_command_line};
use crate::cli::text_file;
use crate::cli::usage_error::usage_error;
use crate::gateway::{Config, Gateway};
use crate::host_port::HostPort;
use crate::http;
use crate::protocol::Token;
use crate::reactor::{Limits, Net, Reactor};
use args::{Args, PREFIX, command_line};

/// Runs the program.
pub fn main() -> ExitCode {
    Failure::exit_code("gateway", run())
}

fn run() -> Result<(), Failure> {
    let Some(matches) = parse_command_line(command_line())? else {
        return Ok(());
    };
    if matches.subcommand_name().is_none() {
        return program::run::<GatewayServer>(1);
    }
    let generate = Generate::from_arg_matches(&matches);
    let generate = generate.map_err(|error| usage_error(&error, &command_line()))?;
    generate.run(command_line())
}

struct GatewayServer {
    gateway: Gateway,
    deadline: Duration,
}

/// Maximum time to wait, after the deadline, until clients have read the replies that are partly
/// written.
const STOP_TIMEOUT: Duration = Duration::from_millis(500);
/// Maximum number of connections to nodes, in addition to those of HTTP clients.
const MAX_NODES: usize = 10_000;
/// Number of connections for health checks and metrics. They have reserved fds.
const MAX_ADMIN_CONNECTIONS: usize = http::Probes::MAX_CONNECTIONS;
/// Number of fds for everything but clients: listeners, the loop, logs, some nodes.
const RESERVED_FDS: u64 = 256;

impl Server for GatewayServer {
    const PREFIX: &'static str = PREFIX;
    type Args = Args;
    type Tokens = Token<'static>;

    fn log_args(args: &Args) -> &LogArgs {
        &args.log
    }

    fn check(args: &Args) -> Result<(), Failure> {
        if args.admin_listen.len() > 1 && args.admin_listen.contains(&None) {
            return Err(Failure::usage(
                "--admin-listen none: combined with an address; remove one of them",
            ));
        }
        Ok(())
    }

    fn read_tokens(args: &Args) -> Result<Option<Token<'static>>, Failure> {
        let token = text_file::token(args.token_file.as_deref())?;
        Ok(token.map(Token::from))
    }

    fn plan(
        args: Args,
        settings: &Settings,
        inherited: Vec<ListenAddress>,
        token: Option<Token<'static>>,
    ) -> Result<(Limits, Start<Self>), Failure> {
        let addresses = listen::addresses(settings, "--listen", &args.listen, inherited)?;
        let mut at = without_lookup(&args.distributor).into_iter();
        if at.any(|at| addresses.iter().any(|listen| listen.is_reached_by(at))) {
            return Err(Failure::usage(format!(
                "--distributor {}: this gateway itself listens there (--listen); give the address \
                 of the Distributor",
                args.distributor
            )));
        }
        let admin: Vec<HostPort> = args.admin_listen.iter().flatten().cloned().collect();
        let admin = listen::addresses(settings, "--admin-listen", &admin, Vec::new())?;
        if !args.public.allow_anonymous {
            let why = "call every node; listen on a loopback address, or permit it with \
                       --allow-anonymous";
            reject_public(&addresses, why)?;
            let why = "read the metrics; listen on a loopback address, or permit it with \
                       --allow-anonymous";
            reject_public(&admin, why)?;
        }
        let interest = subscribe::interest(&args.subscribe);
        let interest = interest.map_err(|why| Failure::usage(format!("--subscribe: {why}")))?;
        let max_connections = program::max_connections(args.max_connections, true, RESERVED_FDS);
        let limits = Limits {
            max_connections: max_connections + MAX_NODES + MAX_ADMIN_CONNECTIONS,
            // Room for requests to nodes, and for a reply with its head.
            max_unsent_bytes: 8 << 20,
            // A client that exceeds a limit must be able to read the response.
            max_linger_bytes: 4 << 20,
            ..Limits::default()
        };
        let start = move |reactor: &mut Reactor| {
            let mut gateway = Gateway::new(Config {
                name: args.name,
                token,
                interest,
                deadline: args.deadline,
                cors_origin: args.cors_origin,
                map_errorcodes: args.map_errorcodes,
                max_plain_in_flight_bytes: usize::try_from(args.max_plain_in_flight)
                    .unwrap_or(usize::MAX),
                http: http::Limits {
                    max_connections,
                    keep_alive: args.keep_alive,
                    ..http::Limits::default()
                },
                ..Config::new(args.distributor.clone())
            });
            let mut listening = Listening::default();
            let bound = bind_all(addresses, &mut listening, |place| match place {
                Place::Address(address) => gateway.listen(reactor.net(), address),
                Place::Socket(socket) => gateway.listen_on(reactor.net(), socket),
            })?;
            let admin = bind_all(admin, &mut listening, |place| match place {
                Place::Address(address) => gateway.listen_admin(reactor.net(), address),
                Place::Socket(_) => Err(io::ErrorKind::Unsupported.into()),
            })?;
            gateway
                .start(reactor.net())
                .map_err(failed("cannot connect to the Distributor"))?;
            info!(
                distributor = %args.distributor,
                max_connections,
                version = env!("CARGO_PKG_VERSION"),
                "serving"
            );
            let admin = admin
                .iter()
                .map(|bound| format!("admin on http://{bound}/\n"));
            let bound = bound.iter().map(|bound| format!("listening on {bound}\n"));
            let announcement = admin.chain(bound).collect::<String>() + SERVING;
            let server = GatewayServer {
                gateway,
                deadline: args.deadline,
            };
            Ok((server, announcement))
        };
        Ok((limits, Box::new(start)))
    }

    fn set_tokens(&mut self, net: &mut Net, token: Token<'static>) {
        self.gateway.set_token(net, token);
    }

    fn turn(&mut self, reactor: &mut Reactor, wait: Option<Duration>) -> io::Result<()> {
        reactor.turn(wait, &mut self.gateway)
    }

    fn status(&self) -> String {
        format!("serving {} clients", self.gateway.clients())
    }

    fn stop(&mut self, event_loop: &mut EventLoop) -> io::Result<()> {
        self.gateway.stop(event_loop.reactor.net());
        let timeout = self.deadline + STOP_TIMEOUT;
        event_loop.turn_until(self, timeout, |server, _| server.gateway.clients() == 0)?;
        self.gateway.leave(event_loop.reactor.net());
        event_loop.turn_until(self, STOP_TIMEOUT, |_, net| net.connections() == 0)
    }

    fn log_stopped(&self, net: &Net, log: &Log) {
        let (counters, stats) = (net.counters(), self.gateway.stats());
        debug!(
            accepted = counters.accepted,
            answered = stats.answered,
            replied = stats.replied,
            refused = stats.refused,
            limits_broken = counters.limits_broken,
            log_lines_lost = log.lines_lost(),
            log_errors = log.errors(),
            "totals"
        );
        info!(answered = stats.answered, "stopped");
    }
}
