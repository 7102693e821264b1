//! Flags of the server in groups: the admin API, limits, sessions and TCP.

use std::path::PathBuf;
use std::time::Duration;

use crate::admin::{AdminToken, Config};
use crate::cli::address::address_or_none;
use crate::cli::value::{any_duration, duration, host, timeout, whole};
use crate::host_port::HostPort;

#[derive(clap::Args, Debug)]
#[command(next_help_heading = "HTTP")]
pub(crate) struct HttpArgs {
    /// HTTP API on ADDR.
    ///
    /// The admin API: a page with all nodes, /metrics, /events and more; repeatable. none turns it
    /// off. The default is not used beside inherited sockets or if --listen takes its port; if
    /// another program holds it, a warning is logged. Addresses that other machines can reach need
    /// --token-file, --allow-from or --allow-anonymous
    #[arg(long, value_name = "ADDR", value_delimiter = ',')]
    #[arg(default_value = "localhost:9001", value_parser = address_or_none)]
    pub(crate) http: Vec<Option<HostPort>>,

    /// Accept HTTP requests with this host name; repeatable. Always accepted are localhost,
    /// addresses and the names in --http; others are rejected, against DNS rebinding
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = host)]
    http_host: Vec<String>,

    /// File with the token that may drain nodes.
    ///
    /// It authorizes changes over HTTP. Reloaded on SIGHUP
    #[arg(long, value_name = "FILE")]
    pub(crate) admin_token_file: Option<PathBuf>,

    /// Maximum number of HTTP connections, in addition to those of nodes
    #[arg(long, value_name = "N", default_value = "1024")]
    #[arg(value_parser = whole::<u16>(1, u16::MAX.into()))]
    pub(crate) max_http_connections: u16,
}

impl HttpArgs {
    /// Returns whether there is a `none` beside other values.
    pub(crate) fn is_contradictory(&self) -> bool {
        self.http.len() > 1 && self.http.contains(&None)
    }

    pub(crate) fn config(&self, admin_token: Option<AdminToken>, max_connections: u16) -> Config {
        let served = self.http.iter().flatten();
        let served = served.map(|address| address.host().to_owned());
        Config {
            hosts: self.http_host.iter().cloned().chain(served).collect(),
            admin_token,
            max_connections: max_connections.into(),
            ..Config::default()
        }
    }
}

#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Limits")]
pub(crate) struct ConnectionArgs {
    /// Maximum number of connections of nodes; further ones get errorcode 6. The fd limit lowers it
    /// [default: 10000, or 64 less than the fd limit]
    #[arg(long, value_name = "N", value_parser = positive())]
    pub(crate) max_connections: Option<u64>,

    /// Maximum bytes of a frame, without its ¶
    #[arg(long, value_name = "N", default_value = "65536", value_parser = positive())]
    pub(super) max_frame_bytes: u64,

    /// Maximum time from the first byte of a frame to its ¶
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = timeout)]
    pub(super) frame_timeout: Duration,

    /// Maximum time from accepting a connection to its first byte
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = timeout)]
    pub(super) first_byte_timeout: Duration,

    /// Maximum bytes queued for a connection, without the list
    #[arg(long, value_name = "N", default_value = "1048576", value_parser = positive())]
    pub(super) max_unsent_bytes: u64,

    /// Maximum time that a connection reads nothing while data is queued for it
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = timeout)]
    pub(super) write_timeout: Duration,
}

#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Limits")]
pub(super) struct NodeArgs {
    /// Maximum number of registered nodes
    #[arg(long, value_name = "N", default_value = "10000", value_parser = positive())]
    pub(super) max_entries: u64,

    /// Maximum bytes of the whole list
    #[arg(long, value_name = "N", default_value = "15728640", value_parser = positive())]
    pub(super) max_list_bytes: u64,

    /// Maximum bytes of the params of a registration
    #[arg(long, value_name = "N", default_value = "16384", value_parser = positive())]
    pub(super) max_registration_bytes: u64,

    /// Maximum bytes of a name
    #[arg(long, value_name = "N", default_value = "128", value_parser = positive())]
    pub(super) max_name_bytes: u64,

    /// Maximum number of URLs of a node
    #[arg(long, value_name = "N", default_value = "256", value_parser = positive())]
    pub(super) max_urls: u64,

    /// Maximum bytes of a URL
    #[arg(long, value_name = "N", default_value = "2048", value_parser = positive())]
    pub(super) max_url_bytes: u64,

    /// Maximum nesting depth of objects and arrays in a registration
    #[arg(long, value_name = "N", default_value = "16")]
    #[arg(value_parser = whole::<u64>(1, 100))]
    pub(super) max_depth: u64,
}

#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Network")]
pub(super) struct SessionArgs {
    /// Interval between two heartbeats of a node, at least 10ms
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = any_duration)]
    pub(super) heartbeat: Duration,

    /// Time without data after which a node is removed, at least 1.5 times --heartbeat
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = any_duration)]
    pub(super) silence_timeout: Duration,

    /// Time after the start in which lists are marked as incomplete, and nodes of the last run
    /// (--state) can reconnect
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = any_duration)]
    #[arg(help_heading = "Persistence")]
    pub(super) warm_up: Duration,
}

#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Limits")]
pub(super) struct TurnArgs {
    /// Maximum number of connections accepted from a listener in one turn of the loop
    #[arg(long, value_name = "N", default_value = "64", value_parser = positive())]
    pub(super) max_accepts_per_turn: u64,

    /// Maximum bytes read from a connection in one turn of the loop
    #[arg(long, value_name = "N", default_value = "65536")]
    #[arg(value_parser = whole::<u64>(1, 16 << 20))]
    pub(super) max_read_bytes_per_turn: u64,

    /// Maximum number of frames processed from a connection in one turn of the loop
    #[arg(long, value_name = "N", default_value = "64", value_parser = positive())]
    pub(super) max_frames_per_turn: u64,
}

#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Network")]
pub(super) struct TcpArgs {
    /// Maximum number of connections waiting to be accepted; the kernel caps it at
    /// net.core.somaxconn
    #[arg(long, value_name = "N", default_value = "4096")]
    #[arg(value_parser = whole::<u32>(1, 65_535))]
    pub(super) listen_backlog: u32,

    /// Idle time before the first keepalive probe
    #[arg(long, value_name = "TIME", default_value = "4s", value_parser = seconds)]
    pub(super) keepalive_idle: Duration,

    /// Interval between keepalive probes
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = seconds)]
    pub(super) keepalive_interval: Duration,

    /// Number of unanswered keepalive probes after which a connection is closed
    #[arg(long, value_name = "N", default_value = "3")]
    #[arg(value_parser = whole::<u32>(1, 127))]
    pub(super) keepalive_probes: u32,

    /// Maximum time that sent bytes stay unacknowledged (Linux)
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = timeout)]
    pub(super) tcp_user_timeout: Duration,

    /// Size of the send buffer of a connection in the kernel, in bytes
    #[arg(long, value_name = "N", default_value = "131072")]
    #[arg(value_parser = whole::<u32>(4096, 1 << 30))]
    pub(super) send_buffer_bytes: u32,
}

fn positive() -> impl Fn(&str) -> Result<u64, String> + Clone {
    whole(1, u64::MAX)
}

/// Maximum idle time and interval of keepalive probes in Linux.
const MAX_KEEPALIVE: Duration = Duration::from_secs(32_767);

fn seconds(text: &str) -> Result<Duration, String> {
    let time = duration(Duration::from_secs(1), MAX_KEEPALIVE)(text)?;
    if time.subsec_nanos() > 0 {
        return Err("not whole seconds; use 1s, 2s and so on".to_owned());
    }
    Ok(time)
}
