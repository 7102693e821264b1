//! The Distributor as a program: a command line, what it asks for, and an exit code.

#![forbid(unsafe_code)]

mod args;
mod client;
#[path = "../shared/config_file.rs"]
mod config_file;
#[path = "../shared/failure.rs"]
mod failure;
#[path = "../shared/fd_limit.rs"]
mod fd_limit;
#[path = "../shared/handover.rs"]
mod handover;
mod http;
#[path = "../shared/inherited.rs"]
mod inherited;
#[path = "../shared/lines.rs"]
mod lines;
#[path = "../shared/listen.rs"]
mod listen;
#[path = "../shared/log.rs"]
mod log;
#[path = "../shared/print.rs"]
mod print;
#[path = "../shared/reload.rs"]
mod reload;
mod serve;
#[path = "../shared/service_manager.rs"]
mod service_manager;
#[path = "../shared/settings.rs"]
mod settings;
#[path = "../shared/signals.rs"]
mod signals;
mod state_file;
#[path = "../shared/table.rs"]
mod table;
#[path = "../shared/text_file.rs"]
mod text_file;
mod tokens;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use args::{Args, Command, PREFIX, command_line};
use failure::{Failure, one_line};
use settings::{Settings, said_to};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell("distributor"),
    }
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
    serve::run(&settings).map_err(|failure| settings.blame(failure))
}
