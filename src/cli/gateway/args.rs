//! The flags of the gateway.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, CommandFactory, Parser, Subcommand};

use super::subscribe::prefix;
use crate::cli::address::address_or_none;
use crate::cli::generate::Generate;
use crate::cli::help::with_help;
use crate::cli::listen::PublicArgs;
use crate::cli::log::LogArgs;
use crate::cli::settings::{HELP, with_sources};
use crate::cli::value::{any_duration, duration, switch, whole};
use crate::host_port::HostPort;

const SUMMARY: &str = "HTTP in, calls to nodes out";

const ABOUT: &str = "\
HTTP in, calls to nodes out: GET /goods?color=red goes to a node that lists GET/goods, with \
{\"color\":\"red\"} as params, and the reply of the node comes back as JSON.

The params of POST and PUT come from the body (urlencoded or JSON), those of other \
methods from the query. A path that no node lists goes to a node that lists its longest prefix.";

const AFTER: &str = "\
Examples:
  gateway
      Serve this machine on port 8000, with the Distributor on port 9000.
  gateway --listen 10.0.0.5:8000 --allow-anonymous --distributor 10.0.0.4:9000

Statuses: 200 a node replied, with any errorcode; 404 no node lists the route; 502 the connection to \
the node was lost; 503 no node is available; 504 the node did not reply in time; 400, 408, 413 and \
431 for malformed, slow or large requests.

Logs go to standard error, with a line for each request at level info, the addresses in use to \
standard output. SIGINT and SIGTERM stop the program after open requests are answered, within \
--deadline and a second; a second signal stops it at once. SIGHUP reloads the token file, and the \
log level of the configuration file.

Sockets of a service manager (LISTEN_FDS of systemd) replace the default of --listen. The flag \
beside such sockets is an error; so is a socket that other machines can reach without \
--allow-anonymous. The service manager is notified of start, reload and stop (NOTIFY_SOCKET), and of \
a running event loop (WATCHDOG_USEC).

Exit codes: 0 stopped by a signal; 1 failure while serving, or unreadable file; 2 invalid flag, \
variable, file content or inherited socket; 3 cannot listen. Failures that can end by themselves \
never exit with 2: a --distributor NAME without an address is looked up again and again.";

/// The command line of the gateway.
#[derive(Parser, Debug)]
#[command(name = "gateway")]
pub(crate) struct Args {
    /// Listen on ADDR.
    ///
    /// ADDR is ADDRESS:PORT or NAME:PORT; repeatable. A name means all its addresses
    #[arg(long, value_name = "ADDR", value_delimiter = ',')]
    #[arg(help_heading = "Network")]
    #[arg(default_value = "localhost:8000")]
    pub(crate) listen: Vec<HostPort>,

    #[command(flatten)]
    pub(crate) public: PublicArgs,

    /// Register at ADDR.
    ///
    /// Address of the Distributor: ADDRESS:PORT or NAME:PORT. A name is looked up before each round
    /// of attempts, and all its addresses are tried
    #[arg(long, value_name = "ADDR", default_value = "localhost:9000")]
    #[arg(help_heading = "Network")]
    pub(crate) distributor: HostPort,

    /// File with the token for the Distributor.
    ///
    /// The token is on its first line. Reloaded on SIGHUP, which closes no connection
    #[arg(long, value_name = "FILE", help_heading = "Access")]
    pub(crate) token_file: Option<PathBuf>,

    /// Serve /healthz, /readyz and /metrics on ADDR.
    ///
    /// ADDR is ADDRESS:PORT or NAME:PORT; repeatable. Apart from --listen, so that they hide no
    /// path of a node. /readyz is 200 when the gateway has a complete list. none turns it off.
    /// Addresses that other machines can reach need --allow-anonymous
    #[arg(long, value_name = "ADDR", value_delimiter = ',')]
    #[arg(help_heading = "Network")]
    #[arg(default_value = "none", value_parser = address_or_none)]
    pub(crate) admin_listen: Vec<Option<HostPort>>,

    /// Name to register with.
    ///
    /// Plain gateways do not call nodes with the name gate
    #[arg(long, value_name = "NAME", default_value = "gate", value_parser = name)]
    #[arg(help_heading = "Network")]
    pub(crate) name: String,

    /// Receive only the nodes that serve paths under PREFIX.
    ///
    /// PREFIX is METHOD/PATH, or PATH for DELETE, GET, PATCH, POST and PUT, as in GET/shop or
    /// /shop; repeatable. For large fleets: it saves traffic and memory. It is not an access rule,
    /// since these nodes are called with all paths that they list. Other paths get status 404.
    /// Without the flag the gateway receives all nodes
    #[arg(long, value_name = "PREFIX", value_delimiter = ',', value_parser = prefix)]
    #[arg(help_heading = "Network")]
    pub(crate) subscribe: Vec<String>,

    /// Maximum time for a reply.
    ///
    /// From 1ms to 1h
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = deadline)]
    #[arg(help_heading = "Limits")]
    pub(crate) deadline: Duration,

    /// Origin whose pages may call the gateway.
    ///
    /// SCHEME://HOST, or * for all. Without it, browsers block calls from pages of other origins
    #[arg(long, value_name = "ORIGIN", value_parser = origin, help_heading = "HTTP")]
    pub(crate) cors_origin: Option<String>,

    /// Answer replies with the HTTP status of their errorcode.
    ///
    /// 0 is 200, 1 and 3 are 400, 2 is 404, 4 is 413, 5 is 403, 6 is 503, 7 is 504, others below
    /// 100 are 500. Codes of services are 422, or the same if they are from 400 to 599. Without the
    /// flag every reply has status 200. --map-errorcodes=false turns it off
    #[arg(long, value_name = "BOOL", value_parser = switch(), ignore_case = true)]
    #[arg(help_heading = "HTTP")]
    #[arg(action = ArgAction::Set, num_args = 0..=1, require_equals = true)]
    #[arg(default_value = "false", default_missing_value = "true")]
    #[arg(hide_default_value = true, hide_possible_values = true)]
    pub(crate) map_errorcodes: bool,

    /// Maximum number of HTTP connections; further ones get status 503. The fd limit lowers it
    #[arg(long, value_name = "N", default_value = "8192")]
    #[arg(value_parser = whole::<u64>(1, u64::MAX), help_heading = "Limits")]
    pub(crate) max_connections: u64,

    /// Maximum time that a connection stays open without a request
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = any_duration)]
    #[arg(help_heading = "HTTP")]
    pub(crate) keep_alive: Duration,

    /// Maximum bytes of requests in flight to a plain node, which registers without a session; a
    /// longer request is sent alone. Plain Node.js services fail after reading more than 64 KiB at
    /// once
    #[arg(long, value_name = "BYTES", default_value = "32768")]
    #[arg(value_parser = whole::<u32>(1, u32::MAX.into()), help_heading = "Limits")]
    pub(crate) max_plain_in_flight: u32,

    #[command(flatten)]
    pub(crate) log: LogArgs,
}

/// Prefix of the environment variables.
pub(crate) const PREFIX: &str = "PILCROW_GATEWAY_";

/// Flags that `-h` shows, besides those for a configuration file.
const COMMON: [&str; 9] = [
    "listen",
    "allow-anonymous",
    "distributor",
    "token-file",
    "name",
    "deadline",
    "cors-origin",
    "log-format",
    "log-level",
];

/// Returns the whole command line.
pub(crate) fn command_line() -> clap::Command {
    let command = with_sources(Args::command(), PREFIX)
        .about(SUMMARY)
        .long_about(format!("{ABOUT}\n\n{HELP}"))
        .after_long_help(AFTER)
        .args_conflicts_with_subcommands(true);
    with_help(Generate::augment_subcommands(command), &COMMON)
}

fn deadline(text: &str) -> Result<Duration, String> {
    duration(Duration::from_millis(1), Duration::from_secs(3600))(text)
}

fn name(text: &str) -> Result<String, String> {
    if text.is_empty() {
        Err("empty; use a name, as in gate".to_owned())
    } else if text.contains(char::is_control) {
        Err("it has a control character; use a name without, as in gate".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

fn origin(text: &str) -> Result<String, String> {
    let is_origin = text.split_once("://").is_some_and(|(scheme, host)| {
        !scheme.is_empty() && !host.is_empty() && !host.contains(['/', ',', ' '])
    });
    if text == "*" || is_origin && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err("not an origin; use SCHEME://HOST, as in https://shop.example, or *".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_is_well_formed() {
        let command = command_line();
        let about = command.get_long_about().unwrap().to_string();
        assert!(about.starts_with("HTTP in"), "{about}");
        command.debug_assert();
    }

    #[test]
    fn accepts_origins_with_scheme_and_host_only() {
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
