//! The command line.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

use crate::cli::failure::Failure;
use crate::cli::flood::child::Role;
use crate::cli::flood::herd::Watch;

const ABOUT: &str = "\
Loads a Distributor or a node, and says what it took: --spawn starts one for the run, and --baseline \
has a bare server do the same bytes to the same sockets in turn with it.";

const AFTER: &str = "\
Examples:
  flood storm --spawn --nodes 1000 --baseline
  flood churn --spawn --nodes 1000 --rate 50 --duration 10s --watch delta --baseline
  flood rpc --to 127.0.0.1:9020 --connections 10 --depth 16
  flood idle --spawn --connections 5000
  flood slow --spawn --nodes 500 --stuck 20
  flood churn --spawn --http-readers 500

The table goes to standard output, everything else to standard error. Ctrl-C ends a run early.

Exit codes: 0 measured; 1 the run failed; 2 a flag is wrong.";

/// The command line of flood.
#[derive(Parser, Debug)]
#[command(name = "flood", version, about = ABOUT, after_help = AFTER, max_term_width = 100)]
#[command(arg_required_else_help = false, subcommand_required = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do to the server.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// All nodes connect and register at once; then all but one leave at once
    Storm(StormArgs),
    /// Nodes join and leave by a schedule while others watch
    Churn(ChurnArgs),
    /// Churn while some watchers never read; beside the same without them
    Slow(SlowArgs),
    /// Requests to a node; --spawn starts one that echoes
    Rpc(RpcArgs),
    /// Connections that do nothing, and what they cost
    Idle(IdleArgs),
    /// What --spawn and --baseline start
    #[command(hide = true)]
    Serve { role: Role, connections: usize },
}

/// The server, and what is done with the figures.
#[derive(clap::Args, Debug)]
pub(crate) struct ServerArgs {
    /// The server to load [default: 127.0.0.1:9000, and for rpc 127.0.0.1:9020]
    #[arg(long, value_name = "ADDR", value_parser = address)]
    pub(crate) to: Option<SocketAddr>,

    /// Start a server for the run, in a process of its own
    #[arg(long, conflicts_with_all = ["to", "pid"])]
    pub(crate) spawn: bool,

    /// The process of the server, whose CPU time and memory are to be shown
    #[arg(long, value_name = "PID")]
    pub(crate) pid: Option<u32>,

    /// Let a bare server do the same bytes to the same sockets, in turn with the other
    #[arg(long)]
    pub(crate) baseline: bool,

    /// How long anything may take before the run has failed
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = some_time)]
    pub(crate) timeout: Duration,

    /// Connect from so many loopback addresses [default: as many as the port range makes necessary]
    #[arg(long, value_name = "N", value_parser = count())]
    pub(crate) source_addresses: Option<usize>,

    /// Print JSON instead of the table
    #[arg(long)]
    pub(crate) json: bool,

    /// Write a page with the percentile curve and the time line
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}

/// Who reads the HTTP side meanwhile.
#[derive(clap::Args, Debug)]
pub(crate) struct HttpArgs {
    /// Clients of its HTTP side that read 10 KiB a second each, half of them /events and half
    /// /metrics; without --baseline, beside the same without them
    #[arg(long, value_name = "K", value_parser = count())]
    pub(crate) http_readers: Option<usize>,

    /// Where the HTTP side is, unless --spawn starts one
    #[arg(long, value_name = "ADDR", value_parser = address, requires = "http_readers",
          conflicts_with = "spawn")]
    pub(crate) http: Option<SocketAddr>,
}

/// `flood storm`.
#[derive(clap::Args, Debug)]
pub(crate) struct StormArgs {
    /// Nodes that come at once
    #[arg(long, value_name = "N", default_value = "1000", value_parser = count())]
    pub(crate) nodes: usize,

    /// How they register
    #[arg(long, value_name = "HOW", default_value = "plain")]
    pub(crate) watch: Watch,

    /// Storms, in turn with as many of the baseline
    #[arg(long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,

    #[command(flatten)]
    pub(crate) http: HttpArgs,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// What joins, and when.
#[derive(clap::Args, Debug)]
pub(crate) struct ScheduleArgs {
    /// Joins a second; as many leave
    #[arg(long, value_name = "R", default_value = "50", value_parser = per_second)]
    rate: f64,

    /// How long, all slices together; as long again for what it is compared with
    /// [default: 10s for churn, 15s for slow: a Distributor cuts who does not read after 10s]
    #[arg(long, value_name = "TIME", value_parser = some_time)]
    duration: Option<Duration>,

    /// Slices of it, in turn with as many of what it is compared with
    /// [default: 4 for churn, 1 for slow]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: Option<u32>,

    /// Watchers register without a port, so that the list stays short
    #[arg(long)]
    unlisted: bool,
}

/// When nodes join.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    pub(crate) rate: f64,
    pub(crate) duration: Duration,
    pub(crate) rounds: u32,
    pub(crate) unlisted: bool,
}

impl ScheduleArgs {
    fn or(&self, duration: Duration, rounds: u32) -> Schedule {
        Schedule {
            rate: self.rate,
            duration: self.duration.unwrap_or(duration),
            rounds: self.rounds.unwrap_or(rounds),
            unlisted: self.unlisted,
        }
    }
}

impl ChurnArgs {
    pub(crate) fn schedule(&self) -> Schedule {
        self.schedule.or(Duration::from_secs(10), 4)
    }
}

impl SlowArgs {
    pub(crate) fn schedule(&self) -> Schedule {
        self.schedule.or(Duration::from_secs(15), 1)
    }
}

/// `flood churn`.
#[derive(clap::Args, Debug)]
pub(crate) struct ChurnArgs {
    /// Nodes that watch
    #[arg(long, value_name = "N", default_value = "1000", value_parser = count())]
    pub(crate) nodes: usize,

    /// What watchers are sent
    #[arg(long, value_name = "HOW", default_value = "delta")]
    pub(crate) watch: Watch,

    #[command(flatten)]
    schedule: ScheduleArgs,
    #[command(flatten)]
    pub(crate) http: HttpArgs,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// `flood slow`.
#[derive(clap::Args, Debug)]
pub(crate) struct SlowArgs {
    /// Nodes that watch and read
    #[arg(long, value_name = "N", default_value = "500", value_parser = count())]
    pub(crate) nodes: usize,

    /// Nodes that watch and never read
    #[arg(long, value_name = "K", default_value = "20", value_parser = count())]
    pub(crate) stuck: usize,

    /// What watchers are sent
    #[arg(long, value_name = "HOW", default_value = "list")]
    pub(crate) watch: Watch,

    #[command(flatten)]
    schedule: ScheduleArgs,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// `flood rpc`.
#[derive(clap::Args, Debug)]
pub(crate) struct RpcArgs {
    /// Connections to the node
    #[arg(long, value_name = "C", default_value = "10", value_parser = count())]
    pub(crate) connections: usize,

    /// Requests on each without a reply, at most; a node takes 1024
    #[arg(long, value_name = "D", default_value = "16", value_parser = count())]
    pub(crate) depth: usize,

    /// Requests a second by a schedule that waits for nobody: times count from when a request was
    /// due [default: the next request follows a reply]
    #[arg(long, value_name = "R", value_parser = per_second)]
    pub(crate) rate: Option<f64>,

    /// How long, all rounds together; as long again for the baseline
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = some_time)]
    pub(crate) duration: Duration,

    /// Rounds, in turn with as many of the baseline
    #[arg(long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,

    /// What is asked for, as METHOD/path
    #[arg(long, value_name = "URL", default_value = "GET/echo")]
    pub(crate) path: String,

    /// With these params, 64 bytes by default
    #[arg(long, value_name = "JSON", default_value = DEFAULT_PARAMS)]
    pub(crate) params: String,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

const DEFAULT_PARAMS: &str = r#"{"name":"apples","count":12,"note":"sixty-four bytes of params"}"#;

/// `flood idle`.
#[derive(clap::Args, Debug)]
pub(crate) struct IdleArgs {
    /// Connections that do nothing
    #[arg(long, value_name = "N", default_value = "1000", value_parser = count())]
    pub(crate) connections: usize,

    /// They register and send heartbeats, but watch nothing
    #[arg(long)]
    pub(crate) registered: bool,

    /// They register without a port, so that the list stays short
    #[arg(long, requires = "registered")]
    pub(crate) unlisted: bool,

    /// How long they are idle
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = some_time)]
    pub(crate) duration: Duration,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// A Distributor closes connections that have said nothing for a minute.
const LONGEST_SILENCE: Duration = Duration::from_secs(45);

impl IdleArgs {
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if !self.registered && self.duration > LONGEST_SILENCE {
            return Err(Failure::usage(
                "--duration: at most 45s, because a Distributor closes who says nothing for a minute; \
                 or with --registered as long as you like",
            ));
        }
        Ok(())
    }
}

/// ADDRESS:PORT or NAME:PORT. Of a name's addresses an IPv4 one: of these, loopback has many.
fn address(text: &str) -> Result<SocketAddr, String> {
    let found = text.to_socket_addrs().map_err(|error| error.to_string())?;
    let found: Vec<_> = found.collect();
    let best = found.iter().find(|addr| addr.is_ipv4()).or(found.first());
    best.copied()
        .ok_or_else(|| "the name has no address".to_owned())
}

/// What is due by the slowest of these rates is at a time that the clock can tell.
fn per_second(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.001..=1e7).contains(&rate) => Ok(rate),
        _ => Err("a number from 0.001 to 10000000".to_owned()),
    }
}

/// Longer than anybody waits, and short enough to be added to the time that it is.
const LONGEST_TIME: Duration = Duration::from_secs(365 * 24 * 3600);

fn some_time(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if time.is_zero() => Err("longer than nothing".to_owned()),
        Ok(time) if time > LONGEST_TIME => Err("at most 365days".to_owned()),
        Ok(time) => Ok(time),
        Err(error) => Err(error.to_string()),
    }
}

/// What a value is called on the command line.
pub(crate) fn name_of(value: impl ValueEnum) -> String {
    let value = value.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().to_owned())
}

/// A number from 1 on that this machine can count to.
fn count() -> impl clap::builder::TypedValueParser<Value = usize> {
    use clap::builder::TypedValueParser;
    clap::value_parser!(u32)
        .range(1..=10_000_000)
        .map(|count| usize::try_from(count).unwrap_or(usize::MAX))
}

impl Command {
    pub(crate) fn server(&self) -> Option<&ServerArgs> {
        match self {
            Command::Storm(args) => Some(&args.server),
            Command::Churn(args) => Some(&args.server),
            Command::Slow(args) => Some(&args.server),
            Command::Rpc(args) => Some(&args.server),
            Command::Idle(args) => Some(&args.server),
            Command::Serve { .. } => None,
        }
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
    fn servers_are_named_by_address_or_name() {
        assert_eq!(address("[::1]:7"), Ok(([0, 0, 0, 0, 0, 0, 0, 1], 7).into()));
        assert_eq!(address("localhost:9000"), Ok(([127, 0, 0, 1], 9000).into()));
        assert!(address("localhost").is_err());
    }

    #[test]
    fn a_silent_connection_is_not_held_for_too_long() {
        let idle = |flags: &[&str]| {
            let flags = [&["flood", "idle", "--duration", "1m"], flags].concat();
            match Args::try_parse_from(flags).unwrap().command {
                Command::Idle(args) => args.check().is_ok(),
                _ => panic!("idle"),
            }
        };
        assert!(!idle(&[]));
        assert!(idle(&["--registered"]));
    }

    #[test]
    fn the_default_params_are_as_long_as_said() {
        assert_eq!(DEFAULT_PARAMS.len(), 64);
    }
}
