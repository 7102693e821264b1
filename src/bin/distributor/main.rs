//! The Distributor as a program: flags, then the reactor and its handler, then an exit code.

#![forbid(unsafe_code)]

mod args;

use std::io::{self, IsTerminal, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Parser;
use pilcrow::Waker;
use pilcrow::distributor::Distributor;
use pilcrow::reactor::{Net, Reactor};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing::{info, warn};
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};

use args::{Args, LogFormat};

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
    // A standard error that is closed or full must not change how the program ends.
    let message = message.replace(char::is_control, " ");
    let _ = writeln!(io::stderr(), "distributor: {message}");
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
    args.check().map_err(|message| Failure {
        code: USAGE,
        message,
    })?;
    let addresses = addresses_to_listen_on(args)?;
    let log = Log::start(args);
    let max_connections = max_connections(args.connections.max_connections);
    let mut reactor = Reactor::new(args.limits(max_connections)).map_err(|error| Failure {
        code: FAILED,
        message: format!("cannot set up the event loop: {error}"),
    })?;
    let mut distributor = Distributor::new(args.config());

    // Before anybody is served, so that no signal is missed.
    let stop = stop_on_signals(reactor.waker()).map_err(|error| Failure {
        code: FAILED,
        message: format!("cannot handle signals: {error}"),
    })?;
    for address in addresses {
        listen(reactor.net(), &mut distributor, &address)?;
    }
    print_line("serving; SIGINT or SIGTERM stops it");
    info!(
        max_connections,
        version = env!("CARGO_PKG_VERSION"),
        "serving"
    );

    let served = serve(&mut reactor, &mut distributor, &stop);
    let (counters, stats) = (reactor.net().counters(), distributor.stats());
    info!(
        accepted = counters.accepted,
        refused_connections = counters.refused + counters.shed,
        limits_broken = counters.limits_broken,
        registrations = stats.registrations,
        refused_packets = stats.refused_packets,
        pushes = stats.pushes,
        lists_sent = stats.lists_sent,
        log_lines_lost = log.lines_lost(),
        "stopped"
    );
    served.map_err(|error| Failure {
        code: FAILED,
        message: format!("waiting for events failed: {error}"),
    })
}

/// Frames that were begun get this long to be taken by their peers.
const LONGEST_GOODBYE: Duration = Duration::from_millis(500);

fn serve(
    reactor: &mut Reactor,
    distributor: &mut Distributor,
    stop: &AtomicBool,
) -> io::Result<()> {
    while !stop.load(Ordering::Acquire) {
        reactor.turn(None, distributor)?;
    }
    info!(connections = reactor.net().connections(), "stopping");
    distributor.stop(reactor.net());
    let until = reactor.now() + LONGEST_GOODBYE;
    while reactor.net().connections() > 0 {
        let left = until.saturating_since(reactor.now());
        if left.is_zero() {
            break;
        }
        reactor.turn(Some(left), distributor)?;
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

/// One `--listen`: what was written, and the addresses that it means.
struct ListenAddress {
    text: String,
    addresses: Vec<SocketAddr>,
}

fn addresses_to_listen_on(args: &Args) -> Result<Vec<ListenAddress>, Failure> {
    let mut all = Vec::new();
    for text in &args.listen {
        let addresses = resolve(text)?;
        let public = addresses
            .iter()
            .find(|address| !address.ip().to_canonical().is_loopback());
        if let Some(public) = public
            && !args.allow_anonymous
        {
            return Err(Failure {
                code: USAGE,
                message: format!(
                    "--listen {text}: whoever reaches {public} could register and read the list; \
                     listen on a loopback address, or say --allow-anonymous if that is meant"
                ),
            });
        }
        all.push(ListenAddress {
            text: text.clone(),
            addresses,
        });
    }
    Ok(all)
}

fn resolve(text: &str) -> Result<Vec<SocketAddr>, Failure> {
    if let Some(port) = text
        .strip_prefix("localhost:")
        .and_then(|port| port.parse().ok())
    {
        // By its definition (RFC 6761) both loopback addresses, whatever a hosts file says.
        return Ok(vec![
            SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            SocketAddr::from((Ipv6Addr::LOCALHOST, port)),
        ]);
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        let example = SocketAddr::new(address, 9000);
        return Err(Failure {
            code: USAGE,
            message: format!("--listen {text}: it takes a port as well, as in {example}"),
        });
    }
    let host = text.rsplit_once(':').map_or("", |(host, _)| host);
    if host.is_empty() || host.contains(['/', '*']) {
        return Err(Failure {
            code: USAGE,
            message: format!("--listen {text}: it takes ADDRESS:PORT, as in 127.0.0.1:9000"),
        });
    }
    match text.to_socket_addrs() {
        Ok(found) => {
            let mut addresses = Vec::new();
            for address in found {
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
            Ok(addresses)
        }
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Err(Failure {
            code: USAGE,
            message: format!(
                "--listen {text}: {error}; it takes ADDRESS:PORT, as in 127.0.0.1:9000"
            ),
        }),
        Err(error) => Err(Failure {
            code: CANNOT_LISTEN,
            message: format!("--listen {text}: the name has no address: {error}"),
        }),
    }
}

fn listen(
    net: &mut Net,
    distributor: &mut Distributor,
    wanted: &ListenAddress,
) -> Result<(), Failure> {
    let mut unavailable = None;
    let mut chosen_port = None;
    for address in &wanted.addresses {
        let mut address = *address;
        if address.port() == 0 {
            // All addresses of a name get the port that the first one was given.
            address.set_port(chosen_port.unwrap_or(0));
        }
        match distributor.listen(net, address) {
            Ok(bound) => {
                chosen_port = Some(bound.port());
                print_line(&format!("listening on {bound}"));
            }
            Err(error) => match error.kind() {
                // A name can have addresses that this machine is not set up for, as localhost has
                // ::1 where there is no IPv6.
                io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported => {
                    unavailable = Some((address, error));
                }
                kind => return Err(cannot_listen(address, &error, kind)),
            },
        }
    }
    match (chosen_port, unavailable) {
        (None, Some((address, error))) => Err(cannot_listen(address, &error, error.kind())),
        (None, None) => Err(Failure {
            code: CANNOT_LISTEN,
            message: format!("--listen {}: the name has no address", wanted.text),
        }),
        (Some(_), Some((address, error))) => {
            warn!(%address, %error, "not listening on this address of {}", wanted.text);
            Ok(())
        }
        (Some(_), None) => Ok(()),
    }
}

fn cannot_listen(address: SocketAddr, error: &io::Error, kind: io::ErrorKind) -> Failure {
    let advice = match kind {
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

/// Sockets that are no connections: listeners, the loop's own, logs, refusals being read.
const FDS_KEPT_FREE: u64 = 64;
const DEFAULT_MAX_CONNECTIONS: u64 = 10_000;

/// How many connections this process can serve. Raises the soft fd limit to the hard one first.
fn max_connections(wanted: Option<u64>) -> usize {
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
    if let Some(wanted) = wanted
        && wanted > possible
    {
        warn!(
            wanted,
            possible, fds, "fewer connections than wanted: the fd limit (ulimit -n) is too low"
        );
    }
    let connections = wanted.unwrap_or(DEFAULT_MAX_CONNECTIONS).min(possible);
    usize::try_from(connections).unwrap_or(usize::MAX)
}

/// Says something on standard output. Not with `println!`: that panics where nobody can read it.
fn print_line(line: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Lines that wait to be written by the log's own thread. More are lost, and counted.
const MAX_LOG_LINES_WAITING: usize = 10_000;

/// Logging to standard error through a thread of its own, so that a slow reader of it never holds
/// up the loop.
struct Log {
    writer: NonBlocking,
    _flushes_when_dropped: WorkerGuard,
}

impl Log {
    fn start(args: &Args) -> Log {
        let (writer, guard) = NonBlockingBuilder::default()
            .lossy(true)
            .buffered_lines_limit(MAX_LOG_LINES_WAITING)
            .thread_name("log")
            .finish(io::stderr());
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(args.log_level)
            .with_target(false)
            .with_writer(writer.clone());
        // It fails only if there is one already.
        let _ = match args.log_format {
            LogFormat::Text => subscriber.with_ansi(io::stderr().is_terminal()).try_init(),
            LogFormat::Json => subscriber.json().flatten_event(true).try_init(),
        };
        Log {
            writer,
            _flushes_when_dropped: guard,
        }
    }

    fn lines_lost(&self) -> usize {
        self.writer.error_counter().dropped_lines()
    }
}
