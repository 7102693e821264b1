//! The flags of the server, and their conversion to the configuration of the library.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use humantime::format_duration;

use super::limits::{ConnectionArgs, HttpArgs, NodeArgs, SessionArgs, TcpArgs, TurnArgs};
use crate::cli::failure::Failure;
use crate::cli::listen::PublicArgs;
use crate::cli::log::LogArgs;
use crate::cli::value::{address_range, host};
use crate::distributor::{Access, AddressRange, Config, Tokens};
use crate::host_port::HostPort;
use crate::protocol::RegistrationLimits;
use crate::reactor::Limits;
use crate::reactor::TcpOptions;
use crate::registry::Capacity;

/// Serve nodes; the default without a subcommand
#[derive(Parser, Debug)]
#[command(name = "serve")]
pub(crate) struct Args {
    /// Listen on ADDR.
    ///
    /// ADDR is ADDRESS:PORT or NAME:PORT; repeatable. A name means all its addresses
    #[arg(long, value_name = "ADDR", value_delimiter = ',')]
    #[arg(help_heading = "Network")]
    #[arg(default_value = "localhost:9000")]
    pub(crate) listen: Vec<HostPort>,

    /// Admit clients with a token of this file.
    ///
    /// Repeatable. Each line is TOKEN [NAME-PREFIX [URL-PREFIX…]], where * is any name and a
    /// URL-PREFIX is METHOD/path or /path; # begins a comment. Reloaded on SIGHUP, which closes no
    /// connection
    #[arg(long, value_name = "FILE", value_delimiter = ',')]
    #[arg(help_heading = "Access")]
    pub(crate) token_file: Vec<PathBuf>,

    /// Admit clients from this address block.
    ///
    /// As in 10.0.0.0/8; repeatable. These clients need no token. Plain peers, which register
    /// without a session, cannot send a token
    #[arg(long, value_name = "CIDR", value_delimiter = ',', value_parser = address_range)]
    #[arg(help_heading = "Access")]
    allow_from: Vec<AddressRange>,

    #[command(flatten)]
    pub(crate) public: PublicArgs,

    /// Keep the list in this file across restarts.
    ///
    /// Its nodes are listed until they reconnect or --warm-up ends [default: distributor.state in
    /// $STATE_DIRECTORY if systemd sets it, otherwise none]
    #[arg(long, value_name = "FILE", hide_default_value = true)]
    #[arg(help_heading = "Persistence")]
    #[arg(default_values_os = default_state())]
    pub(crate) state: Option<PathBuf>,

    /// Host with which peers on this machine are listed, so that nodes on other machines reach them
    /// [default: their loopback address; ::1 as 127.0.0.1 if the machine has an IPv4 loopback]
    #[arg(long, value_name = "ADDR", value_parser = host)]
    #[arg(help_heading = "Network")]
    loopback_host: Option<String>,

    #[command(flatten)]
    sessions: SessionArgs,
    #[command(flatten)]
    tcp: TcpArgs,
    #[command(flatten)]
    pub(crate) connections: ConnectionArgs,
    #[command(flatten)]
    nodes: NodeArgs,
    #[command(flatten)]
    turn: TurnArgs,
    #[command(flatten)]
    pub(crate) http: HttpArgs,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

impl Args {
    /// Checks for values that are valid alone but not together.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.http.is_contradictory() {
            return Err(Failure::usage(
                "--http none: combined with an address; remove one of them",
            ));
        }
        let sessions = &self.sessions;
        if sessions.heartbeat < Duration::from_millis(10) {
            return Err(Failure::usage(format!(
                "--heartbeat {}: too short; use at least 10ms",
                format_duration(sessions.heartbeat)
            )));
        }
        // Nodes send heartbeats up to 20 % late.
        if sessions.silence_timeout < sessions.heartbeat * 3 / 2 {
            return Err(Failure::usage(format!(
                "--silence-timeout {}: too short for --heartbeat {}; use at least one and a half \
                 times the heartbeat, otherwise nodes are removed between two heartbeats",
                format_duration(sessions.silence_timeout),
                format_duration(sessions.heartbeat)
            )));
        }
        Ok(())
    }

    /// Returns the limits of the loop. The number of connections also depends on the machine.
    pub(crate) fn limits(&self, max_connections: usize) -> Limits {
        let (connections, turn, tcp) = (&self.connections, &self.turn, &self.tcp);
        Limits {
            max_connections,
            max_frame_bytes: size(connections.max_frame_bytes),
            frame_timeout: connections.frame_timeout,
            first_byte_timeout: connections.first_byte_timeout,
            max_unsent_bytes: size(connections.max_unsent_bytes),
            write_timeout: connections.write_timeout,
            max_accepts_per_turn: size(turn.max_accepts_per_turn),
            max_read_bytes_per_turn: size(turn.max_read_bytes_per_turn),
            max_frames_per_turn: size(turn.max_frames_per_turn),
            listen_backlog: tcp.listen_backlog,
            tcp: TcpOptions {
                keepalive_idle: tcp.keepalive_idle,
                keepalive_interval: tcp.keepalive_interval,
                keepalive_probes: tcp.keepalive_probes,
                user_timeout: tcp.tcp_user_timeout,
                send_buffer_bytes: tcp.send_buffer_bytes,
            },
            ..Limits::default()
        }
    }

    pub(crate) fn config(&self, tokens: Option<Tokens>) -> Config {
        let nodes = &self.nodes;
        Config {
            access: Access {
                ranges: self.allow_from.clone(),
                tokens,
            },
            registration: RegistrationLimits {
                max_bytes: size(nodes.max_registration_bytes),
                max_name_bytes: size(nodes.max_name_bytes),
                max_urls: size(nodes.max_urls),
                max_url_bytes: size(nodes.max_url_bytes),
                max_depth: size(nodes.max_depth),
            },
            capacity: Capacity {
                max_entries: size(nodes.max_entries),
                max_encoded_bytes: size(nodes.max_list_bytes),
            },
            // The machine may allow fewer than the flag.
            max_connections: None,
            loopback_host: self.loopback_host.clone(),
            heartbeat: self.sessions.heartbeat,
            silence: self.sessions.silence_timeout,
            warm_up: self.sessions.warm_up,
        }
    }
}

/// Returns the value of a flag, saturated: a limit above all memory is no limit.
fn size(flag: u64) -> usize {
    usize::try_from(flag).unwrap_or(usize::MAX)
}

/// Returns the state file in the first folder that systemd provides for files across restarts.
fn default_state() -> Option<OsString> {
    let folders = std::env::var_os("STATE_DIRECTORY")?;
    let first = std::env::split_paths(&folders).next()?;
    let is_set = !first.as_os_str().is_empty();
    is_set.then(|| first.join("distributor.state").into_os_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn defaults_equal_those_of_the_library() {
        let args = Args::try_parse_from(["distributor"]).unwrap();
        let defaults = Limits::default();
        assert_eq!(args.limits(defaults.max_connections), defaults);
        assert_eq!(args.config(None), Config::default());
    }

    #[test]
    fn rejects_silence_timeout_below_heartbeats() {
        let check = |flags: &[&str]| {
            let args = [&["distributor"], flags].concat();
            Args::try_parse_from(args).unwrap().check()
        };
        assert!(check(&[]).is_ok());
        assert!(check(&["--heartbeat", "0s"]).is_err());
        assert!(check(&["--silence-timeout", "1s"]).is_err());
        assert!(check(&["--heartbeat", "1s", "--silence-timeout", "1500ms"]).is_ok());
    }
}
