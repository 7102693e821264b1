//! The Distributor as a program.

mod admin_listener;
mod announcement;
mod args;
mod client;
mod serve;
mod state_file;

use std::process::ExitCode;

use clap::FromArgMatches;

use crate::cli::failure::Failure;
use crate::cli::program;
use crate::cli::settings::parse_command_line;
use crate::cli::usage_error::usage_error;
use args::{Command, command_line};
use serve::DistributorServer;

/// Runs the program.
pub fn main() -> ExitCode {
    Failure::exit_code("distributor", run())
}

fn run() -> Result<(), Failure> {
    let Some(matches) = parse_command_line(command_line())? else {
        return Ok(());
    };
    match matches.subcommand_name() {
        None => program::run::<DistributorServer>(1),
        Some("serve") => program::run::<DistributorServer>(2),
        Some(_) => {
            let command = Command::from_arg_matches(&matches);
            client::run(command.map_err(|error| usage_error(&error, &command_line()))?)
        }
    }
}
