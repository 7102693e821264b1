//! The gateway as a program: flags, then the reactor and its handler, then an exit code.

#![forbid(unsafe_code)]

mod address;
mod args;
// What all programs say, they say in the same way.
#[path = "../distributor/output.rs"]
mod output;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Parser;
use pilcrow::Waker;
use pilcrow::gateway::{Config, Gateway};
use pilcrow::http;
use pilcrow::protocol::Token;
use pilcrow::reactor::{Limits, Net, Reactor};
use pilcrow::store::{Disk, OsDisk};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing::{info, warn};

use address::resolve;
use args::Args;
use output::{Lines, Log};

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const CANNOT_LISTEN: u8 = 3;

/// Why the program ends otherwise than by a signal: the line that says so, and the exit code.
struct Failure {
    code: u8,
    message: String,
}

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) if !error.use_stderr() => {
            // Help or version. If nobody reads it there is nobody to tell.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        Err(error) => return fail(USAGE, &one_line(&error)),
    };
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => fail(failure.code, &failure.message),
    }
}

fn fail(code: u8, message: &str) -> ExitCode {
    let message = message.replace(char::is_control, " ");
    // A standard error that is closed or full must not change how the program ends.
    if let Ok(stderr) = Lines::on(io::stderr()) {
        stderr.say(format!("gateway: {message}"));
    }
    ExitCode::from(code)
}

/// What is wrong with the command line, without the usage that follows it.
fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let lines = text.lines().map(str::trim);
    let said: Vec<&str> = lines
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
        .filter(|line| !line.is_empty())
        .collect();
    let said = said.join(" ");
    format!(
        "{} (see --help)",
        said.strip_prefix("error: ").unwrap_or(&said)
    )
}

fn run(args: &Args) -> Result<(), Failure> {
    let listen_on = addresses_to_listen_on(args)?;
    let distributor = resolve("--distributor", &args.distributor, 9000)
        .map_err(|failure| Failure {
            code: USAGE,
            ..failure
        })?
        .first()
        .copied();
    let Some(distributor) = distributor else {
        return Err(Failure {
            code: USAGE,
            message: format!(
                "--distributor {}: the name has no address",
                args.distributor
            ),
        });
    };
    let token = args.token_file.as_deref().map(read_token).transpose()?;
    let log = Log::start(args);
    let stdout = Lines::on(io::stdout()).map_err(failed("cannot start a thread"))?;
    let max_connections = max_connections(args.max_connections);
    let mut reactor = Reactor::new(loop_limits(max_connections))
        .map_err(failed("cannot set up the event loop"))?;
    // Before anybody is served, so that no signal is missed.
    let stop = stop_on_signals(reactor.waker()).map_err(failed("cannot handle signals"))?;
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
    for (text, addresses) in listen_on {
        listen(reactor.net(), &mut gateway, text, &addresses, &stdout)?;
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

    let served = serve(&mut reactor, &mut gateway, &stop, args.deadline);
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
    move |error| Failure {
        code: FAILED,
        message: format!("{what}: {error}"),
    }
}

/// Replies that were begun get this long, beside the deadline, to be taken by their clients.
const LONGEST_GOODBYE: Duration = Duration::from_millis(500);

fn serve(
    reactor: &mut Reactor,
    gateway: &mut Gateway,
    stop: &AtomicBool,
    deadline: Duration,
) -> io::Result<()> {
    while !stop.load(Ordering::Acquire) {
        reactor.turn(None, gateway)?;
    }
    info!(clients = gateway.clients(), "stopping");
    gateway.stop(reactor.net());
    let until = reactor.now() + deadline + LONGEST_GOODBYE;
    while gateway.clients() > 0 {
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

fn stop_on_signals(waker: Waker) -> io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let stopper = Arc::clone(&stop);
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for _ in signals.forever() {
                stopper.store(true, Ordering::Release);
                if let Err(error) = waker.wake() {
                    warn!(%error, "could not wake the loop");
                }
            }
        })?;
    Ok(stop)
}

fn addresses_to_listen_on(args: &Args) -> Result<Vec<(&str, Vec<SocketAddr>)>, Failure> {
    let mut all = Vec::new();
    for text in &args.listen {
        let addresses = resolve("--listen", text, 8000)?;
        let public = addresses
            .iter()
            .find(|address| !address.ip().to_canonical().is_loopback());
        if let Some(public) = public
            && !args.allow_anonymous
        {
            return Err(Failure {
                code: USAGE,
                message: format!(
                    "--listen {text}: whoever reaches {public} could call every node; listen on a \
                     loopback address, or say --allow-anonymous if that is meant"
                ),
            });
        }
        all.push((text.as_str(), addresses));
    }
    Ok(all)
}

fn listen(
    net: &mut Net,
    gateway: &mut Gateway,
    text: &str,
    addresses: &[SocketAddr],
    stdout: &Lines,
) -> Result<(), Failure> {
    let mut unavailable = None;
    let mut chosen_port = None;
    for address in addresses {
        let mut address = *address;
        if address.port() == 0 {
            // All addresses of a name get the port that the first one was given.
            address.set_port(chosen_port.unwrap_or(0));
        }
        match gateway.listen(net, address) {
            Ok(bound) => {
                chosen_port = Some(bound.port());
                stdout.say(format!("listening on {bound}"));
            }
            Err(error) => match error.kind() {
                // A name can have addresses that this machine is not set up for, as localhost has
                // ::1 where there is no IPv6.
                io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported => {
                    unavailable = Some((address, error));
                }
                _ => return Err(cannot_listen(address, &error)),
            },
        }
    }
    if let Some((address, error)) = unavailable {
        if chosen_port.is_none() {
            return Err(cannot_listen(address, &error));
        }
        warn!(%address, %error, "not listening on this address of {text}");
    }
    Ok(())
}

fn cannot_listen(address: SocketAddr, error: &io::Error) -> Failure {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => "; stop what listens there, or choose another with --listen",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need a privilege",
        io::ErrorKind::AddrNotAvailable => "; it is not an address of this machine",
        _ => "",
    };
    Failure {
        code: CANNOT_LISTEN,
        message: format!("cannot listen on {address}: {error}{advice}"),
    }
}

const MAX_TOKEN_FILE_BYTES: u64 = 64 << 10;

/// The first word of the first line that has one.
fn read_token(file: &Path) -> Result<Token<'static>, Failure> {
    let wrong = |why: &str| Failure {
        code: USAGE,
        message: format!("--token-file {file:?}: {why}"),
    };
    let bytes = OsDisk::default()
        .read(file, MAX_TOKEN_FILE_BYTES)
        .map_err(|error| wrong(&format!("cannot read it: {error}")))?;
    let text = String::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8"))?;
    let mut words = text
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|word| !word.starts_with('#'));
    let token = words
        .next()
        .ok_or_else(|| wrong("there is no token in it"))?;
    Ok(Token::from(token.to_owned()))
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

/// How many clients this process can serve. Raises the soft fd limit to the hard one first.
fn max_connections(wanted: u64) -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit = raised,
        Err(error) => warn!(%error, "could not raise the limit of open files to the hard one"),
    }
    let fds = limit.current.unwrap_or(u64::MAX);
    let possible = fds - FDS_KEPT_FREE.min(fds / 2);
    if wanted > possible {
        warn!(
            wanted,
            possible, fds, "fewer connections than wanted: the fd limit (ulimit -n) is too low"
        );
    }
    usize::try_from(wanted.min(possible)).unwrap_or(usize::MAX)
}
