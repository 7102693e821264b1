//! The load tool: a command line, a run, and a report.

mod args;
mod bare;
mod capacity;
mod chart;
mod churn;
mod embedded;
mod escape;
mod frames;
mod group;
mod html;
mod http_readers;
mod idle;
mod joins;
mod loop_work;
mod member;
mod pool;
mod provenance;
mod received;
mod record;
mod report;
mod rpc;
mod run;
mod serve;
mod server;
mod services;
mod storm;

use std::fs;
use std::process::ExitCode;

use clap::FromArgMatches;

use crate::cli::failure::{Failure, reason};
use crate::cli::print::print;
use crate::cli::settings::parse_command_line;
use crate::cli::terminal::Terminal;
use crate::cli::usage_error::usage_error;
use crate::cli::value::shown_path;
use args::{Args, Command, ServerArgs, command_line};
use provenance::Provenance;
use report::Report;

/// Runs the program.
pub fn main() -> ExitCode {
    Failure::exit_code("flood", run())
}

fn run() -> Result<(), Failure> {
    let Some(matches) = parse_command_line(command_line())? else {
        return Ok(());
    };
    let args =
        Args::from_arg_matches(&matches).map_err(|error| usage_error(&error, &command_line()))?;
    let provenance = Provenance::now(command_line().render_version());
    let (server, report) = match &args.command {
        Command::Storm(args) => (&args.server, storm::run(args)),
        Command::Churn(args) => (&args.load.server, churn::run(args)),
        Command::Slow(args) => (&args.load.server, churn::run_slow(args)),
        Command::Rpc(args) => (&args.server, rpc::run(args)),
        Command::Idle(args) => (&args.server, idle::run(args)),
        Command::Generate(generate) => return generate.run(command_line()),
        Command::Serve(args) => return serve::serve(args),
    };
    let report = Report {
        provenance,
        ..report?
    };
    write(&report, server)
}

fn write(report: &Report, args: &ServerArgs) -> Result<(), Failure> {
    let text = if args.json {
        serde_json::to_string(report).map_err(|error| Failure::failed(error.to_string()))?
    } else {
        report.text(Terminal::of_stdout())
    };
    let printed = print(&(text + "\n"));
    if let Some(file) = &args.html {
        fs::write(file, html::page(report)).map_err(|error| {
            Failure::failed(format!(
                "--html {}: cannot write the page: {}",
                shown_path(file),
                reason(&error)
            ))
        })?;
    }
    printed
}
