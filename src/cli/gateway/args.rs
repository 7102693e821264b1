//! The command line, the environment beside it, and what they mean for the library.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Parser};

use crate::cli::address::HostPort;
use crate::cli::log::LogArgs;
use crate::cli::program::ServerArgs;

const ABOUT: &str = "\
HTTP in, calls to nodes out: GET /goods?color=red goes to a node that lists GET/goods, with \
{\"color\":\"red\"} as its params, and the node's reply comes back as JSON.

The params of POST and PUT come from the body, urlencoded or application/json, those of all other \
methods from the query. A path that nobody lists goes to whoever lists its longest beginning.

Every flag can be given in the environment, by the name that is shown with it, and by its own name \
in a file (--config); a flag goes before its variable, and that before the file. Times are written as 500ms, 10s or 2m.";

const AFTER: &str = "\
Examples:
  gateway
      Serve this machine on port 8000, with the Distributor on port 9000 of it.
  gateway --listen 10.0.0.5:8000 --allow-anonymous --distributor 10.0.0.4:9000

Statuses: 200 a node replied, whatever its errorcode; 404 no node lists the route; 502 the \
connection to the node was lost; 503 no node can take it; 504 the node did not reply in time; and \
400, 408, 413, 431 for requests that are malformed, slow or too large.

Logs, with a line for each request (as info), go to standard error, the addresses in use to \
standard output.
SIGINT and SIGTERM stop it when those who have asked are answered, within --deadline and a second; \
a second one stops it at once.
SIGHUP reads the token again, and the log level in the file of --config.

Sockets that a service manager hands over (LISTEN_FDS, as systemd does it) are served instead of \
the default of --listen; --listen beside them is refused, and so is one that other machines reach \
without --allow-anonymous. A service manager that wants to know (NOTIFY_SOCKET, WATCHDOG_USEC) is \
told when it serves and stops, and that it has not come to a stand.

Exit codes: 0 stopped by a signal; 1 failed while serving, or a file cannot be read; 2 a flag, a \
variable, the content of a file or a socket that is handed over is wrong; 3 could not listen. What may \
heal by itself never ends with 2: a --distributor NAME without an address is looked up again and again.";

/// The command line of the gateway.
#[derive(Parser, Debug)]
#[command(name = "gateway", version, about = ABOUT, after_help = AFTER, max_term_width = 100)]
pub(crate) struct Args {
    /// Where to listen: ADDRESS:PORT or NAME:PORT, again for more. A name means all its addresses
    #[arg(
        long,
        value_name = "ADDR",
        value_delimiter = ',',
        default_value = "localhost:8000"
    )]
    pub(crate) listen: Vec<HostPort>,

    /// Listen on addresses that other machines can reach, although whoever reaches them can call
    /// every node
    #[arg(long, value_name = "true|false", value_parser = BoolishValueParser::new())]
    #[arg(action = ArgAction::Set, num_args = 0..=1, require_equals = true)]
    #[arg(default_value = "false", default_missing_value = "true")]
    #[arg(hide_default_value = true, hide_possible_values = true)]
    pub(crate) allow_anonymous: bool,

    /// Address of the Distributor: ADDRESS:PORT or NAME:PORT. A name is looked up for each round of
    /// attempts, and all its addresses are tried in turn
    #[arg(long, value_name = "ADDR", default_value = "localhost:9000")]
    pub(crate) distributor: HostPort,

    /// A file with the token that admits it at the Distributor, on its first line. Read again on
    /// SIGHUP; a connection that it has stays
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,

    /// The name under which it registers. Plain gateways do not call nodes that are named gate
    #[arg(long, value_name = "NAME", default_value = "gate")]
    pub(crate) name: String,

    /// Time that a node may take for a reply
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = deadline)]
    pub(crate) deadline: Duration,

    /// Let pages of this origin, written SCHEME://HOST, call it from a browser; * is every page
    #[arg(long, value_name = "ORIGIN", value_parser = origin)]
    pub(crate) cors_origin: Option<String>,

    /// HTTP connections at a time; one more is answered with 503. At most what the fd limit leaves
    #[arg(long, value_name = "N", default_value = "8192")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max_connections: u64,

    /// Time that a connection may stay without a request
    #[arg(long, value_name = "TIME", default_value = "60s")]
    #[arg(value_parser = humantime::parse_duration)]
    pub(crate) keep_alive: Duration,

    /// Bytes of requests that a node without a session may not have read yet; a longer request is
    /// sent alone. Plain Node.js services die of more than 64 KiB in one read
    #[arg(long, value_name = "BYTES", default_value = "32768")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_plain_in_flight: u32,

    #[command(flatten)]
    pub(crate) log: LogArgs,
}

impl ServerArgs for Args {
    fn log(&self) -> &LogArgs {
        &self.log
    }
}

/// Variables begin with it.
pub(crate) const PREFIX: &str = "PILCROW_GATEWAY_";

fn deadline(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if (Duration::from_millis(1)..=Duration::from_secs(3600)).contains(&time) {
        Ok(time)
    } else {
        Err("it is between 1ms and 1h".to_owned())
    }
}

fn origin(text: &str) -> Result<String, String> {
    let is_origin = text.split_once("://").is_some_and(|(scheme, host)| {
        !scheme.is_empty() && !host.is_empty() && !host.contains(['/', ',', ' '])
    });
    match text == "*" || is_origin && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(text.to_owned()),
        false => Err("it is SCHEME://HOST, as in https://shop.example, or *".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::settings::with_sources;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        with_sources(Args::command(), PREFIX).debug_assert();
    }

    #[test]
    fn an_origin_has_a_scheme_and_a_host_and_no_path() {
        for fits in ["*", "http://localhost:3000", "https://shop.example"] {
            assert!(origin(fits).is_ok(), "{fits}");
        }
        for wrong in [
            "",
            "shop",
            "https://",
            "https://a/",
            "https://a, https://b",
            "https://a\r\nX: y",
        ] {
            assert!(origin(wrong).is_err(), "{wrong}");
        }
    }
}
