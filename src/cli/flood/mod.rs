//! The load tool: flags, then a run, then a report.

mod args;
mod bare;
mod capacity;
mod child;
mod churn;
mod driver;
mod format;
mod frames;
mod html;
mod http_readers;
mod idle;
mod joins;
mod nodes;
mod pool;
mod record;
mod report;
mod round;
mod rpc;
mod stop;
mod storm;
mod target;
mod usage;

use std::fs;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use crate::cli::failure::{Failure, one_line};
use crate::cli::print::print;
use args::{Args, Command, ServerArgs};
use report::Report;
use stop::Halt;

pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) if !error.use_stderr() => {
            // Help or version, which may remain unread.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        Err(error) if error.kind() == ErrorKind::MissingSubcommand => {
            let what = "no scenario: use storm, churn, slow, rpc or idle (see --help)";
            return Failure::usage(what).print("flood");
        }
        Err(error) => return Failure::usage(one_line(&error)).print("flood"),
    };
    let failure = match run(&args.command) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Halt::Stopped) => Failure::failed("stopped before there were any figures"),
        Err(Halt::Failed(failure)) => failure,
    };
    failure.print("flood")
}

fn run(command: &Command) -> Result<(), Halt> {
    let (server, report) = match command {
        Command::Storm(args) => (&args.server, storm::run(args)),
        Command::Churn(args) => (&args.load.server, churn::run(args)),
        Command::Slow(args) => (&args.load.server, churn::run_slow(args)),
        Command::Rpc(args) => (&args.server, rpc::run(args)),
        Command::Idle(args) => (&args.server, idle::run(args)),
        Command::Serve {
            role,
            connections,
            with_http,
        } => return child::serve(*role, *connections, *with_http),
    };
    write(&report?, server).map_err(Halt::Failed)
}

fn write(report: &Report, args: &ServerArgs) -> Result<(), Failure> {
    let text = if args.json {
        serde_json::to_string(report).map_err(|error| Failure::failed(error.to_string()))?
    } else {
        report.text()
    };
    let printed = print(&(text + "\n"));
    if let Some(file) = &args.html {
        fs::write(file, html::page(report)).map_err(|error| {
            Failure::failed(format!(
                "--html {}: cannot be written: {error}",
                file.display()
            ))
        })?;
    }
    printed
}
