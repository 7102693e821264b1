//! The Distributor as a program: a command line, what it asks for, and an exit code.

mod args;
mod client;
mod http;
mod serve;
mod state_file;
mod tokens;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use crate::cli::failure::{Failure, one_line};
use crate::cli::program;
use crate::cli::settings::{Settings, said_to};
use args::{Args, Command, PREFIX, command_line};
use serve::DistributorServer;

/// Runs the program.
pub fn main() -> ExitCode {
    Failure::exit_code("distributor", run())
}

fn run() -> Result<(), Failure> {
    let Some(said) = said_to(command_line())? else {
        return Ok(());
    };
    let to_server = match said.subcommand() {
        None => said,
        Some(("serve", said)) => said.clone(),
        Some(_) => {
            let command = Command::from_arg_matches(&said);
            return client::run(command.map_err(|error| Failure::usage(one_line(&error)))?);
        }
    };
    let settings = Settings::read(Args::command(), PREFIX, to_server)?;
    program::run::<DistributorServer>(&settings).map_err(|failure| settings.blame(failure))
}
