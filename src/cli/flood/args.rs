//! The command line of flood.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::ArgPredicate;
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use serde_json::value::RawValue;

use super::frames::Watch;
use crate::cli::generate::Generate;
use crate::cli::help::with_help;
use crate::cli::value::{timeout, whole};
use crate::host_port::HostPort;
use crate::protocol::Route;

const SUMMARY: &str = "Loads a Distributor or a node and reports latencies, CPU time and memory";

const ABOUT: &str = "\
Loads a Distributor or a node and reports latencies, CPU time and memory. --spawn starts a server for \
the run. --baseline compares it with a bare server that sends the same bytes to the same sockets.";

const AFTER: &str = "\
Examples:
  flood storm --spawn --nodes 1000 --baseline
  flood churn --spawn --nodes 1000 --rate 50 --duration 10s --watch delta --baseline
  flood rpc --to 127.0.0.1:9020 --connections 10 --depth 16
  flood idle --spawn --connections 5000
  flood slow --spawn --nodes 500 --stuck 20
  flood churn --spawn --http-readers 500
  flood churn --spawn --embedded
  flood churn --spawn --nodes 5000 --services 200 --subscriptions 2 --baseline
  flood churn --spawn --load 0.45 --baseline

The table is printed on standard output, everything else on standard error. Ctrl-C ends a run early.

Exit codes: 0 success; 1 the run failed; 2 invalid command line.";

#[derive(Parser, Debug)]
#[command(name = "flood", about = SUMMARY, long_about = ABOUT, after_long_help = AFTER)]
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
    #[command(mut_args(slow_defaults))]
    Slow(SlowArgs),
    /// Requests to a node; --spawn starts one that echoes
    #[command(mut_arg("to", |to| to.default_value("127.0.0.1:9020")))]
    Rpc(RpcArgs),
    /// Connections that do nothing, and what they cost
    Idle(IdleArgs),
    #[command(flatten)]
    Generate(Generate),
    /// A server for --spawn or --baseline
    #[command(hide = true)]
    Serve(ServeArgs),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Role {
    Distributor,
    EchoNode,
    Bare,
}

#[derive(clap::Args, Debug)]
pub(crate) struct ServeArgs {
    pub(crate) role: Role,
    pub(crate) connections: usize,
    #[arg(long)]
    pub(crate) with_http: bool,
}

/// The server, and the format of the output.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Server")]
pub(crate) struct ServerArgs {
    /// Server to load
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9000")]
    pub(crate) to: HostPort,

    /// Start a server for the run, in a process of its own
    #[arg(long, group = "http_side", conflicts_with_all = ["to", "pid"])]
    pub(crate) spawn: bool,

    /// Process of the server, to report its CPU time and memory
    #[arg(long, value_name = "PID", value_parser = whole::<u32>(1, i32::MAX.unsigned_abs().into()))]
    pub(crate) pid: Option<u32>,

    /// Compare with a bare server that sends the same bytes to the same sockets, in turn
    #[arg(long)]
    pub(crate) baseline: bool,

    /// Time limit of each step; the run fails if a step takes longer
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = timeout)]
    pub(crate) timeout: Duration,

    /// Connect from this many loopback addresses [default: as many as the port range requires]
    #[arg(long, value_name = "N", value_parser = count(1))]
    pub(crate) source_addresses: Option<usize>,

    /// Print JSON instead of the table
    #[arg(long, help_heading = "Report")]
    pub(crate) json: bool,

    /// Write a page with the table, the percentile curves and the time line
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    pub(crate) html: Option<PathBuf>,
}

#[derive(clap::Args, Debug)]
#[command(next_help_heading = "HTTP")]
pub(crate) struct HttpArgs {
    /// HTTP clients that read 10 KiB per second each, half of them /events and half /metrics;
    /// without --baseline, compared with the same run without them
    #[arg(long, value_name = "K", value_parser = count(1), requires = "http_side")]
    pub(crate) http_readers: Option<usize>,

    /// HTTP address of the Distributor, unless --spawn starts one
    #[arg(
        long,
        value_name = "ADDR",
        group = "http_side",
        requires = "http_readers"
    )]
    pub(crate) http: Option<HostPort>,
}

/// Services of the nodes, and the subscriptions of those that watch.
#[derive(clap::Args, Debug, Default)]
#[command(next_help_heading = "Load")]
pub(crate) struct ServiceArgs {
    /// Services that the nodes belong to in turn, each with one url
    #[arg(long, value_name = "S", value_parser = count(1))]
    pub(crate) services: Option<usize>,

    /// Services that each session subscribes to [default: it receives everything]
    #[arg(long, value_name = "K", value_parser = whole::<usize>(1, 256), requires = "services")]
    pub(crate) subscriptions: Option<usize>,
}

#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Load")]
pub(crate) struct StormArgs {
    /// Nodes that connect at once
    #[arg(long, value_name = "N", default_value = "1000", value_parser = count(2))]
    pub(crate) nodes: usize,

    /// Registration of the nodes; delta by default with --subscriptions
    #[arg(long, value_name = "HOW", default_value = "plain")]
    #[arg(default_value_if("subscriptions", ArgPredicate::IsPresent, "delta"))]
    pub(crate) watch: Watch,

    #[command(flatten)]
    pub(crate) services: ServiceArgs,

    /// Number of storms, in turn with as many of the baseline
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
    pub(crate) services: ServiceArgs,
    /// Choose the rate at which the bare loop is busy for this share of the time, from 0.01 to 0.95
    #[arg(long = "load", value_name = "SHARE", help_heading = "Load", value_parser = share)]
    #[arg(requires = "baseline", conflicts_with = "rate")]
    pub(crate) load_share: Option<f64>,
    /// Also turn a node that watches and a loop that does nothing, and report the longest turn of
    /// each
    #[arg(long = "embedded", help_heading = "Load")]
    pub(crate) is_embedded: bool,
    #[command(flatten)]
    pub(crate) http: HttpArgs,
}

#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Load")]
pub(crate) struct SlowArgs {
    /// Nodes that watch and never read
    #[arg(long, value_name = "K", default_value = "20", value_parser = count(1))]
    pub(crate) stuck: usize,

    #[command(flatten)]
    pub(crate) load: LoadArgs,
}

/// Watchers, and nodes that join and leave.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Load")]
pub(crate) struct LoadArgs {
    /// Nodes that watch and read
    #[arg(long, value_name = "N", default_value = "1000", value_parser = count(1))]
    pub(crate) nodes: usize,

    /// Registration of the watchers
    #[arg(long, value_name = "HOW", default_value = "delta")]
    pub(crate) watch: Watch,

    /// Joins per second, and leaves per second
    #[arg(long, value_name = "R", default_value = "50", value_parser = per_second)]
    pub(crate) rate: f64,

    /// Total time of all rounds; the comparison takes as long again
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = timeout)]
    pub(crate) duration: Duration,

    /// Number of rounds, in turn with as many of the comparison
    #[arg(long, value_name = "N", default_value = "4", value_parser = rounds())]
    pub(crate) rounds: u32,

    /// Register watchers without a port, so that the list stays short
    #[arg(long)]
    pub(crate) unlisted: bool,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// A Distributor closes the connection of a watcher that has not read for 10 s. Only a single,
/// longer round shows that.
fn slow_defaults(arg: clap::Arg) -> clap::Arg {
    match arg.get_id().as_str() {
        "nodes" => arg.default_value("500"),
        "watch" => arg.default_value("list"),
        "duration" => arg.default_value("15s"),
        "rounds" => arg.default_value("1"),
        _ => arg,
    }
}

#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Load")]
pub(crate) struct RpcArgs {
    /// Connections to the node
    #[arg(long, value_name = "C", default_value = "10", value_parser = count(1))]
    pub(crate) connections: usize,

    /// Limit of requests without a reply on each connection; a node allows 1024
    #[arg(long, value_name = "D", default_value = "16", value_parser = count(1))]
    pub(crate) depth: usize,

    /// Requests per second, by a schedule that does not wait for replies: times count from when a
    /// request was due [default: each reply is followed by the next request]
    #[arg(long, value_name = "R", value_parser = per_second)]
    pub(crate) rate: Option<f64>,

    /// Total time of all rounds; the baseline takes as long again
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = timeout)]
    pub(crate) duration: Duration,

    /// Number of rounds, in turn with as many of the baseline
    #[arg(long, value_name = "N", default_value = "5", value_parser = rounds())]
    pub(crate) rounds: u32,

    /// Method and path of the requests, as in GET/echo
    #[arg(long, value_name = "URL", default_value = "GET/echo", value_parser = route)]
    pub(crate) path: Route<'static>,

    /// Params of each request, 64 bytes by default
    #[arg(long, value_name = "JSON", default_value = DEFAULT_PARAMS, value_parser = json)]
    pub(crate) params: Box<RawValue>,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

const DEFAULT_PARAMS: &str = r#"{"name":"apples","count":12,"note":"sixty-four bytes of params"}"#;

#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Load")]
pub(crate) struct IdleArgs {
    /// Connections that do nothing
    #[arg(long, value_name = "N", default_value = "1000", value_parser = count(1))]
    pub(crate) connections: usize,

    /// Register the connections and send heartbeats, but watch nothing
    #[arg(long)]
    pub(crate) registered: bool,

    /// Register without a port, so that the list stays short
    #[arg(long, requires = "registered")]
    pub(crate) unlisted: bool,

    /// Time that the connections stay idle
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = timeout)]
    pub(crate) duration: Duration,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// Flags that `-h` shows.
const COMMON: [&str; 14] = [
    "nodes",
    "connections",
    "watch",
    "rate",
    "duration",
    "rounds",
    "stuck",
    "depth",
    "registered",
    "to",
    "spawn",
    "baseline",
    "json",
    "html",
];

/// Returns the whole command line.
pub(crate) fn command_line() -> clap::Command {
    with_help(Args::command(), &COMMON)
}

/// Returns the name of a value on the command line.
pub(crate) fn name_of(value: impl ValueEnum) -> String {
    let value = value.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().to_owned())
}

fn route(text: &str) -> Result<Route<'static>, String> {
    let route = Route::parse(text);
    if route.method.is_empty() || route.path.is_empty() {
        return Err("not a route; write METHOD/path, as in GET/echo".to_owned());
    }
    Ok(route.into_owned())
}

fn json(text: &str) -> Result<Box<RawValue>, String> {
    RawValue::from_string(text.to_owned())
        .map_err(|error| format!("not JSON: {error}; write it as in {{\"color\":\"red\"}}"))
}

fn per_second(text: &str) -> Result<f64, String> {
    let rate: Option<f64> = text.parse().ok();
    let rate = rate.filter(|rate| (0.001..=1e7).contains(rate));
    rate.ok_or_else(|| "not a rate; use a number from 0.001 to 10000000".to_owned())
}

fn share(text: &str) -> Result<f64, String> {
    let share: Option<f64> = text.parse().ok();
    let share = share.filter(|share| (0.01..=0.95).contains(share));
    share.ok_or_else(|| "not a share of the time; use a number from 0.01 to 0.95".to_owned())
}

fn count(least: u64) -> impl Fn(&str) -> Result<usize, String> + Clone {
    whole(least, 10_000_000)
}

fn rounds() -> impl Fn(&str) -> Result<u32, String> + Clone {
    whole(1, 1000)
}
