//! How a program ends when it can't do what it was told.

use std::io;
use std::process::ExitCode;
use std::time::SystemTime;

use serde_json::json;

use crate::cli::lines::Lines;

/// The line that says why, and the exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: u8,
    pub(crate) message: String,
    /// The line is a JSON object, as those of the log are.
    is_json: bool,
}

impl Failure {
    pub(crate) fn new(code: u8, message: impl Into<String>) -> Failure {
        Failure {
            code,
            message: message.into(),
            is_json: false,
        }
    }

    /// Exit code 1: something went wrong on the way.
    pub(crate) fn failed(message: impl Into<String>) -> Failure {
        Failure::new(1, message)
    }

    /// Exit code 2: what it was told can't be meant.
    pub(crate) fn usage(message: impl Into<String>) -> Failure {
        Failure::new(2, message)
    }

    /// To be told as the lines of a log in JSON are.
    pub(crate) fn in_json(self, is_json: bool) -> Failure {
        Failure { is_json, ..self }
    }

    /// Returns the exit code of the program with this name. Prints why, if it failed.
    pub(crate) fn exit_code(program: &str, result: Result<(), Failure>) -> ExitCode {
        match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => failure.print(program),
        }
    }

    /// Prints the message, and returns the exit code.
    pub(crate) fn print(&self, program: &str) -> ExitCode {
        let message = self.message.replace(char::is_control, " ");
        let line = if self.is_json {
            let now = humantime::format_rfc3339_micros(SystemTime::now()).to_string();
            json!({"timestamp": now, "level": "ERROR", "message": message}).to_string()
        } else {
            format!("{program}: {message}")
        };
        // A standard error that is closed or full must not change how the program ends.
        if let Ok(stderr) = Lines::on(io::stderr()) {
            stderr.say(line);
        }
        ExitCode::from(self.code)
    }
}

/// Makes a [`Failure`] of an error: exit code 1.
pub(crate) fn failed(what: &'static str) -> impl Fn(io::Error) -> Failure {
    move |error| Failure::failed(format!("{what}: {error}"))
}

/// What is wrong with the command line, without the usage that follows it.
pub(crate) fn one_line(error: &clap::Error) -> String {
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
