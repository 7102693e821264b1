//! The Distributor as a program: a command line, what it asks for, and an exit code.

#![forbid(unsafe_code)]

mod args;
mod client;
#[path = "../shared/failure.rs"]
mod failure;
#[path = "../shared/fd_limit.rs"]
mod fd_limit;
mod http;
#[path = "../shared/lines.rs"]
mod lines;
#[path = "../shared/listen.rs"]
mod listen;
#[path = "../shared/log.rs"]
mod log;
mod serve;
#[path = "../shared/signals.rs"]
mod signals;
mod state_file;
#[path = "../shared/table.rs"]
mod table;
#[path = "../shared/text_file.rs"]
mod text_file;
mod tokens;
#[path = "../shared/variables.rs"]
mod variables;

use std::process::ExitCode;

use args::CommandLine;
use failure::Failure;

fn main() -> ExitCode {
    let line = match CommandLine::parse() {
        Ok(line) => line,
        Err(error) if !error.use_stderr() => {
            // Help or version. If nobody reads it there is nobody to tell.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            return Failure::usage(failure::one_line(&error)).tell("distributor");
        }
    };
    let done = match line.command {
        None => serve::run(&line.serve),
        Some(args::Command::Serve(args)) => serve::run(&args),
        Some(command) => client::run(command),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell("distributor"),
    }
}
