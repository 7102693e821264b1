//! What a program is told: by flags, by the environment beside them, by a configuration file, and by
//! nobody, each before the next.

use std::env;
use std::ffi::OsString;
use std::iter;
use std::path::{Path, PathBuf};

use clap::builder::ValueParser;
use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches, ValueHint};

use crate::cli::config_file::{ConfigFile, Kind, takes_more};
use crate::cli::failure::{Failure, one_line};

/// Lets each flag of the command be given in the environment as well, `--log-level` as LOG_LEVEL
/// behind the prefix, and in a file that one flag more names.
pub(crate) fn with_sources(command: Command, prefix: &str) -> Command {
    // Without a heading: the command's may end with a section of its own.
    let config = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .value_parser(ValueParser::path_buf())
        .value_hint(ValueHint::FilePath)
        .help_heading(None)
        .help(
            "Read from this file what no flag and no variable says: TOML, whose keys are the names \
             of flags, as in max-connections = 20000. Paths in it are relative to the working \
             directory. Its log-level is read again on SIGHUP",
        );
    let print_config = Arg::new("print_config")
        .long("print-config")
        .action(ArgAction::SetTrue)
        .help_heading(None)
        .help(
            "Check all flags, and print what it would be started with as such a file, with where \
             each value comes from. Nothing is served",
        );
    let beside_flags = command.arg(config).mut_args(|arg| match arg.get_long() {
        Some(long) => {
            let variable = variable(prefix, long);
            arg.env(variable)
        }
        None => arg,
    });
    beside_flags.arg(print_config)
}

fn variable(prefix: &str, flag: &str) -> String {
    format!("{prefix}{}", flag.to_uppercase().replace('-', "_"))
}

/// What each flag is set to, and who has said it.
#[derive(Clone)]
pub(crate) struct Settings {
    command: Command,
    prefix: &'static str,
    said: ArgMatches,
    file: Option<ConfigFile>,
    all: Vec<Setting>,
}

/// A flag without its dashes, and its values as they would be written behind it.
#[derive(Clone)]
struct Setting {
    key: String,
    values: Vec<OsString>,
    origin: Origin,
}

#[derive(Clone)]
enum Origin {
    Flag,
    Variable(String),
    /// The file and the line.
    File(String),
    Default,
    Nobody,
}

/// What was said to this process; `None` if it wanted to know something, which was told.
pub(crate) fn said_to(command: Command) -> Result<Option<ArgMatches>, Failure> {
    match command.clone().try_get_matches() {
        Ok(said) => Ok(Some(said)),
        Err(error) if !error.use_stderr() => {
            // Help or version. If nobody reads it there is nobody to tell.
            let _ = error.print();
            Ok(None)
        }
        Err(error) => {
            let line = one_line(&error);
            Err(Failure::usage(match variable_of(&error, &command) {
                Some(variable) => format!("{variable}: {line}"),
                None => line,
            }))
        }
    }
}

/// The variable that said what is wrong, if it was no flag.
fn variable_of(error: &clap::Error, command: &Command) -> Option<String> {
    let Some(ContextValue::String(shown)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let flag = shown.split([' ', '[', '=']).next()?;
    let is_given = |word: OsString| {
        let word = word.to_string_lossy();
        let behind = word.strip_prefix(flag);
        behind.is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    };
    if env::args_os().any(is_given) {
        return None;
    }
    let mut args = iter::once(command)
        .chain(command.get_subcommands())
        .flat_map(Command::get_arguments)
        .filter(|arg| arg.get_long() == flag.strip_prefix("--"));
    let variable = args.find_map(|arg| arg.get_env().filter(|name| env::var_os(name).is_some()))?;
    Some(variable.to_string_lossy().into_owned())
}

impl Settings {
    /// Of a command, of which `said` is what was said to it [with its sources](with_sources).
    pub(crate) fn read(
        command: Command,
        prefix: &'static str,
        said: ArgMatches,
    ) -> Result<Settings, Failure> {
        let file = match said.get_one::<PathBuf>("config") {
            Some(path) => Some(ConfigFile::read(path, &command).map_err(|failure| {
                let mut format = said.get_raw("log_format").into_iter().flatten();
                failure.in_json(format.any(|format| format == "json"))
            })?),
            None => None,
        };
        let args = command.get_arguments();
        let all = args.filter_map(|arg| Setting::of(arg, prefix, &said, file.as_ref()));
        Ok(Settings {
            all: all.collect(),
            command,
            prefix,
            said,
            file,
        })
    }

    /// With what stands in the file now.
    pub(crate) fn read_again(&self) -> Result<Settings, Failure> {
        Settings::read(self.command.clone(), self.prefix, self.said.clone())
    }

    /// As if all of them had been flags.
    pub(crate) fn parse<A: FromArgMatches>(&self) -> Result<A, Failure> {
        let mut line = vec![OsString::from(self.command.get_name())];
        for Setting { key, values, .. } in &self.all {
            for value in values {
                let mut flag = OsString::from(format!("--{key}="));
                flag.push(value);
                line.push(flag);
            }
        }
        let matches = self.command.clone().try_get_matches_from(line);
        let parsed = matches.and_then(|matches| A::from_arg_matches(&matches));
        parsed.map_err(|error| Failure::usage(one_line(&error)))
    }

    /// The configuration file, if there is one.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.file.as_ref().map(|file| file.path.as_path())
    }

    /// Whether they are to be printed, and nothing is to be served.
    pub(crate) fn are_asked_for(&self) -> bool {
        self.said.get_flag("print_config")
    }

    /// Whether somebody has said what this is.
    pub(crate) fn is_said(&self, key: &str) -> bool {
        let unsaid = |setting: &Setting| matches!(setting.origin, Origin::Default | Origin::Nobody);
        !self.get(key).is_none_or(unsaid)
    }

    /// Whoever goes before the file, in which this key stands in vain.
    pub(crate) fn overruled_by(&self, key: &str) -> Option<String> {
        self.file.as_ref()?.get(key)?;
        match &self.get(key)?.origin {
            Origin::Flag => Some(format!("--{key}")),
            Origin::Variable(name) => Some(name.clone()),
            Origin::File(_) | Origin::Default | Origin::Nobody => None,
        }
    }

    /// The keys whose values are others in `new`.
    pub(crate) fn changed<'s>(&'s self, new: &Settings) -> Vec<&'s str> {
        let both = self.all.iter().zip(&new.all);
        both.filter(|(old, new)| old.values != new.values)
            .map(|(old, _)| old.key.as_str())
            .collect()
    }

    /// A failure for something in them: says which line of the file it names, or which variable, if
    /// it does.
    pub(crate) fn blame(&self, failure: Failure) -> Failure {
        let flags = failure
            .message
            .split([' ', ':'])
            .filter_map(|word| word.strip_prefix("--"));
        let place =
            flags
                .filter_map(|key| self.get(key))
                .find_map(|setting| match &setting.origin {
                    Origin::File(place) | Origin::Variable(place) => Some(place),
                    _ => None,
                });
        let message = match place {
            Some(place) => format!("{place}: {}", failure.message),
            None => failure.message,
        };
        let format = self.get("log-format");
        let in_json = format.is_some_and(|format| format.values == ["json"]);
        Failure::new(failure.code, message).in_json(in_json)
    }

    fn get(&self, key: &str) -> Option<&Setting> {
        self.all.iter().find(|setting| setting.key == key)
    }

    /// As a configuration file, in which a comment says where each comes from.
    pub(crate) fn to_toml(&self) -> Result<String, Failure> {
        let mut text = String::new();
        let args = self
            .command
            .get_arguments()
            .filter(|arg| arg.get_long().is_some());
        for (arg, setting) in args.zip(&self.all) {
            let key = &setting.key;
            let origin = match &setting.origin {
                Origin::Flag => format!("flag --{key}"),
                Origin::Variable(name) => format!("environment variable {name}"),
                Origin::File(place) => format!("file {place}"),
                Origin::Default => "default".to_owned(),
                Origin::Nobody => "not set".to_owned(),
            };
            let origin = origin.replace(char::is_control, " ");
            text += &if setting.values.is_empty() {
                format!("# {key} = {} # {origin}\n", placeholder(arg))
            } else {
                format!("{key} = {} # {origin}\n", setting.value(arg)?)
            };
        }
        Ok(text)
    }
}

/// As a string of TOML, which escapes all that JSON escapes, and one character more.
fn in_quotes(text: &str) -> String {
    let json = serde_json::Value::from(text).to_string();
    json.replace('\u{7f}', "\\u007f")
}

/// What stands where a value would be.
fn placeholder(arg: &Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default();
    let name = names.first().map_or("…", |name| name.as_str());
    match (Kind::of(arg), takes_more(arg)) {
        (Kind::Number, _) => name.to_owned(),
        (_, true) => format!("[\"{name}\"]"),
        (_, false) => format!("\"{name}\""),
    }
}

impl Setting {
    /// `None` for what is no flag.
    fn of(
        arg: &Arg,
        prefix: &str,
        said: &ArgMatches,
        file: Option<&ConfigFile>,
    ) -> Option<Setting> {
        let (id, key) = (arg.get_id().as_str(), arg.get_long()?);
        let values = || -> Vec<OsString> {
            // A switch has more than one spelling.
            if let Ok(Some(is_on)) = said.try_get_one::<bool>(id) {
                return vec![is_on.to_string().into()];
            }
            let values = said.get_raw(id).into_iter().flatten();
            values.map(OsString::from).collect()
        };
        let in_file = file.and_then(|file| Some((file, file.get(key)?)));
        let (origin, values) = match (said.value_source(id), in_file) {
            (Some(ValueSource::CommandLine), _) => (Origin::Flag, values()),
            (Some(ValueSource::EnvVariable), _) => {
                (Origin::Variable(variable(prefix, key)), values())
            }
            (_, Some((file, entry))) => {
                let place = format!("{}:{}", file.path.display(), entry.line);
                let values = entry.values.iter().map(OsString::from);
                (Origin::File(place), values.collect())
            }
            (Some(_), None) => (Origin::Default, values()),
            (None, None) => (Origin::Nobody, Vec::new()),
        };
        Some(Setting {
            key: key.to_owned(),
            values,
            origin,
        })
    }

    /// In TOML.
    fn value(&self, arg: &Arg) -> Result<String, Failure> {
        let mut values = Vec::new();
        for value in &self.values {
            let Some(text) = value.to_str() else {
                return Err(Failure::usage(format!(
                    "--{} {value:?}: it is not UTF-8, which a file can't say",
                    self.key
                )));
            };
            values.push(match Kind::of(arg) {
                // As written, but for what TOML does not take: a sign, or zeros at the beginning.
                Kind::Number => text
                    .parse::<u64>()
                    .map_or(text.to_owned(), |n| n.to_string()),
                Kind::Switch => text.to_owned(),
                Kind::Time | Kind::Text => in_quotes(text),
            });
        }
        let values = values.join(", ");
        Ok(if takes_more(arg) {
            format!("[{values}]")
        } else {
            values
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_in_quotes_is_that_text() {
        let all: String = (0..=0xff).filter_map(char::from_u32).collect();
        for text in ["", "a\"b\\c", "상품¶", "\r\n", &all] {
            let file = format!("key = {} # a comment\n", in_quotes(text));
            let table = toml::de::DeTable::parse(&file).unwrap();
            let read = table.get_ref().values().next().unwrap();
            assert_eq!(read.get_ref().as_str(), Some(text));
        }
    }
}
