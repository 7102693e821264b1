//! The command line: the server's flags, and the commands that ask one.

mod client;
mod limits;
mod serve;

use clap::{Args as _, CommandFactory, Subcommand};

use crate::cli::settings::with_sources;

pub(crate) use client::{CallArgs, DrainArgs, HttpClientArgs, NodesArgs, WhyArgs};
pub(crate) use serve::Args;

const ABOUT: &str = "\
A service registry that pushes: every node keeps one TCP connection to it, says who it is, and is \
sent the list of all live nodes whenever one joins or leaves.

Packets are JSON objects ended by ¶, as in {\"uri\":\"/distributes\",\"method\":\"POST\",\"key\":0,\
\"params\":{\"port\":9010,\"name\":\"goods\",\"urls\":[\"GET/goods\"]}}¶

Every flag can be given in the environment, by the name that is shown with it, and by its own name \
in a file (--config); a flag goes before its variable, and that before the file. Times are written as 500ms, 10s or 2m.";

const AFTER: &str = "\
Examples:
  distributor
      Serve this machine: both loopback addresses, port 9000.
  distributor --listen 10.0.0.5:9000 --allow-anonymous
      Serve a private network in which everybody is trusted.
  distributor --listen 0.0.0.0:9000 --token-file tokens --allow-from 10.0.0.0/8
      Serve whoever shows a token, and a private network without.
  distributor --state /var/lib/distributor/state
      Let a restart go unnoticed.
  distributor --listen localhost:9000 --log-format json --log-level debug
  distributor --http 127.0.0.1:9001
      Show all of it on a page, and let other commands ask: nodes, watch, why, drain and check.

Logs go to standard error, the addresses in use to standard output.
SIGINT and SIGTERM stop it within two seconds; connected nodes keep their last list. SIGHUP reads \
the tokens again, and the log level in the file of --config.

Sockets that a service manager hands over (LISTEN_FDS, as systemd does it) are served instead of \
the default of --listen; one with the name http is served as --http would be. --listen or --http \
beside them is refused, and so is one that other machines reach if nothing says who may connect. A \
service manager that wants to know (NOTIFY_SOCKET, WATCHDOG_USEC) is told when it serves, reads \
files again and stops, and that it has not come to a stand.

A state file that cannot be used is renamed to FILE.broken-TIME, and one that cannot be written is \
tried again each second; both are said in the log, and change nothing else. FILE.lock keeps a \
second Distributor from the same file.

Exit codes: 0 stopped by a signal; 1 failed while serving, a file cannot be read, or another \
Distributor has the state file; 2 a flag, a variable, the content of a file or a socket that is handed \
over is wrong; 3 could not listen. What may heal by itself never ends with 2. Of the other commands: 0 \
done; 1 not ready, not there, not reached or refused; 2 the command line is wrong.";

/// Variables of the server begin with it.
pub(crate) const PREFIX: &str = "PILCROW_";

/// The whole command line. What has no subcommand is for the server, too.
pub(crate) fn command_line() -> clap::Command {
    let line = server(Args::augment_args(clap::Command::new("distributor")));
    let line = line.subcommand(server(Args::command()));
    Command::augment_subcommands(line)
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .after_help(AFTER)
        .max_term_width(100)
        .args_conflicts_with_subcommands(true)
        .disable_help_subcommand(true)
}

fn server(command: clap::Command) -> clap::Command {
    with_sources(serve::with_state_of_systemd(command), PREFIX)
}

/// What to do instead of serving.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Show who is there
    Nodes(NodesArgs),
    /// Show what happens, until Ctrl-C
    Watch(HttpClientArgs),
    /// Show what happened to a node, who was told of it, and who is late
    Why(WhyArgs),
    /// Take nodes out of the list, and say who knows
    Drain(DrainArgs),
    /// Say whether a Distributor is ready: exit code 0, or 1 if it is not or can't be reached
    Check(HttpClientArgs),
    /// Call whoever serves a url, and print the results: exit code 1 if there are none
    Call(CallArgs),
    /// Print what makes a shell complete this command line
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        command_line().debug_assert();
    }

    #[test]
    fn without_a_subcommand_it_serves() {
        let parse = |line: &[&str]| command_line().try_get_matches_from(line);
        let flags = ["--listen", "127.0.0.1:1"];
        let plain = parse(&[&["distributor"][..], &flags].concat()).unwrap();
        assert!(plain.subcommand().is_none());
        let serve = parse(&[&["distributor", "serve"][..], &flags].concat()).unwrap();
        for server in [&plain, serve.subcommand_matches("serve").unwrap()] {
            let listen = server
                .get_one::<crate::cli::address::HostPort>("listen")
                .unwrap();
            assert_eq!(listen.to_string(), "127.0.0.1:1");
        }
        assert!(parse(&["distributor", "--listen", "127.0.0.1:1", "nodes"]).is_err());
    }

    #[test]
    fn each_flag_of_the_server_has_its_variable() {
        let command = command_line();
        let serve = command.find_subcommand("serve").unwrap();
        let mut flags = 0;
        for flag in command.get_arguments().chain(serve.get_arguments()) {
            let long = flag.get_long().unwrap();
            if long == "print-config" {
                // It would keep a server from serving.
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
