//! The Distributor as a server: what is started in which order, and how it stops.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tracing::{info, warn};

use crate::admin::{self, AdminApi, AdminToken};
use crate::cli::distributor::args::Args;
use crate::cli::distributor::http;
use crate::cli::distributor::state_file::{self, StateFile};
use crate::cli::distributor::tokens;
use crate::cli::failure::{Failure, failed};
use crate::cli::fd_limit;
use crate::cli::inherited::Inherited;
use crate::cli::latest::Latest;
use crate::cli::lines::Lines;
use crate::cli::listen::{ListenAddress, Place, bind_all, refuse_public};
use crate::cli::log::Log;
use crate::cli::program::{EventLoop, Server};
use crate::cli::reload::{ReadAgain, read_again};
use crate::cli::settings::Settings;
use crate::distributor::{Config, Distributor, Tokens};
use crate::reactor::{Limits, Net, Reactor};
use crate::registry::Cause;

/// What is to be served.
pub(crate) struct Plan {
    args: Args,
    addresses: Vec<ListenAddress>,
    http_addresses: Vec<ListenAddress>,
    http_config: admin::Config,
    config: Config,
    new_tokens: NewTokens,
    /// Those of nodes, and those of HTTP beside them.
    max_connections: (usize, usize),
}

/// Tokens that were read again, and were not taken yet.
#[derive(Clone, Default)]
struct NewTokens {
    of_nodes: Latest<Option<Tokens>>,
    of_admin: Latest<AdminToken>,
}

pub(crate) struct DistributorServer {
    distributor: Distributor,
    admin: Option<AdminApi>,
    state_file: Option<StateFile>,
    new_tokens: NewTokens,
}

/// Frames that were begun get this long to be taken by their peers.
const LONGEST_GOODBYE: Duration = Duration::from_millis(500);
/// Sockets that are no connections: listeners, the loop's own, logs, refusals being read.
const FDS_KEPT_FREE: u64 = 64;
const DEFAULT_MAX_CONNECTIONS: u64 = 10_000;

impl Server for DistributorServer {
    type Args = Args;
    type Plan = Plan;

    fn plan(args: Args, settings: &Settings, inherited: Vec<Inherited>) -> Result<Plan, Failure> {
        let (for_http, for_nodes) = inherited.into_iter().partition(|one| one.name == "http");
        let mut config = args.config();
        config.access.tokens = tokens::read(&args.token_file)?;
        let addresses = ListenAddress::all(settings, "--listen", &args.listen, for_nodes)?;
        refuse_strangers(&args, &addresses)?;
        let http_addresses = ListenAddress::all(settings, "--http", &args.http.http, for_http)?;
        refuse_strangers(&args, &http_addresses)?;
        let for_nodes = args.connections.max_connections;
        let for_http = if http_addresses.is_empty() {
            0
        } else {
            args.http.max_http_connections
        };
        let max_connections = fd_limit::connections(
            for_nodes.unwrap_or(DEFAULT_MAX_CONNECTIONS),
            for_nodes.is_some(),
            FDS_KEPT_FREE + u64::from(for_http),
        );
        Ok(Plan {
            http_config: args.http.config()?,
            max_connections: (max_connections, for_http.into()),
            new_tokens: NewTokens::default(),
            args,
            addresses,
            http_addresses,
            config,
        })
    }

    fn limits(plan: &Plan) -> Limits {
        plan.args
            .limits(plan.max_connections.0 + plan.max_connections.1)
    }

    fn read_again(plan: &Plan) -> Option<ReadAgain> {
        let (files, new) = (plan.args.token_file.clone(), plan.new_tokens.clone());
        let admin_file = plan.args.http.admin_token_file.clone();
        if files.is_empty() && admin_file.is_none() {
            return None;
        }
        Some(Box::new(move || {
            if !files.is_empty() {
                let nodes = || tokens::read(&files);
                read_again("the list of tokens", nodes, &new.of_nodes);
            }
            if let Some(file) = &admin_file {
                let admin = || http::read_admin_token(file);
                read_again("the admin token", admin, &new.of_admin);
            }
        }))
    }

    fn start(plan: Plan, reactor: &mut Reactor, stdout: &Lines) -> Result<Self, Failure> {
        if plan.args.allow_anonymous && !plan.config.access.is_open() {
            warn!("--allow-anonymous changes nothing: a token or an address of a range is needed");
        }
        let net = reactor.net();
        let mut distributor = Distributor::new(plan.config.clone());
        // Before the Distributor, which then keeps what is to be shown from its beginning.
        let (config, addresses) = (plan.http_config, plan.http_addresses);
        let admin = http::start(config, addresses, net, &mut distributor, stdout)?;
        bind_all(plan.addresses, |place| {
            let bound = match place {
                Place::At(address) => distributor.listen(net, address)?,
                Place::On(socket) => distributor.listen_on(net, socket)?,
            };
            stdout.say(format!("listening on {bound}"));
            Ok(bound)
        })?;
        // Whoever connects meanwhile is accepted later.
        let state_file = match plan.args.state {
            Some(path) => Some(persist(path, &plan.config, net, &mut distributor)?),
            None => None,
        };
        info!(
            max_connections = plan.max_connections.0,
            version = env!("CARGO_PKG_VERSION"),
            "serving"
        );
        Ok(DistributorServer {
            distributor,
            admin,
            state_file,
            new_tokens: plan.new_tokens,
        })
    }

    fn exchange(&mut self, _net: &mut Net) {
        if let Some(tokens) = self.new_tokens.of_nodes.take().flatten() {
            info!(tokens = tokens.len(), "tokens replaced");
            self.distributor.set_tokens(tokens);
        }
        if let (Some(admin), Some(token)) = (&mut self.admin, self.new_tokens.of_admin.take()) {
            admin.set_admin_token(token);
        }
    }

    fn turn(&mut self, reactor: &mut Reactor, wait: Option<Duration>) -> io::Result<()> {
        match &mut self.admin {
            Some(admin) => reactor.turn(wait, &mut admin.beside(&mut self.distributor)),
            None => reactor.turn(wait, &mut self.distributor),
        }
    }

    fn status(&self) -> String {
        format!("serving {} nodes", self.distributor.registry().len())
    }

    fn stop(&mut self, event_loop: &mut EventLoop) -> io::Result<()> {
        if let Some(admin) = &mut self.admin {
            admin.stop(event_loop.reactor.net());
        }
        self.distributor.stop(event_loop.reactor.net());
        let stopped = event_loop.turn_until(self, LONGEST_GOODBYE, |_, net| net.connections() == 0);
        if let Some(state_file) = self.state_file.take() {
            state_file.finish(LAST_SNAPSHOT_TIMEOUT);
        }
        stopped
    }

    fn log_stopped(&self, net: &Net, log: &Log) {
        let (counters, stats) = (net.counters(), self.distributor.stats());
        let snapshots = self.distributor.snapshot_counts();
        let left = |cause| self.distributor.registry().departures(cause);
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
            snapshots_persisted = snapshots.persisted,
            snapshot_failures = snapshots.failures,
            log_lines_lost = log.lines_lost(),
            log_errors = log.errors(),
            "stopped"
        );
    }
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

/// Time that the disk gets to take the last snapshot, after the connections are closed.
const LAST_SNAPSHOT_TIMEOUT: Duration = Duration::from_millis(700);

/// Restores the list of the last run from a state file, and persists the list to it from now on.
fn persist(
    path: PathBuf,
    config: &Config,
    net: &mut Net,
    distributor: &mut Distributor,
) -> Result<StateFile, Failure> {
    let path = state_file::resolve(path);
    let lock = state_file::lock(&path)?;
    if let Some(restored) = state_file::load(&path, config) {
        let left_out = distributor.restore(net, restored);
        let entries = distributor.registry().len();
        let (path, warm_up) = (&*path.to_string_lossy(), config.warm_up);
        info!(path, entries, left_out, ?warm_up, "list restored");
    }
    let file = StateFile::start(path, lock).map_err(failed("cannot start a thread"))?;
    distributor.persist_to(net, file.clone());
    Ok(file)
}
