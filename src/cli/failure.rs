//! Errors that end a program.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::SystemTime;

use serde_json::json;

use crate::cli::background::Background;

/// An exit code, and the line on standard error that explains it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: u8,
    pub(crate) message: String,
    /// True if the line is a JSON object, like those of the log.
    pub(crate) is_json: bool,
}

impl Failure {
    pub(crate) fn new(code: u8, message: impl Into<String>) -> Failure {
        Failure {
            code,
            message: message.into(),
            is_json: false,
        }
    }

    /// Returns a failure with exit code 1: the command failed.
    pub(crate) fn failed(message: impl Into<String>) -> Failure {
        Failure::new(1, message)
    }

    /// Returns a failure with exit code 2: a flag, a variable or the content of a file is invalid.
    pub(crate) fn usage(message: impl Into<String>) -> Failure {
        Failure::new(2, message)
    }

    /// Returns the exit code of the program with this name. Prints the failure, if there is one.
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
        // A closed or full standard error must not change the exit code.
        let (mut stderr, _flushes_when_dropped) = Background::start(io::stderr());
        let _ = stderr.write_all(format!("{line}\n").as_bytes());
        ExitCode::from(self.code)
    }
}

/// Converts an error to a [`Failure`] with exit code 1.
pub(crate) fn failed(what: &'static str) -> impl Fn(io::Error) -> Failure {
    move |error| Failure::failed(format!("{what}: {}", reason(&error)))
}

/// Formats an error without the number that the system gives it.
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let end = text.rfind(" (os error ").unwrap_or(text.len());
    text.get(..end).unwrap_or_default().to_owned()
}
