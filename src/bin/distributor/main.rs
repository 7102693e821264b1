//! The Distributor as a program: a command line, what it asks for, and an exit code.

#![forbid(unsafe_code)]

mod args;
mod client;
mod http;
mod listen;
mod output;
mod serve;
mod signals;
mod state_file;
#[path = "../shared/table.rs"]
mod table;
mod tokens;

use std::io;
use std::process::ExitCode;

use clap::Parser;

use args::CommandLine;
use output::Lines;

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const CANNOT_LISTEN: u8 = 3;

/// Why the program ends otherwise than by a signal: the line that says so, and the exit code.
struct Failure {
    code: u8,
    message: String,
}

fn main() -> ExitCode {
    let line = match CommandLine::try_parse() {
        Ok(line) => line,
        Err(error) if !error.use_stderr() => {
            // Help or version. If nobody reads it there is nobody to tell.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        Err(error) => return fail(USAGE, &one_line(&error)),
    };
    let done = match line.command {
        None => serve::run(&line.serve),
        Some(args::Command::Serve(args)) => serve::run(&args),
        Some(command) => client::run(command),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => fail(failure.code, &failure.message),
    }
}

fn fail(code: u8, message: &str) -> ExitCode {
    let message = message.replace(char::is_control, " ");
    // A standard error that is closed or full must not change how the program ends.
    if let Ok(stderr) = Lines::on(io::stderr()) {
        stderr.say(format!("distributor: {message}"));
    }
    ExitCode::from(code)
}

/// What is wrong with the command line, without the usage that follows it.
fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let lines = text.lines().map(str::trim);
    let said: Vec<&str> = lines
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
        .filter(|line| !line.is_empty())
        .collect();
    let said = said.join(" ");
    format!(
        "{} (see --help)",
        said.strip_prefix("error: ").unwrap_or(&said)
    )
}
