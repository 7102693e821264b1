//! The flags of the commands that ask a running Distributor.

use std::path::PathBuf;
use std::time::Duration;

use crate::cli::address::HostPort;

/// Whom to ask over HTTP, and how.
#[derive(clap::Args, Debug)]
pub(crate) struct HttpClientArgs {
    /// Where the Distributor's --http is [default: 127.0.0.1:9001]
    #[arg(long, value_name = "ADDR", env = "PILCROW_HTTP_AT")]
    pub(crate) http: Option<String>,

    /// Show the token in this file, if one is asked for
    #[arg(
        long,
        value_name = "FILE",
        env = "PILCROW_CLIENT_TOKEN_FILE",
        alias = "admin-token-file"
    )]
    pub(crate) token_file: Option<PathBuf>,

    /// Print JSON, for programs
    #[arg(long)]
    pub(crate) json: bool,
}

/// `nodes`
#[derive(clap::Args, Debug)]
pub(crate) struct NodesArgs {
    /// Only those with this name
    pub(crate) name: Option<String>,

    /// Only those that list this url, as in GET/goods, or this path, as in /goods
    #[arg(long)]
    pub(crate) url: Option<String>,

    /// Ask where nodes do, not over HTTP: for a Distributor without --http, or a plain one.
    /// What nodes are not told is left out. Without this and --http, 127.0.0.1:9000 is asked if nobody
    /// is at 127.0.0.1:9001
    #[arg(long, value_name = "ADDR")]
    pub(crate) distributor: Option<HostPort>,

    #[command(flatten)]
    pub(crate) at: HttpClientArgs,
}

/// `why`
#[derive(clap::Args, Debug)]
pub(crate) struct WhyArgs {
    /// The node's name; without it, what happened to all
    pub(crate) name: Option<String>,

    /// How many events at most, the last ones
    #[arg(long, value_name = "N", default_value = "20")]
    pub(crate) limit: usize,

    #[command(flatten)]
    pub(crate) at: HttpClientArgs,
}

/// `drain`
#[derive(clap::Args, Debug)]
pub(crate) struct DrainArgs {
    /// All nodes with this name leave the list. Their connections stay
    pub(crate) name: String,

    /// Wait so long for everybody to know (a minute at most), and fail if somebody does not; alone:
    /// 10s. Without it nobody is waited for
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "10s")]
    #[arg(value_parser = wait)]
    pub(crate) wait: Option<Duration>,

    #[command(flatten)]
    pub(crate) at: HttpClientArgs,
}

/// `call`
#[derive(clap::Args, Debug)]
pub(crate) struct CallArgs {
    /// What to call, as in GET/goods
    #[arg(value_name = "METHOD/path")]
    pub(crate) url: String,

    /// The params: any JSON
    #[arg(value_name = "JSON", default_value = "null")]
    pub(crate) params: String,

    /// Address of the Distributor: ADDRESS:PORT or NAME:PORT. All addresses of a name are tried
    #[arg(
        long,
        value_name = "ADDR",
        env = "PILCROW_DISTRIBUTOR",
        default_value = "127.0.0.1:9000"
    )]
    pub(crate) distributor: HostPort,

    /// Show the token in this file to the Distributor, if it asks for one
    #[arg(long, value_name = "FILE", env = "PILCROW_CLIENT_TOKEN_FILE")]
    pub(crate) token_file: Option<PathBuf>,

    /// How long all of it may take
    #[arg(long, value_name = "TIME", default_value = "5s")]
    #[arg(value_parser = humantime::parse_duration)]
    pub(crate) deadline: Duration,

    /// Print the whole outcome as JSON, for programs
    #[arg(long)]
    pub(crate) json: bool,
}

fn wait(text: &str) -> Result<Duration, String> {
    let wait = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; a NAME goes before --wait"))?;
    match wait <= Duration::from_secs(60) {
        true => Ok(wait),
        false => Err("a minute at most".to_owned()),
    }
}
