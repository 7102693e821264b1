//! The values of flags, with their origin.
//!
//! Precedence: flag, environment variable, configuration file, default. Values of the file become
//! defaults of the command, so that one parser converts the values of all sources.

use std::env;
use std::ffi::OsString;
use std::iter;
use std::path::PathBuf;

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use crate::cli::config_file::{ConfigFile, toml_value};
use crate::cli::failure::Failure;
use crate::cli::usage_error::{flag_of, message, stray_value, usage_error};

/// Paragraph of the help about the sources of values.
pub(crate) const HELP: &str = "\
Every flag can also be set by the environment variable shown with it, and by its name in a \
configuration file (--config). Precedence: flag, environment variable, configuration file, default. \
Times are written as 500ms, 10s or 2m.";

/// Adds the flags for a configuration file to a command, and to each flag its environment variable:
/// `--log-level` is LOG_LEVEL after the prefix.
pub(crate) fn with_sources(command: Command, prefix: &str) -> Command {
    let command = SourceArgs::augment_args(command);
    command.mut_args(|arg| match variable(&arg, prefix) {
        Some(variable) if arg.get_id() != "print_config" => arg.env(variable),
        _ => arg,
    })
}

// Not a doc comment, which would replace the description of the command. Without a heading: the
// last flags of the command may have one.
#[derive(clap::Args)]
struct SourceArgs {
    /// Configuration file in TOML.
    ///
    /// Keys are the names of flags, as in max-connections = 20000; flags and variables take
    /// precedence. Relative paths start at the working directory. SIGHUP reloads its log-level
    #[arg(long, value_name = "FILE", help_heading = None)]
    config: Option<PathBuf>,

    /// Check the configuration, print it, and exit.
    ///
    /// The output has the format of --config, with the origin of each value
    #[arg(long, help_heading = None, hide_short_help = true)]
    print_config: bool,
}

/// Returns the environment variable of a flag.
fn variable(arg: &Arg, prefix: &str) -> Option<String> {
    let flag = arg.get_long()?.to_uppercase().replace('-', "_");
    Some(format!("{prefix}{flag}"))
}

/// Parses the command line of this process. Returns `None` for the help or the version, which is
/// printed.
pub(crate) fn parse_command_line(command: Command) -> Result<Option<ArgMatches>, Failure> {
    let mut command = with_negative_numbers(command);
    let first = env::args_os().nth(1);
    let called = first.filter(|word| command.find_subcommand(word).is_some());
    if called.as_ref().is_some_and(|name| name != "serve") {
        // An invalid variable of the server must not fail its other commands.
        command = command.mut_args(|arg| arg.env(Resettable::Reset));
    }
    match command.clone().try_get_matches() {
        Ok(matches) => Ok(Some(matches)),
        Err(error) if !error.use_stderr() => {
            // If standard output is closed, the error cannot be reported.
            let _ = error.print();
            Ok(None)
        }
        Err(error) => {
            let variable = variable_of(&error, &command);
            let variable = variable.map_or(String::new(), |name| name + ": ");
            let called = called.and_then(|name| command.find_subcommand(name));
            let stray = stray_value(&error, called.unwrap_or(&command), env::args_os());
            let message = stray.unwrap_or_else(|| message(&error, &command));
            Err(Failure::usage(variable + &message))
        }
    }
}

/// Accepts negative numbers as values, so that the parsers of the values reject them and name the
/// permitted range.
fn with_negative_numbers(command: Command) -> Command {
    let command = command.mut_args(|arg| {
        if arg.get_action().takes_values() {
            arg.allow_negative_numbers(true)
        } else {
            arg
        }
    });
    command.mut_subcommands(with_negative_numbers)
}

/// Returns the environment variable of an error, unless the error is about a flag.
fn variable_of(error: &clap::Error, command: &Command) -> Option<String> {
    let Some(ContextValue::String(shown)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let flag = flag_of(shown)?;
    let is_flag = |word: OsString| word.to_string_lossy().split('=').next() == Some(flag);
    if env::args_os().any(is_flag) {
        return None;
    }
    let commands = iter::once(command).chain(command.get_subcommands());
    let mut variables = commands
        .flat_map(Command::get_arguments)
        .filter(|arg| arg.get_long() == flag.strip_prefix("--"))
        .filter_map(Arg::get_env);
    let variable = variables.find(|name| env::var_os(name).is_some())?;
    Some(variable.to_string_lossy().into_owned())
}

/// The flags of a server program, from all sources.
#[derive(Clone)]
pub(crate) struct Settings {
    command: Command,
    prefix: &'static str,
    words: Vec<OsString>,
    matches: ArgMatches,
    pub(crate) file: Option<ConfigFile>,
}

enum Origin<'s> {
    Flag,
    Variable(String),
    /// The file and the line.
    File(&'s str),
    Default,
    Unset,
}

impl Settings {
    /// Reads the values of a command [with its sources](with_sources). The sources are these words
    /// of the command line, the environment and the configuration file.
    pub(crate) fn read(
        command: Command,
        prefix: &'static str,
        words: Vec<OsString>,
    ) -> Result<Settings, Failure> {
        let parse = |command: Command| {
            let command = with_negative_numbers(with_sources(command, prefix));
            let command = command.no_binary_name(true);
            let matches = command.clone().try_get_matches_from(&words);
            matches.map_err(|error| {
                let stray = stray_value(&error, &command, words.iter().cloned());
                stray.map_or_else(|| usage_error(&error, &command), Failure::usage)
            })
        };
        let mut matches = parse(command.clone())?;
        let mut file = None;
        if let Some(path) = matches.get_one::<PathBuf>("config") {
            let read = ConfigFile::read(path, &command).map_err(|failure| Failure {
                is_json: logs_json(&matches),
                ..failure
            })?;
            matches = parse(command.clone().mut_args(|arg| {
                match arg.get_long().and_then(|key| read.entries.get(key)) {
                    Some(entry) => arg.default_values(entry.values.clone()),
                    None => arg,
                }
            }))?;
            file = Some(read);
        }
        Ok(Settings {
            command,
            prefix,
            words,
            matches,
            file,
        })
    }

    /// Reads the file again.
    pub(crate) fn reread(&self) -> Result<Settings, Failure> {
        Settings::read(self.command.clone(), self.prefix, self.words.clone())
    }

    pub(crate) fn parse<A: FromArgMatches>(&self) -> Result<A, Failure> {
        A::from_arg_matches(&self.matches).map_err(|error| usage_error(&error, &self.command))
    }

    /// Returns whether `--print-config` is given.
    pub(crate) fn print_config(&self) -> bool {
        self.matches.get_flag("print_config")
    }

    /// Returns whether this key is set by a flag, a variable or the file.
    pub(crate) fn is_set(&self, key: &str) -> bool {
        self.arg(key)
            .is_some_and(|arg| !matches!(self.origin(arg), Origin::Default | Origin::Unset))
    }

    /// Returns the flag or variable that takes precedence over this key of the file.
    pub(crate) fn overridden_by(&self, key: &str) -> Option<String> {
        self.file.as_ref()?.entries.get(key)?;
        match self.origin(self.arg(key)?) {
            Origin::Flag => Some(format!("--{key}")),
            Origin::Variable(name) => Some(name),
            Origin::File(_) | Origin::Default | Origin::Unset => None,
        }
    }

    /// Returns the keys whose values differ in `new`.
    pub(crate) fn changed(&self, new: &Settings) -> Vec<&str> {
        let differs = |arg: &&Arg| self.values(arg) != new.values(arg);
        let changed = self.command.get_arguments().filter(differs);
        changed.filter_map(Arg::get_long).collect()
    }

    /// Adds the line of the file, or the variable, to a failure that names a flag.
    pub(crate) fn locate(&self, failure: Failure) -> Failure {
        let words = failure.message.split([' ', ':']);
        let place = words
            .filter_map(|word| self.arg(word.strip_prefix("--")?))
            .find_map(|arg| match self.origin(arg) {
                Origin::File(place) => Some(place.to_owned()),
                Origin::Variable(name) => Some(name),
                _ => None,
            });
        let place = place.map_or(String::new(), |place| place + ": ");
        Failure {
            message: place + &failure.message,
            is_json: logs_json(&self.matches),
            ..failure
        }
    }

    /// Formats the settings as a configuration file, with the origin of each value in a comment.
    pub(crate) fn to_toml(&self) -> Result<String, Failure> {
        let mut text = String::new();
        for arg in self.command.get_arguments() {
            let Some(key) = arg.get_long() else {
                continue;
            };
            let origin = match self.origin(arg) {
                Origin::Flag => format!("flag --{key}"),
                Origin::Variable(name) => format!("environment variable {name}"),
                Origin::File(place) => format!("file {place}"),
                Origin::Default => "default".to_owned(),
                Origin::Unset => "not set".to_owned(),
            };
            let origin = origin.replace(char::is_control, " ");
            let values = self.values(arg);
            let mark = if values.is_empty() { "# " } else { "" };
            let value = toml_value(arg, &values)?;
            text += &format!("{mark}{key} = {value} # {origin}\n");
        }
        Ok(text)
    }

    fn arg(&self, key: &str) -> Option<&Arg> {
        let mut args = self.command.get_arguments();
        args.find(|arg| arg.get_long() == Some(key))
    }

    fn origin(&self, arg: &Arg) -> Origin<'_> {
        let entry = self.file.as_ref().zip(arg.get_long());
        let entry = entry.and_then(|(file, key)| file.entries.get(key));
        match (self.matches.value_source(arg.get_id().as_str()), entry) {
            (Some(ValueSource::CommandLine), _) => Origin::Flag,
            (Some(ValueSource::EnvVariable), _) => {
                Origin::Variable(variable(arg, self.prefix).unwrap_or_default())
            }
            (_, Some(entry)) => Origin::File(&entry.place),
            (Some(_), None) => Origin::Default,
            (None, None) => Origin::Unset,
        }
    }

    /// Returns the values of a flag, as they would be written after it.
    fn values(&self, arg: &Arg) -> Vec<OsString> {
        let id = arg.get_id().as_str();
        // A switch has more than one spelling.
        if let Ok(Some(is_on)) = self.matches.try_get_one::<bool>(id) {
            return vec![is_on.to_string().into()];
        }
        let values = self.matches.get_raw(id).into_iter().flatten();
        values.map(OsString::from).collect()
    }
}

fn logs_json(matches: &ArgMatches) -> bool {
    let mut formats = matches.get_raw("log_format").into_iter().flatten();
    formats.any(|format| format == "json")
}
