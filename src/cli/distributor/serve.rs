//! The Distributor as a server: its start and its stop.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing::{debug, info, warn};

use crate::admin::{AdminApi, AdminToken};
use crate::cli::distributor::admin_listener::AdminListener;
use crate::cli::distributor::announcement::Announcement;
use crate::cli::distributor::args::{Args, PREFIX};
use crate::cli::distributor::state_file::{self, StateFile};
use crate::cli::failure::{Failure, failed};
use crate::cli::listen::{self, ListenAddress, Listening, Place, bind_all, reject_public};
use crate::cli::log::{Log, LogArgs};
use crate::cli::program::{EventLoop, Server, Start, max_connections, raise_fd_limit};
use crate::cli::settings::Settings;
use crate::cli::text_file;
use crate::cli::value::shown_path;
use crate::distributor::{Config, Distributor, Tokens};
use crate::reactor::{Limits, Net, Reactor};
use crate::registry::Cause;
use crate::time::Time;

pub(crate) struct DistributorServer {
    distributor: Distributor,
    admin: Option<AdminApi>,
    state_file: Option<StateFile>,
}

/// The tokens of nodes and of the administrator.
pub(crate) type AllTokens = (Option<Tokens>, Option<AdminToken>);

/// Maximum time to wait, when stopping, until peers have read the frames that are partly written.
const STOP_TIMEOUT: Duration = Duration::from_millis(500);
/// Time to write the last snapshot, after the connections are closed.
const LAST_SNAPSHOT_TIMEOUT: Duration = Duration::from_millis(700);
/// Number of fds for everything but connections: listeners, the loop, logs, connections being
/// rejected.
const RESERVED_FDS: u64 = 64;
const DEFAULT_MAX_CONNECTIONS: u64 = 10_000;
const MAX_TOKEN_FILE_BYTES: u64 = 16 << 20;

impl Server for DistributorServer {
    const PREFIX: &'static str = PREFIX;
    type Args = Args;
    type Tokens = AllTokens;

    fn log_args(args: &Args) -> &LogArgs {
        &args.log
    }

    fn check(args: &Args) -> Result<(), Failure> {
        args.check()
    }

    fn read_tokens(args: &Args) -> Result<Option<AllTokens>, Failure> {
        let tokens = read_node_tokens(&args.token_file)?;
        let admin_file = args.http.admin_token_file.as_deref();
        let admin_token = admin_file.map(read_admin_token).transpose()?;
        Ok(match (&tokens, &admin_token) {
            (None, None) => None,
            _ => Some((tokens, admin_token)),
        })
    }

    fn plan(
        args: Args,
        settings: &Settings,
        inherited: Vec<ListenAddress>,
        tokens: Option<AllTokens>,
    ) -> Result<(Limits, Start<Self>), Failure> {
        let (for_http, for_nodes) = inherited.into_iter().partition(|one| one.is_http);
        let addresses = listen::addresses(settings, "--listen", &args.listen, for_nodes)?;
        let admin = AdminListener::plan(settings, &args.http.http, for_http, &addresses)?;
        let (node_tokens, admin_token) = tokens.unwrap_or_default();
        let mut config = args.config(node_tokens);
        let is_anonymous = args.public.allow_anonymous;
        if config.access.is_open() && !is_anonymous {
            let why = "register and read the list; restrict access with --token-file or \
                       --allow-from, listen on a loopback address, or permit it with \
                       --allow-anonymous";
            reject_public(&addresses, why)?;
            if let AdminListener::Requested(addresses) = &admin {
                reject_public(addresses, why)?;
            }
        } else if is_anonymous && !config.access.is_open() {
            warn!("--allow-anonymous has no effect beside --token-file and --allow-from");
        }
        let for_nodes = args.connections.max_connections;
        // The default listener takes no fds from nodes.
        let for_http = match &admin {
            AdminListener::Requested(_) => args.http.max_http_connections,
            AdminListener::Default(_) | AdminListener::Off(_) => 0,
        };
        let max_connections = max_connections(
            for_nodes.unwrap_or(DEFAULT_MAX_CONNECTIONS),
            for_nodes.is_some(),
            RESERVED_FDS + u64::from(for_http),
        );
        let max_http_connections = match &admin {
            AdminListener::Requested(_) => for_http,
            AdminListener::Default(_) => {
                max_default_http(max_connections).min(args.http.max_http_connections)
            }
            AdminListener::Off(_) => 0,
        };
        config.max_connections = Some(max_connections);
        let limits = args.limits(max_connections + usize::from(max_http_connections));
        let http_config = args.http.config(admin_token, max_http_connections);
        let is_block = io::stdout().is_terminal() && !args.log.is_json();
        let state = args.state;
        let start = move |reactor: &mut Reactor| {
            if let Some(path) = &state {
                text_file::check_folder("--state", path)?;
            }
            let net = reactor.net();
            let mut distributor = Distributor::new(config.clone());
            // Started before the Distributor, so that the admin API shows all of its events.
            let listening = &mut Listening::default();
            let (admin, admin_addresses) =
                admin.start(http_config, listening, net, &mut distributor)?;
            let bound = bind_all(addresses, listening, |place| match place {
                Place::Address(address) => distributor.listen(net, address),
                Place::Socket(socket) => distributor.listen_on(net, socket),
            })?;
            // Connections that arrive meanwhile are accepted later.
            let state_file = match &state {
                Some(path) => Some(persist(path, &config, net, &mut distributor)?),
                None => None,
            };
            let version = env!("CARGO_PKG_VERSION");
            let kept = state.as_deref().map(Path::to_string_lossy);
            let kept = kept.as_deref().unwrap_or("none: the list is not kept");
            if is_block && io::stderr().is_terminal() {
                // The block is enough for the same terminal.
                debug!(max_connections, version, state = kept, "serving");
            } else {
                info!(max_connections, version, state = kept, "serving");
            }
            let announcement = Announcement {
                nodes: &bound,
                admin: &admin_addresses,
                state: state.as_deref(),
            };
            let announcement = if is_block {
                announcement.block(&distributor, config.access.tokens.is_some())
            } else {
                announcement.lines()
            };
            let server = DistributorServer {
                distributor,
                admin,
                state_file,
            };
            Ok((server, announcement))
        };
        Ok((limits, Box::new(start)))
    }

    fn set_tokens(&mut self, _: &mut Net, (tokens, admin_token): AllTokens) {
        if let Some(tokens) = tokens {
            info!(tokens = tokens.len(), "tokens replaced");
            self.distributor.set_tokens(tokens);
        }
        if let (Some(admin), Some(token)) = (&mut self.admin, admin_token) {
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
        let stopped = event_loop.turn_until(self, STOP_TIMEOUT, |_, net| net.connections() == 0);
        if let Some(state_file) = self.state_file.take() {
            state_file.finish(LAST_SNAPSHOT_TIMEOUT);
        }
        stopped
    }

    fn log_stopped(&self, net: &Net, log: &Log) {
        let (counters, stats) = (net.counters(), self.distributor.stats());
        let snapshots = self.distributor.snapshot_counts();
        let left = |cause| self.distributor.registry().departures(cause);
        debug!(
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
            "totals"
        );
        let uptime_seconds = net.now().saturating_since(Time::ZERO).as_secs();
        info!(
            nodes = self.distributor.registry().len(),
            uptime_seconds, "stopped"
        );
    }
}

/// Returns the maximum number of HTTP connections at the default address: the fds that are left,
/// and a few of the reserved ones.
fn max_default_http(max_connections: usize) -> u16 {
    const MIN: u16 = 8;
    let for_nodes = u64::try_from(max_connections).unwrap_or(u64::MAX);
    let left = raise_fd_limit().saturating_sub(RESERVED_FDS.saturating_add(for_nodes));
    u16::try_from(left).unwrap_or(u16::MAX).max(MIN)
}

/// Restores the list from a state file, and persists the list to it from now on.
fn persist(
    path: &Path,
    config: &Config,
    net: &mut Net,
    distributor: &mut Distributor,
) -> Result<StateFile, Failure> {
    // A link to the file stays a link. A missing file is reported when it is read.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
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

/// Returns the tokens of all these files, `None` without a file.
fn read_node_tokens(files: &[PathBuf]) -> Result<Option<Tokens>, Failure> {
    let mut all: Option<Tokens> = None;
    for file in files {
        let tokens = parse_tokens("--token-file", file, |text| {
            let tokens = Tokens::parse(text)?;
            if tokens.is_empty() {
                return Err("no token in the file; write one token per line".to_owned());
            }
            Ok(tokens)
        })?;
        warn_of_short(file, tokens.short());
        all.get_or_insert_default().extend(tokens);
    }
    Ok(all)
}

fn read_admin_token(file: &Path) -> Result<AdminToken, Failure> {
    let token = parse_tokens("--admin-token-file", file, |text| {
        AdminToken::parse(text).map_err(ToOwned::to_owned)
    })?;
    warn_of_short(file, token.is_short().into());
    Ok(token)
}

/// Warns of the tokens of a file that can be guessed.
fn warn_of_short(file: &Path, short: usize) {
    if short > 0 {
        let file = &*file.to_string_lossy();
        warn!(
            file,
            short, "tokens of fewer than 16 characters can be guessed"
        );
    }
}

fn parse_tokens<T>(
    flag: &str,
    file: &Path,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<T, Failure> {
    let text = text_file::read(flag, file, MAX_TOKEN_FILE_BYTES)?;
    let parsed = parse(&text)
        .map_err(|why| Failure::usage(format!("{flag} {}: {why}", shown_path(file))))?;
    text_file::warn_if_public(file);
    Ok(parsed)
}
