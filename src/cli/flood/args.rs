//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::TypedValueParser;
use clap::{Parser, Subcommand};

use super::child::Role;
use super::nodes::Watch;
use super::stop::Halt;
use crate::cli::address::HostPort;

const ABOUT: &str = "\
Loads a Distributor or a node, and reports what it took: --spawn starts one for the run, and \
--baseline compares it with a bare server that sends the same bytes to the same sockets.";

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

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// All nodes connect and register at once; then all but one leave at once
    Storm(StormArgs),
    /// Nodes join and leave by a schedule while others watch
    Churn(ChurnArgs),
    /// Churn while some watchers never read, compared with churn without them
    #[command(mut_args(defaults_of_slow))]
    Slow(SlowArgs),
    /// Requests to a node; --spawn starts one that echoes
    Rpc(RpcArgs),
    /// Connections that do nothing, and what they cost
    Idle(IdleArgs),
    /// What --spawn and --baseline start
    #[command(hide = true)]
    Serve {
        role: Role,
        connections: usize,
        #[arg(long)]
        with_http: bool,
    },
}

/// The server, and what is done with the figures.
#[derive(clap::Args, Debug)]
pub(crate) struct ServerArgs {
    /// The server to load [default: 127.0.0.1:9000, and for rpc 127.0.0.1:9020]
    #[arg(long, value_name = "ADDR")]
    pub(crate) to: Option<HostPort>,

    /// Start a server for the run, in a process of its own
    #[arg(long, conflicts_with_all = ["to", "pid"])]
    pub(crate) spawn: bool,

    /// The server's process: show its CPU time and memory
    #[arg(long, value_name = "PID")]
    pub(crate) pid: Option<u32>,

    /// Compare with a bare server that sends the same bytes to the same sockets, in turn
    #[arg(long)]
    pub(crate) baseline: bool,

    /// How long each step may take before the run has failed
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = positive_time)]
    pub(crate) timeout: Duration,

    /// Connect from this many loopback addresses [default: as many as the port range requires]
    #[arg(long, value_name = "N", value_parser = count())]
    pub(crate) source_addresses: Option<usize>,

    /// Print JSON instead of the table
    #[arg(long)]
    pub(crate) json: bool,

    /// Write a page with the percentile curve and the time line
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}

/// Clients of the HTTP side.
#[derive(clap::Args, Debug)]
pub(crate) struct HttpArgs {
    /// Clients of its HTTP side that read 10 KiB per second each, half of them /events and half
    /// /metrics; without --baseline, compared with the same without them
    #[arg(long, value_name = "K", value_parser = count())]
    pub(crate) http_readers: Option<usize>,

    /// The address of the HTTP side, unless --spawn starts one
    #[arg(
        long,
        value_name = "ADDR",
        requires = "http_readers",
        conflicts_with = "spawn"
    )]
    pub(crate) http: Option<HostPort>,
}

#[derive(clap::Args, Debug)]
pub(crate) struct StormArgs {
    /// Nodes that connect at once
    #[arg(long, value_name = "N", default_value = "1000", value_parser = count())]
    pub(crate) nodes: usize,

    /// How they register
    #[arg(long, value_name = "HOW", default_value = "plain")]
    pub(crate) watch: Watch,

    /// Storms, in turn with as many of the baseline
    #[arg(long, value_name = "N", default_value = "5", value_parser = rounds())]
    pub(crate) rounds: u32,

    #[command(flatten)]
    pub(crate) http: HttpArgs,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(clap::Args, Debug)]
pub(crate) struct ChurnArgs {
    #[command(flatten)]
    pub(crate) load: LoadArgs,
    #[command(flatten)]
    pub(crate) http: HttpArgs,
}

#[derive(clap::Args, Debug)]
pub(crate) struct SlowArgs {
    /// Nodes that watch and never read
    #[arg(long, value_name = "K", default_value = "20", value_parser = count())]
    pub(crate) stuck: usize,

    #[command(flatten)]
    pub(crate) load: LoadArgs,
}

/// Watchers, and nodes that join and leave.
#[derive(clap::Args, Debug)]
pub(crate) struct LoadArgs {
    /// Nodes that watch and read
    #[arg(long, value_name = "N", default_value = "1000", value_parser = count())]
    pub(crate) nodes: usize,

    /// What watchers are sent
    #[arg(long, value_name = "HOW", default_value = "delta")]
    pub(crate) watch: Watch,

    /// Joins per second; as many leave
    #[arg(long, value_name = "R", default_value = "50", value_parser = per_second)]
    pub(crate) rate: f64,

    /// How long, all rounds together; as long again for what it is compared with
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = positive_time)]
    pub(crate) duration: Duration,

    /// Rounds, in turn with as many of what it is compared with
    #[arg(long, value_name = "N", default_value = "4", value_parser = rounds())]
    pub(crate) rounds: u32,

    /// Watchers register without a port, so that the list stays short
    #[arg(long)]
    pub(crate) unlisted: bool,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// A Distributor cuts a watcher that has not read for 10 s, which a single longer round shows.
fn defaults_of_slow(arg: clap::Arg) -> clap::Arg {
    match arg.get_id().as_str() {
        "nodes" => arg.default_value("500"),
        "watch" => arg.default_value("list"),
        "duration" => arg.default_value("15s"),
        "rounds" => arg.default_value("1"),
        _ => arg,
    }
}

#[derive(clap::Args, Debug)]
pub(crate) struct RpcArgs {
    /// Connections to the node
    #[arg(long, value_name = "C", default_value = "10", value_parser = count())]
    pub(crate) connections: usize,

    /// At most this many requests without a reply on each; a node takes 1024
    #[arg(long, value_name = "D", default_value = "16", value_parser = count())]
    pub(crate) depth: usize,

    /// Requests per second by a schedule that waits for no reply: times count from when a request
    /// was due [default: the next request follows a reply]
    #[arg(long, value_name = "R", value_parser = per_second)]
    pub(crate) rate: Option<f64>,

    /// How long, all rounds together; as long again for the baseline
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = positive_time)]
    pub(crate) duration: Duration,

    /// Rounds, in turn with as many of the baseline
    #[arg(long, value_name = "N", default_value = "5", value_parser = rounds())]
    pub(crate) rounds: u32,

    /// What is asked for, as METHOD/path
    #[arg(long, value_name = "URL", default_value = "GET/echo")]
    pub(crate) path: String,

    /// Params of each request, 64 bytes by default
    #[arg(long, value_name = "JSON", default_value = DEFAULT_PARAMS)]
    pub(crate) params: String,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

const DEFAULT_PARAMS: &str = r#"{"name":"apples","count":12,"note":"sixty-four bytes of params"}"#;

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
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = positive_time)]
    pub(crate) duration: Duration,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

impl IdleArgs {
    pub(crate) fn check(&self) -> Result<(), Halt> {
        const MAX_SILENCE: Duration = Duration::from_secs(45);
        if self.registered || self.duration <= MAX_SILENCE {
            return Ok(());
        }
        let duration = humantime::format_duration(self.duration);
        Err(Halt::usage(format!(
            "--duration {duration}: a Distributor closes connections that are silent for a minute; use \
             at most 45s, or --registered"
        )))
    }
}

fn per_second(text: &str) -> Result<f64, String> {
    let rate: Option<f64> = text.parse().ok();
    let rate = rate.filter(|rate| (0.001..=1e7).contains(rate));
    rate.ok_or_else(|| "use a number from 0.001 to 10000000".to_owned())
}

/// Short enough to be added to the present.
const MAX_TIME: Duration = Duration::from_secs(365 * 24 * 3600);

fn positive_time(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if time.is_zero() || time > MAX_TIME => {
            Err("use a time above 0s, and at most 365days".to_owned())
        }
        other => other.map_err(|error| error.to_string()),
    }
}

fn count() -> impl TypedValueParser<Value = usize> {
    let numbers = clap::value_parser!(u32).range(1..=10_000_000);
    numbers.map(|count| usize::try_from(count).unwrap_or(usize::MAX))
}

fn rounds() -> impl TypedValueParser<Value = u32> {
    clap::value_parser!(u32).range(1..=1000)
}
