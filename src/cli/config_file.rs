//! The configuration file: TOML, whose keys are the names of flags.

use std::any::TypeId;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, Command};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::cli::failure::{Failure, one_line};
use crate::cli::text_file;

const MAX_BYTES: u64 = 1 << 20;

/// A file whose keys and values are what flags take.
#[derive(Clone)]
pub(crate) struct ConfigFile {
    pub(crate) path: PathBuf,
    entries: Vec<Entry>,
}

/// A key, and what it is set to as it would be written behind the flag.
#[derive(Clone)]
pub(crate) struct Entry {
    key: String,
    pub(crate) line: usize,
    pub(crate) values: Vec<String>,
}

/// What is wrong in a line, counted from 1.
struct Mistake {
    line: usize,
    what: String,
}

impl ConfigFile {
    /// Takes what flags of this command take.
    pub(crate) fn read(path: &Path, command: &Command) -> Result<ConfigFile, Failure> {
        let text = text_file::read("--config", path, MAX_BYTES)?;
        let entries = entries(&text, command).map_err(|Mistake { line, what }| {
            Failure::usage(format!("{}:{line}: {what}", path.display()))
        })?;
        let path = path.to_owned();
        Ok(ConfigFile { path, entries })
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }
}

fn entries(text: &str, command: &Command) -> Result<Vec<Entry>, Mistake> {
    let line_of = |at: usize| text.get(..at).unwrap_or(text).matches('\n').count() + 1;
    let table = DeTable::parse(text).map_err(|error| Mistake {
        line: line_of(error.span().map_or(text.len(), |span| span.start)),
        what: format!("that is no TOML: {}", error.message()),
    })?;
    let mut in_order: Vec<_> = table.get_ref().iter().collect();
    in_order.sort_by_key(|(key, _)| key.span().start);
    let mut entries: Vec<Entry> = Vec::new();
    for (written, value) in in_order {
        let line = line_of(written.span().start);
        let wrong = |what: String| Mistake { line, what };
        let written = written.get_ref().as_ref();
        let key = written.replace('_', "-");
        if let Some(before) = entries.iter().find(|entry| entry.key == key) {
            let before = before.line;
            return Err(wrong(format!(
                "{written}: line {before} has this key already, and - and _ are the same"
            )));
        }
        let Some(arg) = command
            .get_arguments()
            .find(|arg| arg.get_long() == Some(&key))
        else {
            return Err(wrong(format!(
                "{written}: there is no such key; {}",
                advice(command, &key, value.get_ref())
            )));
        };
        let values = Kind::of(arg)
            .values(arg, value)
            .map_err(|(at, takes)| Mistake {
                line: line_of(at),
                what: format!("{written}: {takes}"),
            })?;
        for value in &values {
            let flag = [command.get_name().to_owned(), format!("--{key}={value}")];
            let parsed = command.clone().try_get_matches_from(flag);
            parsed.map_err(|error| wrong(one_line(&error)))?;
        }
        entries.push(Entry { key, line, values });
    }
    Ok(entries)
}

/// What to do about an unknown key.
fn advice(command: &Command, key: &str, value: &DeValue<'_>) -> String {
    if value.is_table() {
        return "there are no tables, all keys stand at the top".to_owned();
    }
    let flag = [command.get_name().to_owned(), format!("--{key}")];
    let error = command.clone().try_get_matches_from(flag).err();
    let similar = error.as_ref();
    let similar = similar.and_then(|error| error.get(ContextKind::SuggestedArg));
    let keys = "keys are the names of flags (see --help)";
    match similar {
        Some(ContextValue::String(flag)) => {
            format!("did you mean {}? {keys}", flag.trim_start_matches('-'))
        }
        _ => keys.to_owned(),
    }
}

/// What a flag takes.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Switch,
    Number,
    Time,
    Text,
}

impl Kind {
    pub(crate) fn of(arg: &Arg) -> Kind {
        let parsed = arg.get_value_parser().type_id();
        let numbers = [
            TypeId::of::<u64>(),
            TypeId::of::<u32>(),
            TypeId::of::<u16>(),
        ];
        if parsed == TypeId::of::<bool>() {
            Kind::Switch
        } else if numbers.iter().any(|number| parsed == *number) {
            Kind::Number
        } else if parsed == TypeId::of::<Duration>() {
            Kind::Time
        } else {
            Kind::Text
        }
    }

    /// Each value as text. The error says what is taken instead, and of which value in the file.
    fn values(
        self,
        arg: &Arg,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<Vec<String>, (usize, String)> {
        let at = |value: &Spanned<DeValue<'_>>| value.span().start;
        let one = |value: &Spanned<DeValue<'_>>| {
            let text = self.value(value.get_ref());
            text.ok_or_else(|| (at(value), self.takes(arg, value.get_ref())))
        };
        match value.get_ref() {
            DeValue::Array(array) if takes_more(arg) => {
                if array.is_empty() && !arg.get_default_values().is_empty() {
                    let why = "it takes at least one, and the array is empty";
                    return Err((at(value), why.to_owned()));
                }
                array.iter().map(one).collect()
            }
            _ => Ok(vec![one(value)?]),
        }
    }

    fn value(self, value: &DeValue<'_>) -> Option<String> {
        match (self, value) {
            (Kind::Switch, DeValue::Boolean(is_on)) => Some(is_on.to_string()),
            (Kind::Number | Kind::Time, DeValue::Integer(number)) => {
                // TOML has other bases, too.
                let number = u128::from_str_radix(number.as_str(), number.radix()).ok()?;
                Some(number.to_string())
            }
            (Kind::Number | Kind::Time | Kind::Text, DeValue::String(text)) => {
                Some(text.to_string())
            }
            _ => None,
        }
    }

    fn takes(self, arg: &Arg, value: &DeValue<'_>) -> String {
        let takes = match self {
            Kind::Switch => "true or false",
            Kind::Number => "a whole number",
            Kind::Time => "a time in quotes, as in \"10s\"",
            Kind::Text => "a text in quotes",
        };
        let more = if takes_more(arg) {
            " or an array of them"
        } else {
            ""
        };
        let got = match value {
            DeValue::Integer(number) => number.to_string(),
            other => format!("this {}", other.type_str()),
        };
        format!("it takes {takes}{more}, and not {got}")
    }
}

/// Whether it can be given more than once.
pub(crate) fn takes_more(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
}
