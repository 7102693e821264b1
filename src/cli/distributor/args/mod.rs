//! The command line: the flags of the server, and the commands for a running one.

mod client;
mod limits;
mod serve;

use clap::{Args as _, CommandFactory, Subcommand};

use crate::cli::generate::Generate;
use crate::cli::help::with_help;
use crate::cli::settings::{HELP, with_sources};

pub(crate) use client::{CallArgs, DrainArgs, HttpClientArgs, NodesArgs, WhyArgs};
pub(crate) use serve::Args;

const SUMMARY: &str = "A service registry that pushes the list of live nodes to each of them";

const ABOUT: &str = "\
A service registry that pushes: every node keeps one TCP connection to the Distributor, registers \
over it, and receives the list of all live nodes whenever one joins or leaves.

Packets are JSON objects that end with ¶, as in {\"uri\":\"/distributes\",\"method\":\"POST\",\"key\":0,\
\"params\":{\"port\":9010,\"name\":\"goods\",\"urls\":[\"GET/goods\"]}}¶";

/// Flags of the server that `-h` shows, besides those for a configuration file.
const COMMON: [&str; 9] = [
    "listen",
    "token-file",
    "allow-from",
    "allow-anonymous",
    "state",
    "http",
    "admin-token-file",
    "log-format",
    "log-level",
];

const AFTER: &str = "\
Examples:
  distributor
      Serve this machine: both loopback addresses, port 9000, with the admin page on port 9001.
  distributor --listen 10.0.0.5:9000 --allow-anonymous
      Serve a trusted private network.
  distributor --listen 0.0.0.0:9000 --token-file tokens --allow-from 10.0.0.0/8
      Serve clients with a token, and those of a private network without.
  distributor --state /var/lib/distributor/state
      Keep the list across restarts.
  distributor --http localhost:9101
      Serve the admin API, for the commands and browsers, on another port than 9001.
  distributor --listen localhost:9000 --log-format json --log-level debug

Logs go to standard error, the addresses in use to standard output. SIGINT and SIGTERM stop the \
program within two seconds; connected nodes keep their last list. SIGHUP reloads the token files, \
and the log level of the configuration file.

Sockets of a service manager (LISTEN_FDS of systemd) replace the default of --listen, a socket with \
the name http that of --http, which is off without one. Either flag beside such sockets is an \
error; so is a socket that other machines can reach without access control. The service manager is \
notified of start, reload and stop (NOTIFY_SOCKET), and of a running event loop (WATCHDOG_USEC).

An invalid state file is renamed to FILE.broken-TIME; a failed write is retried every second. Both \
are logged, and the Distributor serves on. FILE.lock excludes a second Distributor.

Exit codes: 0 stopped by a signal; 1 failure while serving, unreadable file, or state file in \
use or without a folder; 2 invalid flag, variable, file content or inherited socket; 3 cannot \
listen. Failures that can end by themselves never exit with 2. Other commands: 0 success; 1 not \
ready, not found, not reached or rejected; 2 invalid command line.";

const NODES_CODES: &str = "\
Exit codes: 0 success; 1 no node matches NAME or --url, the Distributor was not reached, or it \
rejected the request; 2 invalid command line.";

const HTTP_CODES: &str = "\
Exit codes: 0 success; 1 the Distributor was not reached, or it rejected the request; 2 invalid \
command line.";

const DRAIN_CODES: &str = "\
Exit codes: 0 success; 1 no such node, a session has not acknowledged within --wait, the Distributor \
was not reached, or it rejected the request; 2 invalid command line.";

const CHECK_CODES: &str = "\
Exit codes: 0 ready; 1 not ready, or not reached; 2 invalid command line.";

const CALL_CODES: &str = "\
Exit codes: 0 the node replied with results; 1 the node replied with an error or not at all, or the \
list of nodes could not be read; 2 invalid command line.";

/// Prefix of the server's environment variables.
pub(crate) const PREFIX: &str = "PILCROW_";

/// Returns the whole command line. Without a subcommand it takes the flags of the server.
pub(crate) fn command_line() -> clap::Command {
    let server = Args::augment_args(clap::Command::new("distributor"));
    let serve = with_sources(Args::command(), PREFIX);
    let command = Command::augment_subcommands(with_sources(server, PREFIX).subcommand(serve))
        .about(SUMMARY)
        .long_about(format!("{ABOUT}\n\n{HELP}"))
        .after_long_help(AFTER)
        .args_conflicts_with_subcommands(true);
    with_help(command, &COMMON)
}

/// The commands besides `serve`.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// List the registered nodes
    ///
    /// The table fits the terminal: long cells end with …. In a file or a pipe it is complete,
    /// unless COLUMNS is set
    #[command(after_long_help = NODES_CODES)]
    Nodes(NodesArgs),
    /// Print events as they happen, until interrupted
    #[command(after_long_help = HTTP_CODES)]
    Watch(HttpClientArgs),
    /// Print the events of a node, and the acknowledgements of each
    #[command(after_long_help = HTTP_CODES)]
    Why(WhyArgs),
    /// Remove nodes from the list, and report the acknowledgements
    #[command(after_long_help = DRAIN_CODES)]
    Drain(DrainArgs),
    /// Check whether a Distributor is ready
    #[command(after_long_help = CHECK_CODES)]
    Check(HttpClientArgs),
    /// Call a node that serves a route, and print the results
    #[command(after_long_help = CALL_CODES)]
    Call(CallArgs),
    #[command(flatten)]
    Generate(Generate),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_is_well_formed() {
        command_line().debug_assert();
    }

    #[test]
    fn serves_without_a_subcommand() {
        let parse = |line: &[&str]| command_line().try_get_matches_from(line);
        let flags = ["--listen", "127.0.0.1:1"];
        let plain = parse(&[&["distributor"][..], &flags].concat()).unwrap();
        assert!(plain.subcommand().is_none());
        let serve = parse(&[&["distributor", "serve"][..], &flags].concat()).unwrap();
        for server in [&plain, serve.subcommand_matches("serve").unwrap()] {
            let listen = server
                .get_one::<crate::host_port::HostPort>("listen")
                .unwrap();
            assert_eq!(listen.to_string(), "127.0.0.1:1");
        }
        assert!(parse(&["distributor", "--listen", "127.0.0.1:1", "nodes"]).is_err());
    }

    #[test]
    fn server_flags_have_environment_variables() {
        let command = command_line();
        let serve = command.find_subcommand("serve").unwrap();
        let mut flags = 0;
        for flag in command.get_arguments().chain(serve.get_arguments()) {
            let long = flag.get_long().unwrap();
            if long == "print-config" {
                // A variable for this flag would keep a server from serving.
                assert!(flag.get_env().is_none());
                continue;
            }
            let variable = flag.get_env().unwrap().to_str().unwrap();
            let long = long.to_uppercase().replace('-', "_");
            assert_eq!(variable, format!("PILCROW_{long}"));
            flags += 1;
        }
        assert!(flags > 40, "{flags}");
    }
}
