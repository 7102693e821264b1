//! The command line, the environment beside it, and what they mean for the library.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{BoolishValueParser, PossibleValuesParser, TypedValueParser};
use clap::{Parser, ValueEnum};
use pilcrow::TcpOptions;
use pilcrow::distributor::{Access, AddressRange, Config};
use pilcrow::protocol::RegistrationLimits;
use pilcrow::reactor::Limits;
use pilcrow::registry::Capacity;
use tracing_subscriber::filter::LevelFilter;

use crate::http::HttpArgs;
use crate::size;

const ABOUT: &str = "\
A service registry that pushes: every node keeps one TCP connection to it, says who it is, and is \
sent the list of all live nodes whenever one joins or leaves.

Packets are JSON objects ended by ¶, as in {\"uri\":\"/distributes\",\"method\":\"POST\",\"key\":0,\
\"params\":{\"port\":9010,\"name\":\"goods\",\"urls\":[\"GET/goods\"]}}¶

Every flag can be given in the environment, by the name that is shown with it; a flag goes before \
its variable. Times are written as 500ms, 10s or 2m.";

const AFTER: &str = "\
Examples:
  distributor
      Serve this machine: both loopback addresses, port 9000.
  distributor --listen 10.0.0.5:9000 --allow-anonymous
      Serve a private network in which everybody is trusted.
  distributor --listen 0.0.0.0:9000 --token-file tokens --allow-from 10.0.0.0/8
      Serve whoever shows a token, and a private network without.
  distributor --state /var/lib/distributor/state
      Let a restart go unnoticed.
  distributor --listen localhost:9000 --log-format json --log-level debug

Logs go to standard error, the addresses in use to standard output.
SIGINT and SIGTERM stop it within two seconds; connected nodes keep their last list. SIGHUP reads \
the tokens again.

A state file that cannot be used is renamed to FILE.broken-TIME, and one that cannot be written is \
tried again each second; both are said in the log, and change nothing else. FILE.lock keeps a \
second Distributor from the same file.

Exit codes: 0 stopped by a signal; 1 failed while serving; 2 a flag or variable is wrong, a token \
file cannot be read, or another Distributor has the state file; 3 could not listen.";

/// The command line of the distributor.
#[derive(Parser, Debug)]
#[command(name = "distributor", version, about = ABOUT, after_help = AFTER, max_term_width = 100)]
pub(crate) struct Args {
    /// Where to listen: ADDRESS:PORT or NAME:PORT, again for more. A name means all its addresses
    #[arg(
        long,
        value_name = "ADDR",
        env = "PILCROW_LISTEN",
        value_delimiter = ','
    )]
    #[arg(default_value = "localhost:9000")]
    pub(crate) listen: Vec<String>,

    /// Admit those who show a token of this file: a line each, TOKEN [NAME-PREFIX [URL-PREFIX…]],
    /// where * is any name, a URL-PREFIX is METHOD/path or /path, and # begins a comment. Read again
    /// on SIGHUP; who is connected stays
    #[arg(
        long,
        value_name = "FILE",
        env = "PILCROW_TOKEN_FILE",
        value_delimiter = ','
    )]
    token_file: Vec<PathBuf>,

    /// Admit addresses of this block without a token, as in 10.0.0.0/8, again for more. With
    /// --token-file either admits; peers of the book have no token to show
    #[arg(
        long,
        value_name = "CIDR",
        env = "PILCROW_ALLOW_FROM",
        value_delimiter = ','
    )]
    allow_from: Vec<AddressRange>,

    /// Listen on addresses that other machines can reach, although whoever reaches them can
    /// register and is sent the list
    #[arg(long, env = "PILCROW_ALLOW_ANONYMOUS", value_parser = BoolishValueParser::new())]
    pub(crate) allow_anonymous: bool,

    /// Keep the list in this file, so that a restart goes unnoticed: the nodes in it are listed
    /// until they are back, or --warm-up is over [default: distributor.state in $STATE_DIRECTORY,
    /// if systemd sets that; else the list is not kept]
    #[arg(long, value_name = "FILE", env = "PILCROW_STATE")]
    state: Option<PathBuf>,

    /// List peers on this machine with this host, so that nodes on other machines reach them
    /// [default: their loopback address]
    #[arg(long, value_name = "ADDR", env = "PILCROW_LOOPBACK_HOST", value_parser = host)]
    loopback_host: Option<String>,

    /// How log lines are written
    #[arg(
        long,
        value_name = "FORMAT",
        env = "PILCROW_LOG_FORMAT",
        default_value = "text"
    )]
    pub(crate) log_format: LogFormat,

    /// How much is logged
    #[arg(
        long,
        value_name = "LEVEL",
        env = "PILCROW_LOG_LEVEL",
        default_value = "info"
    )]
    #[arg(value_parser = PossibleValuesParser::new(["off", "error", "warn", "info", "debug", "trace"])
        .try_map(|level| level.parse::<LevelFilter>()))]
    pub(crate) log_level: LevelFilter,

    #[command(flatten)]
    pub(crate) http: HttpArgs,
    #[command(flatten)]
    pub(crate) connections: ConnectionArgs,
    #[command(flatten)]
    nodes: NodeArgs,
    #[command(flatten)]
    sessions: SessionArgs,
    #[command(flatten)]
    turn: TurnArgs,
    #[command(flatten)]
    tcp: TcpArgs,
}

/// What one connection may do.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Limits for connections")]
pub(crate) struct ConnectionArgs {
    /// Connections at a time; one more gets errorcode 6. At most what the fd limit leaves
    /// [default: 10000, or 64 less than the fd limit]
    #[arg(long, value_name = "N", env = "PILCROW_MAX_CONNECTIONS", value_parser = at_least_one())]
    pub(crate) max_connections: Option<u64>,

    /// Bytes of one frame, without its ¶
    #[arg(
        long,
        value_name = "N",
        env = "PILCROW_MAX_FRAME_BYTES",
        default_value = "65536"
    )]
    #[arg(value_parser = at_least_one())]
    max_frame_bytes: u64,

    /// Time from a frame's first byte to its ¶
    #[arg(
        long,
        value_name = "TIME",
        env = "PILCROW_FRAME_TIMEOUT",
        default_value = "10s"
    )]
    #[arg(value_parser = humantime::parse_duration)]
    frame_timeout: Duration,

    /// Time from being accepted to the first byte
    #[arg(
        long,
        value_name = "TIME",
        env = "PILCROW_FIRST_BYTE_TIMEOUT",
        default_value = "60s"
    )]
    #[arg(value_parser = humantime::parse_duration)]
    first_byte_timeout: Duration,

    /// Bytes queued for one connection, the list not counted
    #[arg(
        long,
        value_name = "N",
        env = "PILCROW_MAX_UNSENT_BYTES",
        default_value = "1048576"
    )]
    #[arg(value_parser = at_least_one())]
    max_unsent_bytes: u64,

    /// Time that a connection may read nothing of what is queued for it
    #[arg(
        long,
        value_name = "TIME",
        env = "PILCROW_WRITE_TIMEOUT",
        default_value = "10s"
    )]
    #[arg(value_parser = humantime::parse_duration)]
    write_timeout: Duration,
}

/// What one node may say about itself, and all together.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Limits for nodes")]
struct NodeArgs {
    /// Registered nodes
    #[arg(
        long,
        value_name = "N",
        env = "PILCROW_MAX_ENTRIES",
        default_value = "10000"
    )]
    #[arg(value_parser = at_least_one())]
    max_entries: u64,

    /// Bytes of the whole list
    #[arg(
        long,
        value_name = "N",
        env = "PILCROW_MAX_LIST_BYTES",
        default_value = "15728640"
    )]
    #[arg(value_parser = at_least_one())]
    max_list_bytes: u64,

    /// Bytes of one registration's params
    #[arg(
        long,
        value_name = "N",
        env = "PILCROW_MAX_REGISTRATION_BYTES",
        default_value = "16384"
    )]
    #[arg(value_parser = at_least_one())]
    max_registration_bytes: u64,

    /// Bytes of a name
    #[arg(
        long,
        value_name = "N",
        env = "PILCROW_MAX_NAME_BYTES",
        default_value = "128"
    )]
    #[arg(value_parser = at_least_one())]
    max_name_bytes: u64,

    /// Urls of one node
    #[arg(
        long,
        value_name = "N",
        env = "PILCROW_MAX_URLS",
        default_value = "256"
    )]
    #[arg(value_parser = at_least_one())]
    max_urls: u64,

    /// Bytes of one url
    #[arg(
        long,
        value_name = "N",
        env = "PILCROW_MAX_URL_BYTES",
        default_value = "2048"
    )]
    #[arg(value_parser = at_least_one())]
    max_url_bytes: u64,

    /// Objects and arrays within each other in a registration
    #[arg(
        long,
        value_name = "N",
        env = "PILCROW_MAX_DEPTH",
        default_value = "16"
    )]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=100))]
    max_depth: u64,
}

/// How nodes that ask for a session are watched.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Sessions")]
struct SessionArgs {
    /// Time between two heartbeats of a node
    #[arg(
        long,
        value_name = "TIME",
        env = "PILCROW_HEARTBEAT",
        default_value = "5s"
    )]
    #[arg(value_parser = humantime::parse_duration)]
    heartbeat: Duration,

    /// Time without a word after which a node is gone
    #[arg(
        long,
        value_name = "TIME",
        env = "PILCROW_SILENCE_TIMEOUT",
        default_value = "15s"
    )]
    #[arg(value_parser = humantime::parse_duration)]
    silence_timeout: Duration,

    /// Time after the start in which lists are marked as not complete, and nodes of the last run
    /// (--state) may come back
    #[arg(
        long,
        value_name = "TIME",
        env = "PILCROW_WARM_UP",
        default_value = "10s"
    )]
    #[arg(value_parser = humantime::parse_duration)]
    warm_up: Duration,
}

/// What one turn of the loop does for one peer before the others have theirs.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Limits for one turn of the loop")]
struct TurnArgs {
    /// Connections accepted from one listener
    #[arg(
        long,
        value_name = "N",
        env = "PILCROW_MAX_ACCEPTS_PER_TURN",
        default_value = "64"
    )]
    #[arg(value_parser = at_least_one())]
    max_accepts_per_turn: u64,

    /// Bytes read from one connection
    #[arg(
        long,
        value_name = "N",
        env = "PILCROW_MAX_READ_BYTES_PER_TURN",
        default_value = "65536"
    )]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=16 << 20))]
    max_read_bytes_per_turn: u64,

    /// Frames taken from one connection
    #[arg(
        long,
        value_name = "N",
        env = "PILCROW_MAX_FRAMES_PER_TURN",
        default_value = "64"
    )]
    #[arg(value_parser = at_least_one())]
    max_frames_per_turn: u64,
}

/// What is asked of the kernel.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "TCP")]
struct TcpArgs {
    /// Connections that wait to be accepted; the kernel caps it at net.core.somaxconn
    #[arg(
        long,
        value_name = "N",
        env = "PILCROW_LISTEN_BACKLOG",
        default_value = "4096"
    )]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=65535))]
    listen_backlog: u32,

    /// Quiet time before a peer is probed
    #[arg(
        long,
        value_name = "TIME",
        env = "PILCROW_KEEPALIVE_IDLE",
        default_value = "4s"
    )]
    #[arg(value_parser = seconds)]
    keepalive_idle: Duration,

    /// Time between two probes
    #[arg(
        long,
        value_name = "TIME",
        env = "PILCROW_KEEPALIVE_INTERVAL",
        default_value = "2s"
    )]
    #[arg(value_parser = seconds)]
    keepalive_interval: Duration,

    /// Unanswered probes before a peer is gone
    #[arg(
        long,
        value_name = "N",
        env = "PILCROW_KEEPALIVE_PROBES",
        default_value = "3"
    )]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=127))]
    keepalive_probes: u32,

    /// Time that sent bytes may stay unacknowledged before a peer is gone (Linux)
    #[arg(
        long,
        value_name = "TIME",
        env = "PILCROW_TCP_USER_TIMEOUT",
        default_value = "10s"
    )]
    #[arg(value_parser = humantime::parse_duration)]
    tcp_user_timeout: Duration,

    /// Bytes that the kernel may hold for one connection that does not read
    #[arg(
        long,
        value_name = "N",
        env = "PILCROW_SEND_BUFFER_BYTES",
        default_value = "131072"
    )]
    #[arg(value_parser = clap::value_parser!(u32).range(4096..=1 << 30))]
    send_buffer_bytes: u32,
}

/// How log lines are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum LogFormat {
    /// One line for people
    Text,
    /// One JSON object a line
    Json,
}

impl Args {
    /// What is wrong with flags that are right by themselves.
    pub(crate) fn check(&self) -> Result<(), String> {
        let sessions = &self.sessions;
        if sessions.heartbeat < Duration::from_millis(10) {
            return Err("--heartbeat: at least 10ms".to_owned());
        }
        // Nodes send it up to a fifth later than they are told.
        if sessions.silence_timeout < sessions.heartbeat * 3 / 2 {
            return Err(format!(
                "--silence-timeout {:?}: at least one and a half times the --heartbeat of {:?}, \
                 or nodes are dropped between two heartbeats",
                sessions.silence_timeout, sessions.heartbeat
            ));
        }
        Ok(())
    }

    /// What the loop is told. The number of connections depends on the machine as well.
    pub(crate) fn limits(&self, max_connections: usize) -> Limits {
        let (connections, turn, tcp) = (&self.connections, &self.turn, &self.tcp);
        Limits {
            max_connections,
            max_frame_bytes: size(connections.max_frame_bytes),
            frame_timeout: connections.frame_timeout,
            first_byte_timeout: connections.first_byte_timeout,
            max_unsent_bytes: size(connections.max_unsent_bytes),
            write_timeout: connections.write_timeout,
            max_accepts_per_turn: size(turn.max_accepts_per_turn),
            max_read_bytes_per_turn: size(turn.max_read_bytes_per_turn),
            max_frames_per_turn: size(turn.max_frames_per_turn),
            listen_backlog: tcp.listen_backlog,
            tcp: TcpOptions {
                keepalive_idle: tcp.keepalive_idle,
                keepalive_interval: tcp.keepalive_interval,
                keepalive_probes: tcp.keepalive_probes,
                user_timeout: tcp.tcp_user_timeout,
                send_buffer_bytes: tcp.send_buffer_bytes,
            },
            ..Limits::default()
        }
    }

    /// Whether not everybody is admitted.
    pub(crate) fn limits_access(&self) -> bool {
        !self.token_file.is_empty() || !self.allow_from.is_empty()
    }

    pub(crate) fn token_files(&self) -> &[PathBuf] {
        &self.token_file
    }

    /// Where to keep the list, if it is to be kept.
    pub(crate) fn state_file(&self) -> Option<PathBuf> {
        self.state.clone().or_else(|| {
            let folders = std::env::var_os("STATE_DIRECTORY")?;
            let first = std::env::split_paths(&folders).next()?;
            let is_there = !first.as_os_str().is_empty();
            is_there.then(|| first.join("distributor.state"))
        })
    }

    /// What the Distributor is told, but for the tokens.
    pub(crate) fn config(&self) -> Config {
        let nodes = &self.nodes;
        Config {
            access: Access {
                ranges: self.allow_from.clone(),
                tokens: None,
            },
            registration: RegistrationLimits {
                max_bytes: size(nodes.max_registration_bytes),
                max_name_bytes: size(nodes.max_name_bytes),
                max_urls: size(nodes.max_urls),
                max_url_bytes: size(nodes.max_url_bytes),
                max_depth: size(nodes.max_depth),
            },
            capacity: Capacity {
                max_entries: size(nodes.max_entries),
                max_encoded_bytes: size(nodes.max_list_bytes),
            },
            loopback_host: self.loopback_host.clone(),
            heartbeat: self.sessions.heartbeat,
            silence: self.sessions.silence_timeout,
            warm_up: self.sessions.warm_up,
        }
    }
}

fn at_least_one() -> clap::builder::RangedU64ValueParser<u64> {
    clap::value_parser!(u64).range(1..)
}

fn seconds(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if time.as_secs() == 0 || time.subsec_nanos() > 0 {
        return Err("the kernel counts this in whole seconds, at least one".to_owned());
    }
    Ok(time)
}

fn host(text: &str) -> Result<String, String> {
    let is_name = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if text.parse::<std::net::IpAddr>().is_ok() || text.split('.').all(is_name) {
        Ok(text.to_owned())
    } else {
        Err("not an address and not the name of a host".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn the_defaults_are_those_of_the_library() {
        let args = Args::try_parse_from(["distributor"]).unwrap();
        let defaults = Limits::default();
        assert_eq!(args.limits(defaults.max_connections), defaults);
        assert_eq!(args.config(), Config::default());
    }

    #[test]
    fn nodes_have_time_for_a_heartbeat() {
        let check = |flags: &[&str]| {
            let args = [&["distributor"], flags].concat();
            Args::try_parse_from(args).unwrap().check()
        };
        assert_eq!(check(&[]), Ok(()));
        assert!(check(&["--heartbeat", "0s"]).is_err());
        assert!(check(&["--silence-timeout", "1s"]).is_err());
        assert_eq!(
            check(&["--heartbeat", "1s", "--silence-timeout", "1500ms"]),
            Ok(())
        );
    }

    #[test]
    fn every_flag_has_a_variable() {
        for flag in Args::command().get_arguments() {
            let long = flag.get_long().unwrap().to_uppercase().replace('-', "_");
            let variable = flag.get_env().unwrap().to_str().unwrap();
            assert_eq!(variable, format!("PILCROW_{long}"));
        }
    }

    #[test]
    fn hosts_are_addresses_or_names() {
        for good in ["10.0.0.1", "::1", "db.internal", "node-7"] {
            assert_eq!(host(good).as_deref(), Ok(good));
        }
        for bad in ["", "a b", "a..b", "a\"b", "a¶"] {
            assert!(host(bad).is_err(), "{bad}");
        }
    }
}
