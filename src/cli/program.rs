//! The life of a server program, from its settings to its exit: what the Distributor and the gateway
//! share.

use std::env;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use clap::{CommandFactory, Parser};
use tracing::{error, info, warn};
use tracing_subscriber::filter::LevelFilter;

use crate::cli::failure::{Failure, failed};
use crate::cli::latest::Latest;
use crate::cli::lines::Lines;
use crate::cli::listen::{self, Inherited};
use crate::cli::log::{Log, LogArgs, LogLevel};
use crate::cli::print::print;
use crate::cli::service_manager::{ServiceManager, Watchdog};
use crate::cli::settings::Settings;
use crate::cli::signals::{self, Stop};
use crate::reactor::{Limits, Net, Reactor};

/// What a program serves. Its methods are called in their order.
pub(crate) trait Server: Sized + 'static {
    /// The prefix of its environment variables.
    const PREFIX: &'static str;
    type Args: Parser;
    /// The content of token files.
    type Tokens: Send + 'static;
    /// What to serve, after all of it is validated.
    type Plan;

    fn log_args(args: &Self::Args) -> &LogArgs;

    /// Fails for values that are valid alone but not together.
    fn check(_args: &Self::Args) -> Result<(), Failure> {
        Ok(())
    }

    /// Reads the token files, at the start and again on SIGHUP. `None`: there are none.
    fn read_tokens(args: &Self::Args) -> Result<Option<Self::Tokens>, Failure>;

    /// Validates what to serve. Starts nothing.
    fn plan(
        args: Self::Args,
        settings: &Settings,
        inherited: Vec<Inherited>,
        tokens: Option<Self::Tokens>,
    ) -> Result<(Self::Plan, Limits), Failure>;

    /// Listens. Prints each address on `stdout`.
    fn start(plan: Self::Plan, reactor: &mut Reactor, stdout: &Lines) -> Result<Self, Failure>;

    /// Replaces tokens after SIGHUP.
    fn set_tokens(&mut self, net: &mut Net, tokens: Self::Tokens);

    fn turn(&mut self, reactor: &mut Reactor, wait: Option<Duration>) -> io::Result<()>;

    /// Returns the status for a service manager, as in `serving 3 nodes`.
    fn status(&self) -> String;

    /// Closes all connections, turning the loop as long as that needs.
    fn stop(&mut self, event_loop: &mut EventLoop) -> io::Result<()>;

    /// Logs totals.
    fn log_stopped(&self, net: &Net, log: &Log);
}

/// Serves until a signal stops the program. Its flags begin after this many words of the command
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
    let (plan, limits) = S::plan(args, settings, inherited, tokens)?;
    if settings.print_config() {
        return print(&settings.to_toml()?);
    }
    let stdout = Lines::on(io::stdout()).map_err(failed("cannot start a thread"))?;
    let mut reactor = Reactor::new(limits).map_err(failed("cannot set up the event loop"))?;
    let tokens = Arc::<Latest<S::Tokens>>::default();
    let mut reload = Reload::<S> {
        settings: settings.clone(),
        level: log.level(),
        tokens: Arc::clone(&tokens),
    };
    let service_manager = ServiceManager::from_env();
    // Before the first connection is served, so that no signal is missed.
    let stop = signals::listen(reactor.waker(), service_manager.clone(), move || {
        reload.run();
    })
    .map_err(failed("cannot handle signals"))?;
    let mut server = S::start(plan, &mut reactor, &stdout)?;
    stdout.print("serving; SIGINT or SIGTERM stops it".to_owned());
    service_manager.ready();

    let mut event_loop = EventLoop { reactor, stop };
    let watchdog = Watchdog::from_env(service_manager);
    let served = event_loop.serve(&mut server, watchdog, &tokens);
    server.log_stopped(event_loop.reactor.net(), &log);
    served.map_err(failed("waiting for events failed"))
}

/// The loop of a program, and the signals that stop it.
pub(crate) struct EventLoop {
    pub(crate) reactor: Reactor,
    stop: Stop,
}

impl EventLoop {
    fn serve<S: Server>(
        &mut self,
        server: &mut S,
        mut watchdog: Watchdog,
        new_tokens: &Latest<S::Tokens>,
    ) -> io::Result<()> {
        while !self.stop.is_requested() {
            if let Some(tokens) = new_tokens.take() {
                server.set_tokens(self.reactor.net(), tokens);
            }
            let wait = watchdog.turned(|| server.status());
            server.turn(&mut self.reactor, wait)?;
        }
        info!(connections = self.reactor.net().connections(), "stopping");
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
        while !is_done(server, self.reactor.net()) && !self.stop.is_urgent() {
            let left = until.saturating_since(self.reactor.now());
            if left.is_zero() {
                break;
            }
            server.turn(&mut self.reactor, Some(left))?;
        }
        Ok(())
    }
}

/// What SIGHUP reloads: token files, and the log level of the configuration file.
struct Reload<S: Server> {
    /// The settings at the start.
    settings: Settings,
    level: LogLevel,
    /// Tokens for the loop.
    tokens: Arc<Latest<S::Tokens>>,
}

impl<S: Server> Reload<S> {
    /// Reloads the files. An error in the configuration is logged and changes nothing, one in a
    /// token file leaves all tokens unchanged.
    fn run(&mut self) {
        if let Err(failure) = self.reload_configuration() {
            let error = failure.message;
            return error!(error, "SIGHUP: invalid configuration, nothing changed");
        }
        // The files that were named at the start: others need a restart.
        match self.settings.parse().and_then(|args| S::read_tokens(&args)) {
            Ok(Some(tokens)) => {
                info!("SIGHUP: token files reloaded");
                self.tokens.set(tokens);
            }
            Ok(None) if self.settings.file().is_none() => {
                info!("SIGHUP: nothing to reload without --token-file and --config");
            }
            Ok(None) => {}
            Err(failure) => {
                let error = failure.message;
                warn!(error, "SIGHUP: invalid token file, tokens unchanged");
            }
        }
    }

    /// Takes the log level. Other keys need a restart.
    fn reload_configuration(&self) -> Result<(), Failure> {
        let new = self.settings.reread()?;
        let args: S::Args = new.parse()?;
        S::check(&args).map_err(|failure| new.locate(failure))?;
        let Some(file) = new.file() else {
            return Ok(());
        };
        let level = S::log_args(&args).log_level;
        // These lines are logged with the more verbose of the two levels.
        let _ = self.level.reload(level.max(LevelFilter::current()));
        let file = &*file.to_string_lossy();
        info!(file, log_level = %level, "SIGHUP: configuration reloaded");
        if let Some(by) = new.overridden_by("log-level") {
            warn!(by, log_level = %level, "SIGHUP: log-level of the file is overridden");
        }
        let mut keys = self.settings.changed(&new);
        keys.retain(|key| *key != "log-level");
        if !keys.is_empty() {
            let keys = keys.join(", ");
            warn!(keys, "SIGHUP: changed keys need a restart");
        }
        let _ = self.level.reload(level);
        Ok(())
    }
}
