//! The server: the reactor and its handlers, from the first address to the last goodbye.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::admin::{self, AdminApi, AdminToken};
use crate::distributor::{Config, Distributor, Restored, Tokens};
use crate::reactor::{Net, Reactor};
use crate::registry::Cause;
use tracing::{info, warn};

use crate::cli::distributor::args::Args;
use crate::cli::distributor::http;
use crate::cli::distributor::state_file::{self, Saver};
use crate::cli::distributor::tokens;
use crate::cli::failure::Failure;
use crate::cli::fd_limit;
use crate::cli::handover::Handover;
use crate::cli::inherited::{self, Inherited};
use crate::cli::lines::Lines;
use crate::cli::listen::{ListenAddress, Place, bind, refuse_public};
use crate::cli::log::Log;
use crate::cli::print::print;
use crate::cli::reload::Reload;
use crate::cli::service_manager::{ServiceManager, Watchdog};
use crate::cli::settings::Settings;
use crate::cli::signals::{self, Stop};

/// Serves until a signal stops it.
pub(crate) fn run(settings: &Settings) -> Result<(), Failure> {
    let inherited = inherited::take()?;
    let args: Args = settings.parse()?;
    let log = Log::start(&args.log);
    let Plan {
        addresses,
        http_addresses,
        http_config,
        config,
    } = Plan::new(&args, settings, inherited)?;
    if settings.are_asked_for() {
        return print(&settings.to_toml()?);
    }
    let stdout = Lines::on(io::stdout()).map_err(failed("cannot start a thread"))?;
    let beside = match http_addresses.is_empty() {
        true => 0,
        false => args.http.connections(),
    };
    let wanted = args.connections.max_connections;
    let max_connections = fd_limit::connections(
        wanted.unwrap_or(DEFAULT_MAX_CONNECTIONS),
        wanted.is_some(),
        FDS_KEPT_FREE + beside,
    );
    let mut reactor = Reactor::new(args.limits(max_connections + size(beside)))
        .map_err(failed("cannot set up the event loop"))?;
    // Before anybody is served, so that no signal is missed.
    let new_tokens = NewTokens::default();
    let mut reload = Reload {
        settings: settings.clone(),
        level: log.level(),
        check: |settings| settings.parse::<Args>()?.check(),
        read_tokens: read_tokens_again(&args, &new_tokens),
    };
    let service_manager = ServiceManager::of_environment();
    let told = service_manager.clone();
    let stop = signals::listen(reactor.waker(), told, move || reload.run())
        .map_err(failed("cannot handle signals"))?;

    if args.allow_anonymous && !config.access.is_open() {
        warn!("--allow-anonymous changes nothing: a token or an address of a range is needed");
    }
    let mut distributor = Distributor::new(config.clone());
    // Before the Distributor, which then keeps what is to be shown from its beginning.
    let mut admin = http::start(
        http_config,
        http_addresses,
        reactor.net(),
        &mut distributor,
        &stdout,
    )?;
    for address in addresses {
        bind(address, |place| {
            let bound = match place {
                Place::At(address) => distributor.listen(reactor.net(), address)?,
                Place::On(socket) => distributor.listen_on(reactor.net(), socket)?,
            };
            stdout.say(format!("listening on {bound}"));
            Ok(bound)
        })?;
    }
    // Whoever connects meanwhile is accepted later.
    let keeper = match args.state.clone() {
        Some(path) => Some(Keeper::start(
            path,
            &config,
            reactor.net(),
            &mut distributor,
        )?),
        None => None,
    };
    stdout.say("serving; SIGINT or SIGTERM stops it".to_owned());
    info!(
        max_connections,
        version = env!("CARGO_PKG_VERSION"),
        "serving"
    );
    service_manager.ready();

    let mut served = Served {
        distributor: &mut distributor,
        admin: admin.as_mut(),
    };
    let served = serve(
        &mut reactor,
        &mut served,
        &stop,
        &new_tokens,
        keeper.as_ref(),
        Watchdog::of_environment(service_manager),
    );
    if let Some(keeper) = keeper {
        keeper.finish(&mut distributor);
    }
    let (counters, stats) = (reactor.net().counters(), distributor.stats());
    let left = |cause| distributor.registry().departures(cause);
    info!(
        accepted = counters.accepted,
        refused_connections = counters.refused + counters.shed,
        limits_broken = counters.limits_broken,
        registrations = stats.registrations,
        refused_packets = stats.rejected_packets,
        not_admitted = stats.not_admitted,
        pushes = stats.pushes,
        lists_sent = stats.lists_sent,
        left_closed = left(Cause::Closed),
        left_drained = left(Cause::Drained),
        left_silent = left(Cause::Silent),
        left_absent = left(Cause::Absent),
        superseded = left(Cause::Superseded),
        states_kept = stats.states_kept,
        state_failures = stats.state_failures,
        log_lines_lost = log.lines_lost(),
        log_errors = log.errors(),
        "stopped"
    );
    served.map_err(failed("waiting for events failed"))
}

/// What is to be served, with all that can be wrong with it looked at.
struct Plan {
    addresses: Vec<ListenAddress>,
    http_addresses: Vec<ListenAddress>,
    http_config: admin::Config,
    config: Config,
}

impl Plan {
    fn new(args: &Args, settings: &Settings, inherited: Vec<Inherited>) -> Result<Plan, Failure> {
        args.check()?;
        let (for_http, for_nodes) = inherited.into_iter().partition(|one| one.name == "http");
        let addresses = |flag, texts, port, inherited| {
            let addresses = ListenAddress::all(settings, flag, texts, port, inherited)?;
            refuse_strangers(args, &addresses)?;
            Ok::<_, Failure>(addresses)
        };
        let mut config = args.config();
        config.access.tokens = tokens::read(args.token_files()).map_err(Failure::usage)?;
        Ok(Plan {
            addresses: addresses("--listen", &args.listen, 9000, for_nodes)?,
            http_addresses: addresses("--http", &args.http.http, 9001, for_http)?,
            http_config: args.http.config()?,
            config,
        })
    }
}

/// Tokens that were read again, and wait to be taken.
#[derive(Clone, Default)]
struct NewTokens {
    of_nodes: Handover<Tokens>,
    of_admin: Handover<AdminToken>,
}

fn read_tokens_again(args: &Args, tokens: &NewTokens) -> Option<Box<dyn FnMut() + Send>> {
    let (files, tokens) = (args.token_files().to_vec(), tokens.clone());
    let admin_file = args.http.admin_token_file.clone();
    if files.is_empty() && admin_file.is_none() {
        return None;
    }
    Some(Box::new(move || {
        tokens::read_again(&files, &tokens.of_nodes);
        if let Some(file) = &admin_file {
            http::read_again(file, &tokens.of_admin);
        }
    }))
}

/// Fails if somebody can reach an address who need not be meant.
fn refuse_strangers(args: &Args, addresses: &[ListenAddress]) -> Result<(), Failure> {
    if args.allow_anonymous || args.limits_access() {
        return Ok(());
    }
    refuse_public(
        addresses,
        "register and read the list; say who may with --token-file or --allow-from, listen on \
         a loopback address, or say --allow-anonymous if that is meant",
    )
}

fn failed(what: &'static str) -> impl Fn(io::Error) -> Failure {
    move |error| Failure::failed(format!("{what}: {error}"))
}

/// Keeps the list on disk.
struct Keeper {
    saver: Saver,
}

/// When all goodbyes are said, the disk gets this long to take the last list.
const LONGEST_LAST_SAVE: Duration = Duration::from_millis(700);

impl Keeper {
    /// Lists the nodes of the last run again, and keeps the list from now on.
    fn start(
        path: PathBuf,
        config: &Config,
        net: &mut Net,
        distributor: &mut Distributor,
    ) -> Result<Keeper, Failure> {
        let path = state_file::resolve(path);
        let lock = state_file::lock(&path)?;
        if let Some(state) = state_file::load(&path, config) {
            let Restored { entries, left_out } = distributor.restore(net, state);
            let wait = config.warm_up;
            info!(
                path = &*path.to_string_lossy(),
                entries,
                left_out,
                "listing the nodes of the last run; who is not back in {wait:?} leaves"
            );
        }
        let saver = Saver::start(path, lock).map_err(failed("cannot start a thread"))?;
        Ok(Keeper { saver })
    }

    /// Has the list written if it changed.
    fn keep(&self, reactor: &mut Reactor, distributor: &mut Distributor) {
        if let Some(unsaved) = distributor.unsaved_state(reactor.net()) {
            self.saver.save(unsaved);
        }
        let (kept, failures) = self.saver.counts();
        distributor.note_states(kept, failures);
    }

    /// Returns when the list is written, or the disk takes too long.
    fn finish(self, distributor: &mut Distributor) {
        let (kept, failures) = self.saver.finish(LONGEST_LAST_SAVE);
        distributor.note_states(kept, failures);
    }
}

/// Frames that were begun get this long to be taken by their peers.
const LONGEST_GOODBYE: Duration = Duration::from_millis(500);

/// The Distributor, and who shows it if somebody does.
struct Served<'a> {
    distributor: &'a mut Distributor,
    admin: Option<&'a mut AdminApi>,
}

impl Served<'_> {
    fn turn(&mut self, reactor: &mut Reactor, wait: Option<Duration>) -> io::Result<()> {
        match &mut self.admin {
            Some(admin) => reactor.turn(wait, &mut admin.beside(self.distributor)),
            None => reactor.turn(wait, self.distributor),
        }
    }

    fn stop(&mut self, net: &mut Net) {
        if let Some(admin) = &mut self.admin {
            admin.stop(net);
        }
        self.distributor.stop(net);
    }
}

fn serve(
    reactor: &mut Reactor,
    served: &mut Served<'_>,
    stop: &Stop,
    new_tokens: &NewTokens,
    keeper: Option<&Keeper>,
    mut watchdog: Watchdog,
) -> io::Result<()> {
    while !stop.is_asked_for() {
        if let Some(tokens) = new_tokens.of_nodes.take() {
            served.distributor.set_tokens(tokens);
        }
        if let (Some(admin), Some(token)) = (&mut served.admin, new_tokens.of_admin.take()) {
            admin.set_admin_token(token);
        }
        if let Some(keeper) = keeper {
            keeper.keep(reactor, served.distributor);
        }
        let wait = watchdog.turned(|| {
            let nodes = served.distributor.registry().len();
            format!("serving {nodes} nodes")
        });
        served.turn(reactor, wait)?;
    }
    info!(connections = reactor.net().connections(), "stopping");
    served.stop(reactor.net());
    if let Some(keeper) = keeper {
        // Whoever is there now is to be listed again, although its connection ends before the program.
        keeper.saver.save(served.distributor.state());
    }
    let until = reactor.now() + LONGEST_GOODBYE;
    while reactor.net().connections() > 0 {
        let left = until.saturating_since(reactor.now());
        if left.is_zero() {
            break;
        }
        served.turn(reactor, Some(left))?;
    }
    Ok(())
}

/// Sockets that are no connections: listeners, the loop's own, logs, refusals being read.
const FDS_KEPT_FREE: u64 = 64;
const DEFAULT_MAX_CONNECTIONS: u64 = 10_000;

/// More than memory is as good as no limit.
pub(crate) fn size(flag: u64) -> usize {
    usize::try_from(flag).unwrap_or(usize::MAX)
}
