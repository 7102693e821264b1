//! The flags of the server, the environment beside them, and what they mean for the library.

use std::path::PathBuf;
use std::time::Duration;

use crate::TcpOptions;
use crate::distributor::{Access, AddressRange, Config};
use crate::protocol::RegistrationLimits;
use crate::reactor::Limits;
use crate::registry::Capacity;
use clap::builder::BoolishValueParser;
use clap::{ArgAction, Command, Parser};

use super::limits::{ConnectionArgs, NodeArgs, SessionArgs, TcpArgs, TurnArgs};
use crate::cli::address::HostPort;
use crate::cli::distributor::http::HttpArgs;
use crate::cli::failure::Failure;
use crate::cli::log::LogArgs;
use crate::cli::program::ServerArgs;

const ABOUT: &str = "Serve, which is what happens without a subcommand as well";

/// What the server is told.
#[derive(Parser, Debug)]
#[command(name = "serve", about = ABOUT)]
pub(crate) struct Args {
    /// Where to listen: ADDRESS:PORT or NAME:PORT, again for more. A name means all its addresses
    #[arg(
        long,
        value_name = "ADDR",
        value_delimiter = ',',
        default_value = "localhost:9000"
    )]
    pub(crate) listen: Vec<HostPort>,

    /// Admit those who show a token of this file: a line each, TOKEN [NAME-PREFIX [URL-PREFIX…]],
    /// where * is any name, a URL-PREFIX is METHOD/path or /path, and # begins a comment. Read again
    /// on SIGHUP; who is connected stays
    #[arg(long, value_name = "FILE", value_delimiter = ',')]
    pub(crate) token_file: Vec<PathBuf>,

    /// Admit addresses of this block without a token, as in 10.0.0.0/8, again for more. With
    /// --token-file either admits; plain peers have no token to show
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    allow_from: Vec<AddressRange>,

    /// Listen on addresses that other machines can reach, although whoever reaches them can
    /// register and is sent the list
    #[arg(long, value_name = "true|false", value_parser = BoolishValueParser::new())]
    #[arg(action = ArgAction::Set, num_args = 0..=1, require_equals = true)]
    #[arg(default_value = "false", default_missing_value = "true")]
    #[arg(hide_default_value = true, hide_possible_values = true)]
    pub(crate) allow_anonymous: bool,

    /// Keep the list in this file, so that a restart goes unnoticed: the nodes in it are listed
    /// until they are back, or --warm-up is over [default: distributor.state in $STATE_DIRECTORY,
    /// if systemd sets that; else the list is not kept]
    #[arg(long, value_name = "FILE")]
    pub(crate) state: Option<PathBuf>,

    /// List peers on this machine with this host, so that nodes on other machines reach them
    /// [default: their loopback address; ::1 as 127.0.0.1, unless the machine has no IPv4 loopback]
    #[arg(long, value_name = "ADDR", value_parser = host)]
    loopback_host: Option<String>,

    #[command(flatten)]
    pub(crate) log: LogArgs,
    #[command(flatten)]
    pub(crate) http: HttpArgs,
    #[command(flatten)]
    pub(crate) connections: ConnectionArgs,
    #[command(flatten)]
    nodes: NodeArgs,
    #[command(flatten)]
    sessions: SessionArgs,
    #[command(flatten)]
    turn: TurnArgs,
    #[command(flatten)]
    tcp: TcpArgs,
}

impl ServerArgs for Args {
    fn log(&self) -> &LogArgs {
        &self.log
    }

    fn check(&self) -> Result<(), Failure> {
        let sessions = &self.sessions;
        if sessions.heartbeat < Duration::from_millis(10) {
            return Err(Failure::usage("--heartbeat: at least 10ms"));
        }
        // Nodes send it up to a fifth later than they are told.
        if sessions.silence_timeout < sessions.heartbeat * 3 / 2 {
            return Err(Failure::usage(format!(
                "--silence-timeout {:?}: at least one and a half times the --heartbeat of {:?}, \
                 or nodes are dropped between two heartbeats",
                sessions.silence_timeout, sessions.heartbeat
            )));
        }
        Ok(())
    }
}

impl Args {
    /// What the loop is told. The number of connections depends on the machine as well.
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

    /// Whether not everybody is admitted.
    pub(crate) fn limits_access(&self) -> bool {
        !self.token_file.is_empty() || !self.allow_from.is_empty()
    }

    /// What the Distributor is told, but for the tokens.
    pub(crate) fn config(&self) -> Config {
        let nodes = &self.nodes;
        Config {
            access: Access {
                ranges: self.allow_from.clone(),
                tokens: None,
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
            loopback_host: self.loopback_host.clone(),
            heartbeat: self.sessions.heartbeat,
            silence: self.sessions.silence_timeout,
            warm_up: self.sessions.warm_up,
        }
    }
}

/// More than memory is as good as no limit.
fn size(flag: u64) -> usize {
    usize::try_from(flag).unwrap_or(usize::MAX)
}

/// Where systemd has room for what outlives a restart, the list is kept there.
pub(super) fn with_state_of_systemd(command: Command) -> Command {
    let folders = std::env::var_os("STATE_DIRECTORY").unwrap_or_default();
    match std::env::split_paths(&folders).next() {
        Some(first) if !first.as_os_str().is_empty() => command.mut_arg("state", |state| {
            let file = first.join("distributor.state").into_os_string();
            state.default_value(file).hide_default_value(true)
        }),
        _ => command,
    }
}

fn host(text: &str) -> Result<String, String> {
    let is_name = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if text.parse::<std::net::IpAddr>().is_ok() || text.split('.').all(is_name) {
        Ok(text.to_owned())
    } else {
        Err("not an address and not the name of a host".to_owned())
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

    #[test]
    fn the_defaults_are_those_of_the_library() {
        let args = Args::try_parse_from(["distributor"]).unwrap();
        let defaults = Limits::default();
        assert_eq!(args.limits(defaults.max_connections), defaults);
        assert_eq!(args.config(), Config::default());
    }

    #[test]
    fn nodes_have_time_for_a_heartbeat() {
        let check = |flags: &[&str]| {
            let args = [&["distributor"], flags].concat();
            Args::try_parse_from(args).unwrap().check()
        };
        assert!(check(&[]).is_ok());
        assert!(check(&["--heartbeat", "0s"]).is_err());
        assert!(check(&["--silence-timeout", "1s"]).is_err());
        assert!(check(&["--heartbeat", "1s", "--silence-timeout", "1500ms"]).is_ok());
    }

    #[test]
    fn hosts_are_addresses_or_names() {
        for good in ["10.0.0.1", "::1", "db.internal", "node-7"] {
            assert_eq!(host(good).as_deref(), Ok(good));
        }
        for bad in ["", "a b", "a..b", "a\"b", "a¶"] {
            assert!(host(bad).is_err(), "{bad}");
        }
    }
}
