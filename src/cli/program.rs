//! The life cycle of a server program, from its settings to its exit. The Distributor and the
//! gateway share it.

use std::env;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use clap::{CommandFactory, Parser};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;
use tracing::{debug, error, info, warn};
use tracing_subscriber::filter::LevelFilter;

use crate::cli::background::Background;
use crate::cli::failure::{Failure, failed};
use crate::cli::listen::{self, ListenAddress};
use crate::cli::log::{Log, LogArgs, LogLevel};
use crate::cli::print::print;
use crate::cli::service_manager::{ServiceManager, Watchdog};
use crate::cli::settings::Settings;
use crate::reactor::Waker;
use crate::reactor::{Limits, Net, Reactor};

/// The server of a program. Its methods are called in the order of their definition.
pub(crate) trait Server: Sized + 'static {
    /// Prefix of its environment variables.
    const PREFIX: &'static str;
    type Args: Parser;
    /// Content of the token files.
    type Tokens: Send + 'static;

    fn log_args(args: &Self::Args) -> &LogArgs;

    /// Checks for values that are valid alone but not together.
    fn check(_args: &Self::Args) -> Result<(), Failure> {
        Ok(())
    }

    /// Reads the token files, at the start and again on SIGHUP. Returns `None` if there are none.
    fn read_tokens(args: &Self::Args) -> Result<Option<Self::Tokens>, Failure>;

    /// Validates the settings, and returns the limits of its loop and a function that starts it.
    fn plan(
        args: Self::Args,
        settings: &Settings,
        inherited: Vec<ListenAddress>,
        tokens: Option<Self::Tokens>,
    ) -> Result<(Limits, Start<Self>), Failure>;

    /// Replaces tokens after SIGHUP.
    fn set_tokens(&mut self, net: &mut Net, tokens: Self::Tokens);

    fn turn(&mut self, reactor: &mut Reactor, wait: Option<Duration>) -> io::Result<()>;

    /// Returns the status for a service manager, as in `serving 3 nodes`.
    fn status(&self) -> String;

    /// Closes all connections, turning the loop until that is done.
    fn stop(&mut self, event_loop: &mut EventLoop) -> io::Result<()>;

    /// Logs the stop on one line, and totals for debugging.
    fn log_stopped(&self, net: &Net, log: &Log);
}

/// Listens. Returns the server and the text that announces it on standard output.
pub(crate) type Start<S> = Box<dyn FnOnce(&mut Reactor) -> Result<(S, String), Failure>>;

/// The last line of an announcement for programs.
pub(crate) const SERVING: &str = "serving; SIGINT or SIGTERM stops it\n";

/// Serves until a signal stops the program. The flags begin after this many words of the command
/// line.
pub(crate) fn run<S: Server>(words_before_flags: usize) -> Result<(), Failure> {
    let words = env::args_os().skip(words_before_flags).collect();
    let settings = Settings::read(S::Args::command(), S::PREFIX, words)?;
    serve::<S>(&settings).map_err(|failure| settings.locate(failure))
}

fn serve<S: Server>(settings: &Settings) -> Result<(), Failure> {
    let inherited = listen::inherited()?;
    let args: S::Args = settings.parse()?;
    S::check(&args)?;
    let log = Log::start(S::log_args(&args));
    let tokens = S::read_tokens(&args)?;
    let (limits, start) = S::plan(args, settings, inherited, tokens)?;
    if settings.print_config() {
        return print(&settings.to_toml()?);
    }
    let (mut stdout, _flushes_when_dropped) = Background::start(io::stdout());
    let mut reactor = Reactor::new(limits).map_err(failed("cannot set up the event loop"))?;
    let (send_tokens, new_tokens) = mpsc::channel();
    let (at_start, level) = (settings.clone(), log.level());
    let service_manager = ServiceManager::from_env();
    // Signals are handled before the first connection is served, so that none is missed.
    let stops = handle_signals(reactor.waker(), service_manager.clone(), move || {
        if let Some(tokens) = reload::<S>(&at_start, &level) {
            // Sending fails only after the loop has ended.
            let _ = send_tokens.send(tokens);
        }
    })
    .map_err(failed("cannot handle signals"))?;
    let (mut server, announcement) = start(&mut reactor)?;
    let _ = stdout.write_all(announcement.as_bytes());
    service_manager.ready();

    let mut event_loop = EventLoop { reactor, stops };
    let watchdog = Watchdog::from_env(service_manager);
    let served = event_loop.serve(&mut server, watchdog, &new_tokens);
    server.log_stopped(event_loop.reactor.net(), &log);
    served.map_err(failed("waiting for events failed"))
}

/// Handles signals on a thread: wakes the loop, notifies the service manager, and returns the
/// number of SIGINT and SIGTERM. On SIGHUP it calls `reload`, which may wait for a disk.
///
/// SIGXFSZ is ignored: by default a limit of file sizes would end the program, and not only fail a
/// write.
fn handle_signals(
    waker: Waker,
    service_manager: ServiceManager,
    mut reload: impl FnMut() + Send + 'static,
) -> io::Result<Arc<AtomicU64>> {
    let stops = Arc::<AtomicU64>::default();
    let received = Arc::clone(&stops);
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGXFSZ])?;
    let handle = move || {
        for signal in signals.forever() {
            match signal {
                SIGHUP => {
                    service_manager.reloading();
                    reload();
                    service_manager.ready();
                }
                SIGXFSZ => continue,
                _ => {
                    service_manager.stopping();
                    received.fetch_add(1, Ordering::Release);
                }
            }
            if let Err(error) = waker.wake() {
                warn!(%error, "failed to wake the event loop");
            }
        }
    };
    let thread = thread::Builder::new().name("signals".to_owned());
    thread.spawn(handle)?;
    Ok(stops)
}

/// The loop of a program, and the signals that stop it.
pub(crate) struct EventLoop {
    pub(crate) reactor: Reactor,
    /// Number of SIGINT and SIGTERM. After the second, the loop does not wait for peers.
    stops: Arc<AtomicU64>,
}

impl EventLoop {
    fn serve<S: Server>(
        &mut self,
        server: &mut S,
        mut watchdog: Watchdog,
        new_tokens: &Receiver<S::Tokens>,
    ) -> io::Result<()> {
        while self.stops.load(Ordering::Acquire) == 0 {
            if let Some(tokens) = new_tokens.try_iter().last() {
                server.set_tokens(self.reactor.net(), tokens);
            }
            let wait = watchdog.turned(|| server.status());
            server.turn(&mut self.reactor, wait)?;
        }
        debug!(connections = self.reactor.net().connections(), "stopping");
        server.stop(self)
    }

    /// Turns until `is_done`, a second signal or the timeout.
    pub(crate) fn turn_until<S: Server>(
        &mut self,
        server: &mut S,
        timeout: Duration,
        is_done: impl Fn(&S, &mut Net) -> bool,
    ) -> io::Result<()> {
        let until = self.reactor.now() + timeout;
        while self.reactor.now() < until
            && !is_done(server, self.reactor.net())
            && self.stops.load(Ordering::Acquire) < 2
        {
            let left = until.saturating_since(self.reactor.now());
            server.turn(&mut self.reactor, Some(left))?;
        }
        Ok(())
    }
}

/// Reloads files on SIGHUP: the log level of the configuration file, and token files, whose content
/// it returns. An error in the configuration is logged and changes nothing; an error in a token
/// file leaves all tokens unchanged.
fn reload<S: Server>(at_start: &Settings, level: &LogLevel) -> Option<S::Tokens> {
    if let Err(failure) = reload_log_level::<S>(at_start, level) {
        let error = failure.message;
        error!(error, "SIGHUP: invalid configuration, nothing changed");
        return None;
    }
    // Only the files that were given at the start: others need a restart.
    match at_start.parse().and_then(|args| S::read_tokens(&args)) {
        Ok(None) => {
            if at_start.file.is_none() {
                info!("SIGHUP: nothing to reload without --token-file and --config");
            }
            None
        }
        Ok(tokens) => {
            info!("SIGHUP: token files reloaded");
            tokens
        }
        Err(failure) => {
            let error = failure.message;
            warn!(error, "SIGHUP: invalid token file, tokens unchanged");
            None
        }
    }
}

fn reload_log_level<S: Server>(at_start: &Settings, level: &LogLevel) -> Result<(), Failure> {
    let new = at_start.reread()?;
    let args: S::Args = new.parse()?;
    S::check(&args).map_err(|failure| new.locate(failure))?;
    let Some(file) = &new.file else {
        return Ok(());
    };
    let log_level = S::log_args(&args).log_level;
    // The next lines are logged with the more verbose of the two levels.
    let _ = level.reload(log_level.max(LevelFilter::current()));
    let file = &*file.path.to_string_lossy();
    info!(file, %log_level, "SIGHUP: configuration reloaded");
    if let Some(by) = new.overridden_by("log-level") {
        warn!(by, %log_level, "SIGHUP: log-level of the file is overridden");
    }
    let mut keys = at_start.changed(&new);
    keys.retain(|key| *key != "log-level");
    if !keys.is_empty() {
        let keys = keys.join(", ");
        warn!(keys, "SIGHUP: changed keys need a restart");
    }
    let _ = level.reload(log_level);
    Ok(())
}

/// Raises the soft limit of fds to the hard one, and returns the limit.
pub(crate) fn raise_fd_limit() -> u64 {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let current = maximum;
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current, maximum }) {
        warn!(%error, "failed to raise the soft fd limit to the hard limit");
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Returns the number of connections that the fd limit allows, at most `wanted`. It leaves
/// `reserved` fds free, and raises the fd limit first. Logs a warning if it returns fewer than were
/// requested explicitly (`is_explicit`).
pub(crate) fn max_connections(wanted: u64, is_explicit: bool, reserved: u64) -> usize {
    let fds = raise_fd_limit();
    let possible = fds - reserved.min(fds / 2);
    if is_explicit && wanted > possible {
        warn!(
            wanted,
            possible, fds, "fd limit (ulimit -n) too low for the wanted number of connections"
        );
    }
    usize::try_from(wanted.min(possible)).unwrap_or(usize::MAX)
}
