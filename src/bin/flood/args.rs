//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

use crate::child::Role;
use crate::herd::Watch;

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

The table goes to standard output, everything else to standard error. Ctrl-C ends a run early.

Exit codes: 0 measured; 1 the run failed; 2 a flag is wrong.";

/// The command line of flood.
#[derive(Parser, Debug)]
#[command(name = "flood", version, about = ABOUT, after_help = AFTER, max_term_width = 100)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do to the server.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// All nodes connect and register at once; then all but one leave at once
    Storm(StormArgs),
    /// What --spawn and --baseline start
    #[command(hide = true)]
    Serve { role: Role, connections: usize },
}

/// The server, and what is done with the figures.
#[derive(clap::Args, Debug)]
pub(crate) struct ServerArgs {
    /// The server to load
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9000")]
    pub(crate) to: SocketAddr,

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
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
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
    pub(crate) server: ServerArgs,
}

impl StormArgs {
    pub(crate) fn watch_name(&self) -> String {
        name_of(self.watch)
    }
}

/// What a value is called on the command line.
fn name_of(value: impl ValueEnum) -> String {
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
}
