//! The flags of the commands for a running Distributor.

use std::path::PathBuf;
use std::time::Duration;

use crate::cli::value::{duration, timeout, whole};
use crate::host_port::HostPort;

/// Address of the admin API, and authentication.
#[derive(clap::Args, Debug)]
pub(crate) struct HttpClientArgs {
    /// Address of the admin API (--http of the Distributor) [default: localhost:9001]
    #[arg(long, value_name = "ADDR", env = "PILCROW_HTTP_AT")]
    pub(crate) http: Option<String>,

    /// File with the token for authentication
    #[arg(long, value_name = "FILE", env = "PILCROW_CLIENT_TOKEN_FILE")]
    #[arg(alias = "admin-token-file")]
    pub(crate) token_file: Option<PathBuf>,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(clap::Args, Debug)]
pub(crate) struct NodesArgs {
    /// Only nodes with this name
    pub(crate) name: Option<String>,

    /// Only nodes that list this URL, as in GET/goods, or this path, as in /goods
    #[arg(long)]
    pub(crate) url: Option<String>,

    /// Read the list as a node does, from this address instead of the admin API. It lacks data
    /// that nodes do not receive. [default: 127.0.0.1:9000, if neither this nor --http is given and
    /// nothing listens on port 9001]
    #[arg(long, value_name = "ADDR")]
    pub(crate) distributor: Option<HostPort>,

    #[command(flatten)]
    pub(crate) at: HttpClientArgs,
}

#[derive(clap::Args, Debug)]
pub(crate) struct WhyArgs {
    /// Name of the node [default: all nodes]
    pub(crate) name: Option<String>,

    /// Maximum number of events, the latest ones
    #[arg(long, value_name = "N", default_value = "20", value_parser = whole::<usize>(1, u64::MAX))]
    pub(crate) limit: usize,

    #[command(flatten)]
    pub(crate) at: HttpClientArgs,
}

#[derive(clap::Args, Debug)]
pub(crate) struct DrainArgs {
    /// Name of the nodes to drain. Their connections stay open
    pub(crate) name: String,

    /// Wait for all sessions to acknowledge, at most this long (maximum 1m; 10s without a TIME),
    /// and fail if one has not [default: do not wait]
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "10s")]
    #[arg(value_parser = wait)]
    pub(crate) wait: Option<Duration>,

    #[command(flatten)]
    pub(crate) at: HttpClientArgs,
}

#[derive(clap::Args, Debug)]
pub(crate) struct CallArgs {
    /// Route to call, as in GET/goods
    #[arg(value_name = "METHOD/path")]
    pub(crate) url: String,

    /// Params of the request: any JSON
    #[arg(value_name = "JSON", default_value = "null")]
    pub(crate) params: String,

    /// Address of the Distributor: ADDRESS:PORT or NAME:PORT. All addresses of a name are tried
    #[arg(long, value_name = "ADDR", env = "PILCROW_DISTRIBUTOR")]
    #[arg(default_value = "127.0.0.1:9000")]
    pub(crate) distributor: HostPort,

    /// File with the token for authentication
    #[arg(long, value_name = "FILE", env = "PILCROW_CLIENT_TOKEN_FILE")]
    pub(crate) token_file: Option<PathBuf>,

    /// Maximum time until the reply
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = timeout)]
    pub(crate) deadline: Duration,

    /// Print the outcome as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

fn wait(text: &str) -> Result<Duration, String> {
    let wait = duration(Duration::ZERO, Duration::from_secs(60))(text);
    // Otherwise it may be the NAME.
    let is_time = text.starts_with(|c: char| c.is_ascii_digit());
    wait.map_err(|error| {
        if is_time {
            error
        } else {
            error + "; a NAME goes before --wait"
        }
    })
}
