//! The gateway as a program: flags, then the reactor and its handler, then an exit code.

mod args;

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use crate::gateway::{Config, Gateway};
use crate::http;
use crate::protocol::Token;
use crate::reactor::{Limits, Reactor};
use clap::CommandFactory;
use tracing::{info, warn};

use crate::cli::failure::Failure;
use crate::cli::fd_limit;
use crate::cli::handover::Handover;
use crate::cli::inherited::{self, Inherited};
use crate::cli::lines::Lines;
use crate::cli::listen::{ListenAddress, Place, bind, refuse_public, resolve_one};
use crate::cli::log::Log;
use crate::cli::print::print;
use crate::cli::reload::Reload;
use crate::cli::service_manager::{ServiceManager, Watchdog};
use crate::cli::settings::{Settings, said_to, with_sources};
use crate::cli::signals::{self, Stop};
use crate::cli::text_file;
use args::{Args, PREFIX};

/// Runs the program.
pub fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell("gateway"),
    }
}

fn run() -> Result<(), Failure> {
    let Some(said) = said_to(with_sources(Args::command(), PREFIX))? else {
        return Ok(());
    };
    let settings = Settings::read(Args::command(), PREFIX, said)?;
    run_with(&settings).map_err(|failure| settings.blame(failure))
}

fn run_with(settings: &Settings) -> Result<(), Failure> {
    let inherited = inherited::take()?;
    let args: Args = settings.parse()?;
    let log = Log::start(&args.log);
    let listen_on = addresses_to_listen_on(&args, settings, inherited)?;
    let distributor = resolve_one("--distributor", &args.distributor, 9000)?;
    let token = args.token_file.as_deref().map(read_token).transpose()?;
    if settings.are_asked_for() {
        return print(&settings.to_toml()?);
    }
    let stdout = Lines::on(io::stdout()).map_err(failed("cannot start a thread"))?;
    let max_connections = fd_limit::connections(args.max_connections, true, FDS_KEPT_FREE);
    let mut reactor = Reactor::new(loop_limits(max_connections))
        .map_err(failed("cannot set up the event loop"))?;
    // Before anybody is served, so that no signal is missed.
    let new_token = Handover::default();
    let mut reload = Reload {
        settings: settings.clone(),
        level: log.level(),
        check: |settings| settings.parse::<Args>().map(drop),
        read_tokens: read_token_again(&args, &new_token),
    };
    let service_manager = ServiceManager::of_environment();
    let told = service_manager.clone();
    let stop = signals::listen(reactor.waker(), told, move || reload.run())
        .map_err(failed("cannot handle signals"))?;
    let mut gateway = Gateway::new(Config {
        name: args.name.clone(),
        token,
        deadline: args.deadline,
        cors_origin: args.cors_origin.clone(),
        http: http::Limits {
            max_connections,
            keep_alive: args.keep_alive,
            ..http::Limits::default()
        },
        ..Config::new(distributor)
    });
    for address in listen_on {
        bind(address, |place| {
            let bound = match place {
                Place::At(address) => gateway.listen(reactor.net(), address)?,
                Place::On(socket) => gateway.listen_on(reactor.net(), socket)?,
            };
            stdout.say(format!("listening on {bound}"));
            Ok(bound)
        })?;
    }
    gateway
        .start(reactor.net())
        .map_err(failed("cannot look for the Distributor"))?;
    stdout.say("serving; SIGINT or SIGTERM stops it".to_owned());
    info!(
        %distributor,
        max_connections,
        version = env!("CARGO_PKG_VERSION"),
        "serving"
    );
    service_manager.ready();

    let served = serve(
        &mut reactor,
        &mut gateway,
        &stop,
        &new_token,
        Watchdog::of_environment(service_manager),
        args.deadline,
    );
    let (counters, stats) = (reactor.net().counters(), gateway.stats());
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
    served.map_err(failed("waiting for events failed"))
}

fn failed(what: &'static str) -> impl Fn(io::Error) -> Failure {
    move |error| Failure::failed(format!("{what}: {error}"))
}

/// Replies that were begun get this long, beside the deadline, to be taken by their clients.
const LONGEST_GOODBYE: Duration = Duration::from_millis(500);

fn serve(
    reactor: &mut Reactor,
    gateway: &mut Gateway,
    stop: &Stop,
    new_token: &Handover<Token<'static>>,
    mut watchdog: Watchdog,
    deadline: Duration,
) -> io::Result<()> {
    while !stop.is_asked_for() {
        if let Some(token) = new_token.take() {
            gateway.set_token(reactor.net(), token);
        }
        let wait = watchdog.turned(|| format!("serving {} clients", gateway.clients()));
        reactor.turn(wait, gateway)?;
    }
    info!(clients = gateway.clients(), "stopping");
    gateway.stop(reactor.net());
    let until = reactor.now() + deadline + LONGEST_GOODBYE;
    while gateway.clients() > 0 && !stop.is_asked_for_again() {
        let left = until.saturating_since(reactor.now());
        if left.is_zero() {
            break;
        }
        reactor.turn(Some(left), gateway)?;
    }
    gateway.leave(reactor.net());
    let until = reactor.now() + LONGEST_GOODBYE;
    while reactor.net().connections() > 0 {
        let left = until.saturating_since(reactor.now());
        if left.is_zero() {
            break;
        }
        reactor.turn(Some(left), gateway)?;
    }
    Ok(())
}

fn addresses_to_listen_on(
    args: &Args,
    settings: &Settings,
    inherited: Vec<Inherited>,
) -> Result<Vec<ListenAddress>, Failure> {
    let addresses = ListenAddress::all(settings, "--listen", &args.listen, 8000, inherited)?;
    if !args.allow_anonymous {
        refuse_public(
            &addresses,
            "call every node; listen on a loopback address, or say --allow-anonymous if that is \
             meant",
        )?;
    }
    Ok(addresses)
}

fn read_token(file: &Path) -> Result<Token<'static>, Failure> {
    let token = text_file::first_token(file)
        .map_err(|why| Failure::usage(format!("--token-file {file:?}: {why}")))?;
    text_file::warn_if_public(file);
    Ok(Token::from(token))
}

fn read_token_again(
    args: &Args,
    token: &Handover<Token<'static>>,
) -> Option<Box<dyn FnMut() + Send>> {
    let (file, token) = (args.token_file.clone()?, token.clone());
    Some(Box::new(move || match read_token(&file) {
        Ok(read) => {
            info!("SIGHUP: read the token again");
            token.put(read);
        }
        Err(failure) => warn!("SIGHUP: the token stays as it was: {}", failure.message),
    }))
}

/// Connections to nodes, beside those of HTTP clients.
const MAX_NODES: usize = 10_000;

fn loop_limits(max_connections: usize) -> Limits {
    Limits {
        max_connections: max_connections + MAX_NODES,
        // What nodes are asked at once, and a reply with its head.
        max_unsent_bytes: 8 << 20,
        // A client that sends more than is taken must be able to read why.
        max_linger_bytes: 4 << 20,
        ..Limits::default()
    }
}

/// Sockets that are no connections of clients: listeners, the loop's own, logs, some nodes.
const FDS_KEPT_FREE: u64 = 256;
