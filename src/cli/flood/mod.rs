//! A load tool for Distributors and nodes: flags, then a run, then an exit code.

mod args;
mod bare;
mod capacity;
mod child;
mod churn;
mod client;
mod format;
mod heartbeats;
mod herd;
mod html;
mod http_readers;
mod idle;
mod joins;
mod progress;
mod report;
mod rpc;
mod storm;
mod target;
mod usage;
mod view;

use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use crate::cli::failure::Failure;
use crate::cli::failure::one_line;
use args::{Args, Command};
use report::Report;

impl Failure {
    pub(crate) fn stopped() -> Failure {
        Failure::failed("stopped before there was anything to show")
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::failed(error.to_string())
    }
}

/// Runs the program.
pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) if !error.use_stderr() => {
            // Help or version. If nobody reads it there is nobody to tell.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        Err(error) if error.kind() == ErrorKind::MissingSubcommand => {
            let what = "say what to do: storm, churn, slow, rpc or idle (see --help)";
            return Failure::usage(what).tell("flood");
        }
        Err(error) => return Failure::usage(one_line(&error)).tell("flood"),
    };
    let measured = match &args.command {
        Command::Storm(args) => storm::run(args),
        Command::Churn(args) => churn::run(args),
        Command::Slow(args) => churn::run_slow(args),
        Command::Rpc(args) => rpc::run(args),
        Command::Idle(args) => idle::run(args),
        Command::Serve { role, connections } => return child::serve(*role, *connections),
    };
    let said = measured.and_then(|report| say(&args.command, &report));
    match said {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell("flood"),
    }
}

fn say(command: &Command, report: &Report) -> Result<(), Failure> {
    let Some(args) = command.server() else {
        return Ok(());
    };
    let text = match args.json {
        true => {
            serde_json::to_string(report).map_err(|error| Failure::failed(error.to_string()))?
        }
        false => report.table(),
    };
    let mut out = io::stdout().lock();
    let said = writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush());
    drop(out);
    if let Some(file) = &args.html {
        fs::write(file, html::page(report)).map_err(|error| {
            Failure::failed(format!(
                "--html {}: cannot be written: {error}",
                file.display()
            ))
        })?;
    }
    match said {
        // If nobody reads it there is nobody to tell.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::failed(format!(
            "standard output cannot be written: {error}"
        ))),
        _ => Ok(()),
    }
}

/// Says something beside the figures.
pub(crate) fn tell(line: &str) {
    // A standard error that is closed or full must not change how the program ends.
    let line = line.replace(char::is_control, " ");
    let _ = writeln!(io::stderr(), "flood: {line}");
}
