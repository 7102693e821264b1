//! A server program from its settings to its exit: what the Distributor and the gateway share.

use std::io;
use std::time::Duration;

use clap::FromArgMatches;
use tracing::info;

use crate::cli::failure::{Failure, failed};
use crate::cli::inherited::{self, Inherited};
use crate::cli::lines::Lines;
use crate::cli::log::{Log, LogArgs};
use crate::cli::print::print;
use crate::cli::reload::{ReadAgain, Reload};
use crate::cli::service_manager::{ServiceManager, Watchdog};
use crate::cli::settings::Settings;
use crate::cli::signals::{self, Stop};
use crate::reactor::{Limits, Net, Reactor};

/// The flags of a server program.
pub(crate) trait ServerArgs: FromArgMatches {
    fn log(&self) -> &LogArgs;

    /// Fails if values that are valid alone do not fit together.
    fn check(&self) -> Result<(), Failure> {
        Ok(())
    }
}

/// What a program serves. Its methods are called in their order.
pub(crate) trait Server: Sized {
    type Args: ServerArgs;
    /// What is to be served, after everything that can be wrong with it was checked.
    type Plan;

    /// Checks the settings and reads their files. Starts nothing.
    fn plan(
        args: Self::Args,
        settings: &Settings,
        inherited: Vec<Inherited>,
    ) -> Result<Self::Plan, Failure>;

    fn limits(plan: &Self::Plan) -> Limits;

    /// Returns what SIGHUP calls to read files again, if there are any.
    fn read_again(plan: &Self::Plan) -> Option<ReadAgain>;

    /// Listens. Prints each address on `stdout`.
    fn start(plan: Self::Plan, reactor: &mut Reactor, stdout: &Lines) -> Result<Self, Failure>;

    /// Exchanges with other threads, such as files that were read again. Called before each turn
    /// until the program stops.
    fn exchange(&mut self, net: &mut Net);

    fn turn(&mut self, reactor: &mut Reactor, wait: Option<Duration>) -> io::Result<()>;

    /// Returns what a service manager shows, as in `serving 3 nodes`.
    fn status(&self) -> String;

    /// Takes leave of all peers, turning the loop as long as that needs.
    fn stop(&mut self, event_loop: &mut EventLoop) -> io::Result<()>;

    /// Logs what was done in all.
    fn log_stopped(&self, net: &Net, log: &Log);
}

/// Serves until a signal stops it.
pub(crate) fn run<S: Server>(settings: &Settings) -> Result<(), Failure> {
    let inherited = inherited::take()?;
    let args: S::Args = settings.parse()?;
    args.check()?;
    let log = Log::start(args.log());
    let plan = S::plan(args, settings, inherited)?;
    if settings.are_asked_for() {
        return print(&settings.to_toml()?);
    }
    let stdout = Lines::on(io::stdout()).map_err(failed("cannot start a thread"))?;
    let mut reactor =
        Reactor::new(S::limits(&plan)).map_err(failed("cannot set up the event loop"))?;
    // Before the first connection is served, so that no signal is missed.
    let mut reload = Reload {
        settings: settings.clone(),
        level: log.level(),
        check: |settings| settings.parse::<S::Args>()?.check(),
        read_again: S::read_again(&plan),
    };
    let service_manager = ServiceManager::of_environment();
    let stop = signals::listen(reactor.waker(), service_manager.clone(), move || {
        reload.run();
    })
    .map_err(failed("cannot handle signals"))?;
    let mut server = S::start(plan, &mut reactor, &stdout)?;
    stdout.say("serving; SIGINT or SIGTERM stops it".to_owned());
    service_manager.ready();

    let mut event_loop = EventLoop { reactor, stop };
    let served = event_loop.serve(&mut server, Watchdog::of_environment(service_manager));
    server.log_stopped(event_loop.reactor.net(), &log);
    served.map_err(failed("waiting for events failed"))
}

/// The loop of a program, and the signals that stop it.
pub(crate) struct EventLoop {
    pub(crate) reactor: Reactor,
    stop: Stop,
}

impl EventLoop {
    fn serve<S: Server>(&mut self, server: &mut S, mut watchdog: Watchdog) -> io::Result<()> {
        while !self.stop.is_asked_for() {
            server.exchange(self.reactor.net());
            let wait = watchdog.turned(|| server.status());
            server.turn(&mut self.reactor, wait)?;
        }
        info!(connections = self.reactor.net().connections(), "stopping");
        server.stop(self)
    }

    /// Turns until `is_done`, but at most this long and not after a second signal.
    pub(crate) fn turn_until<S: Server>(
        &mut self,
        server: &mut S,
        longest: Duration,
        is_done: impl Fn(&S, &mut Net) -> bool,
    ) -> io::Result<()> {
        let until = self.reactor.now() + longest;
        while !is_done(server, self.reactor.net()) && !self.stop.is_asked_for_again() {
            let left = until.saturating_since(self.reactor.now());
            if left.is_zero() {
                break;
            }
            server.turn(&mut self.reactor, Some(left))?;
        }
        Ok(())
    }
}
