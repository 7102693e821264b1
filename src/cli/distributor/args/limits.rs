//! Flags that put a number on something.

use std::time::Duration;

/// What one connection may do.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Limits for connections")]
pub(crate) struct ConnectionArgs {
    /// Connections at a time; one more gets errorcode 6. At most what the fd limit leaves
    /// [default: 10000, or 64 less than the fd limit]
    #[arg(long, value_name = "N", value_parser = at_least_one())]
    pub(crate) max_connections: Option<u64>,

    /// Bytes of one frame, without its ¶
    #[arg(long, value_name = "N", default_value = "65536", value_parser = at_least_one())]
    pub(super) max_frame_bytes: u64,

    /// Time from a frame's first byte to its ¶
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = more_than_none)]
    pub(super) frame_timeout: Duration,

    /// Time from being accepted to the first byte
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = more_than_none)]
    pub(super) first_byte_timeout: Duration,

    /// Bytes queued for one connection, the list not counted
    #[arg(long, value_name = "N", default_value = "1048576", value_parser = at_least_one())]
    pub(super) max_unsent_bytes: u64,

    /// Time that a connection may read nothing of what is queued for it
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = more_than_none)]
    pub(super) write_timeout: Duration,
}

/// What one node may say about itself, and all together.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Limits for nodes")]
pub(super) struct NodeArgs {
    /// Registered nodes
    #[arg(long, value_name = "N", default_value = "10000", value_parser = at_least_one())]
    pub(super) max_entries: u64,

    /// Bytes of the whole list
    #[arg(long, value_name = "N", default_value = "15728640", value_parser = at_least_one())]
    pub(super) max_list_bytes: u64,

    /// Bytes of one registration's params
    #[arg(long, value_name = "N", default_value = "16384", value_parser = at_least_one())]
    pub(super) max_registration_bytes: u64,

    /// Bytes of a name
    #[arg(long, value_name = "N", default_value = "128", value_parser = at_least_one())]
    pub(super) max_name_bytes: u64,

    /// Urls of one node
    #[arg(long, value_name = "N", default_value = "256", value_parser = at_least_one())]
    pub(super) max_urls: u64,

    /// Bytes of one url
    #[arg(long, value_name = "N", default_value = "2048", value_parser = at_least_one())]
    pub(super) max_url_bytes: u64,

    /// Objects and arrays within each other in a registration
    #[arg(long, value_name = "N", default_value = "16")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=100))]
    pub(super) max_depth: u64,
}

/// How nodes that ask for a session are watched.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Sessions")]
pub(super) struct SessionArgs {
    /// Time between two heartbeats of a node
    #[arg(long, value_name = "TIME", default_value = "5s")]
    #[arg(value_parser = humantime::parse_duration)]
    pub(super) heartbeat: Duration,

    /// Time without a word after which a node is gone
    #[arg(long, value_name = "TIME", default_value = "15s")]
    #[arg(value_parser = humantime::parse_duration)]
    pub(super) silence_timeout: Duration,

    /// Time after the start in which lists are marked as not complete, and nodes of the last run
    /// (--state) may come back
    #[arg(long, value_name = "TIME", default_value = "10s")]
    #[arg(value_parser = humantime::parse_duration)]
    pub(super) warm_up: Duration,
}

/// What one turn of the loop does for one peer before the others have theirs.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Limits for one turn of the loop")]
pub(super) struct TurnArgs {
    /// Connections accepted from one listener
    #[arg(long, value_name = "N", default_value = "64", value_parser = at_least_one())]
    pub(super) max_accepts_per_turn: u64,

    /// Bytes read from one connection
    #[arg(long, value_name = "N", default_value = "65536")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=16 << 20))]
    pub(super) max_read_bytes_per_turn: u64,

    /// Frames taken from one connection
    #[arg(long, value_name = "N", default_value = "64", value_parser = at_least_one())]
    pub(super) max_frames_per_turn: u64,
}

/// What is asked of the kernel.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "TCP")]
pub(super) struct TcpArgs {
    /// Connections that wait to be accepted; the kernel caps it at net.core.somaxconn
    #[arg(long, value_name = "N", default_value = "4096")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=65535))]
    pub(super) listen_backlog: u32,

    /// Quiet time before a peer is probed
    #[arg(long, value_name = "TIME", default_value = "4s", value_parser = seconds)]
    pub(super) keepalive_idle: Duration,

    /// Time between two probes
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = seconds)]
    pub(super) keepalive_interval: Duration,

    /// Unanswered probes before a peer is gone
    #[arg(long, value_name = "N", default_value = "3")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=127))]
    pub(super) keepalive_probes: u32,

    /// Time that sent bytes may stay unacknowledged before a peer is gone (Linux)
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = more_than_none)]
    pub(super) tcp_user_timeout: Duration,

    /// Bytes that the kernel may hold for one connection that does not read
    #[arg(long, value_name = "N", default_value = "131072")]
    #[arg(value_parser = clap::value_parser!(u32).range(4096..=1 << 30))]
    pub(super) send_buffer_bytes: u32,
}

fn at_least_one() -> clap::builder::RangedU64ValueParser<u64> {
    clap::value_parser!(u64).range(1..)
}

/// A time after which something ends. Without any, it would end before it begins.
fn more_than_none(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if time < Duration::from_millis(1) {
        return Err("it is at least 1ms".to_owned());
    }
    Ok(time)
}

fn seconds(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if time.as_secs() == 0 || time.subsec_nanos() > 0 {
        return Err("the kernel counts this in whole seconds, at least one".to_owned());
    }
    Ok(time)
}
