//! The configuration file: TOML whose keys are the names of flags.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, Command};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::cli::failure::Failure;
use crate::cli::text_file;
use crate::cli::usage_error::message;
use crate::cli::value::{shown, shown_path};
use crate::host_port::HostPort;

const MAX_BYTES: u64 = 1 << 20;

/// Keys of a configuration file, with values that their flags accept.
#[derive(Clone)]
pub(crate) struct ConfigFile {
    pub(crate) path: PathBuf,
    pub(crate) entries: BTreeMap<String, Entry>,
}

/// Values of a key, as they would be written after its flag.
#[derive(Clone)]
pub(crate) struct Entry {
    /// `FILE:LINE`.
    pub(crate) place: String,
    pub(crate) values: Vec<String>,
}

impl ConfigFile {
    /// Reads a file whose keys are flags of this command.
    pub(crate) fn read(path: &Path, command: &Command) -> Result<ConfigFile, Failure> {
        let text = text_file::read("--config", path, MAX_BYTES)?;
        let place = |at: usize| {
            let line = text.get(..at).unwrap_or(&text).matches('\n').count() + 1;
            format!("{}:{line}", shown_path(path))
        };
        let invalid = |at, why: String| Failure::usage(format!("{}: {why}", place(at)));
        let table = DeTable::parse(&text).map_err(|error| {
            let at = error.span().map_or(text.len(), |span| span.start);
            let line = line_at(&text, at);
            let why = match error.message() {
                "duplicate key" => "duplicate key; remove one",
                other => other,
            };
            invalid(at, format!("invalid TOML: {line}: {why}"))
        })?;
        let mut in_order: Vec<_> = table.get_ref().iter().collect();
        in_order.sort_by_key(|(key, _)| key.span().start);
        let mut entries = BTreeMap::<String, Entry>::new();
        for (written, value) in in_order {
            let at = written.span().start;
            let written = written.get_ref();
            let key = written.replace('_', "-");
            if let Some(first) = entries.get(&key) {
                let place = &first.place;
                let why = format!("duplicate key {written}: already set at {place}; remove one");
                return Err(invalid(at, why));
            }
            let mut args = command.get_arguments();
            let Some(arg) = args.find(|arg| arg.get_long() == Some(&key)) else {
                let advice = advice(command, &key, value.get_ref());
                return Err(invalid(
                    at,
                    format!("unknown key {}; {advice}", shown(written)),
                ));
            };
            let values = flag_values(arg, value)
                .map_err(|(at, why)| invalid(at, format!("--{key} {why}")))?;
            for value in &values {
                let words = [command.get_name().to_owned(), format!("--{key}={value}")];
                let parsed = command.clone().try_get_matches_from(words);
                parsed.map_err(|error| invalid(at, message(&error, command)))?;
            }
            let place = place(at);
            entries.insert(key, Entry { place, values });
        }
        let path = path.to_owned();
        Ok(ConfigFile { path, entries })
    }
}

/// Returns a remedy for an unknown key.
fn advice(command: &Command, key: &str, value: &DeValue<'_>) -> String {
    if value.is_table() {
        return "tables are not supported, write all keys at the top level".to_owned();
    }
    let words = [command.get_name().to_owned(), format!("--{key}")];
    let error = command.clone().try_get_matches_from(words).err();
    match error
        .as_ref()
        .and_then(|error| error.get(ContextKind::SuggestedArg))
    {
        Some(ContextValue::String(flag)) => {
            format!("did you mean {}?", flag.trim_start_matches('-'))
        }
        _ if matches!(key, "config" | "print-config" | "help" | "version") => {
            "it is a flag only, remove it".to_owned()
        }
        _ => "keys are the names of flags (see --help)".to_owned(),
    }
}

/// Converts a TOML value to values of a flag. An error is the position of the offending value and
/// the reason.
fn flag_values(arg: &Arg, value: &Spanned<DeValue<'_>>) -> Result<Vec<String>, (usize, String)> {
    let kind = Kind::of(arg);
    let convert = |value: &Spanned<DeValue<'_>>| {
        let converted = kind.convert(value.get_ref());
        converted.ok_or_else(|| {
            let value_name = value_name(arg);
            let mut expected = match kind {
                Kind::Switch => "true or false".to_owned(),
                Kind::Number => "a whole number".to_owned(),
                Kind::Text => format!("{value_name} in quotes"),
            };
            if is_list(arg) {
                expected += " or an array of them";
            }
            expected += match value_name {
                "TIME" => ", as in \"10s\"",
                "ADDR" => ", as in \"127.0.0.1:9000\"",
                _ => "",
            };
            let got = toml_text(value.get_ref());
            let why = format!("{got}: wrong type; write {expected}");
            (value.span().start, why)
        })
    };
    match value.get_ref() {
        DeValue::Array(array) if is_list(arg) => {
            if array.is_empty() && is_optional(arg) {
                return Ok(vec!["none".to_owned()]);
            }
            if array.is_empty() && !arg.get_default_values().is_empty() {
                let why = "[]: empty array; write at least one value".to_owned();
                return Err((value.span().start, why));
            }
            array.iter().map(convert).collect()
        }
        _ => Ok(vec![convert(value)?]),
    }
}

/// Formats a value of the wrong type for a message.
fn toml_text(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(is_on) => is_on.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(_) => "[…]".to_owned(),
        DeValue::Table(_) => "{…}".to_owned(),
    }
}

/// Returns the line with this position, shortened.
fn line_at(text: &str, at: usize) -> String {
    const MAX_CHARS: usize = 80;
    let start = text
        .get(..at)
        .unwrap_or(text)
        .rfind('\n')
        .map_or(0, |end| end + 1);
    let line = text.get(start..).and_then(|rest| rest.lines().next());
    let line: String = line.unwrap_or_default().chars().take(MAX_CHARS).collect();
    line.trim().to_owned()
}

/// Formats values of a flag as TOML. Without values, the name of the value in the help is a
/// placeholder.
pub(crate) fn toml_value(arg: &Arg, values: &[OsString]) -> Result<String, Failure> {
    if is_optional(arg) && values.len() == 1 && values.iter().all(|value| value == "none") {
        return Ok("[]".to_owned());
    }
    let placeholder = [value_name(arg).into()];
    let values = if values.is_empty() {
        &placeholder
    } else {
        values
    };
    let mut formatted = Vec::new();
    for value in values {
        let Some(text) = value.to_str() else {
            let flag = arg.get_long().unwrap_or_default();
            return Err(Failure::usage(format!(
                "--{flag} {value:?}: not UTF-8, which a configuration file cannot contain"
            )));
        };
        formatted.push(match Kind::of(arg) {
            // TOML allows neither a sign nor leading zeros.
            Kind::Number => text
                .parse::<u64>()
                .map_or(text.to_owned(), |n| n.to_string()),
            Kind::Switch => text.to_owned(),
            Kind::Text => quoted(text),
        });
    }
    let formatted = formatted.join(", ");
    Ok(if is_list(arg) {
        format!("[{formatted}]")
    } else {
        formatted
    })
}

/// Formats a TOML string: escaped as in JSON, and without a raw U+007F.
fn quoted(text: &str) -> String {
    let json = serde_json::Value::from(text).to_string();
    json.replace('\u{7f}', "\\u007f")
}

fn value_name(arg: &Arg) -> &str {
    let names = arg.get_value_names().unwrap_or_default();
    names.first().map_or("VALUE", |name| name.as_str())
}

fn is_list(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
}

/// Returns whether the flag accepts `none`, which is an empty array in the file.
fn is_optional(arg: &Arg) -> bool {
    arg.get_value_parser().type_id() == TypeId::of::<Option<HostPort>>()
}

/// The type of a flag's value.
#[derive(Clone, Copy)]
enum Kind {
    Switch,
    Number,
    Text,
}

impl Kind {
    fn of(arg: &Arg) -> Kind {
        let parsed = arg.get_value_parser().type_id();
        let is_number = [
            TypeId::of::<u64>(),
            TypeId::of::<u32>(),
            TypeId::of::<u16>(),
        ]
        .iter()
        .any(|number| parsed == *number);
        if parsed == TypeId::of::<bool>() {
            Kind::Switch
        } else if is_number {
            Kind::Number
        } else {
            Kind::Text
        }
    }

    /// Converts a TOML value to the text that would follow the flag.
    fn convert(self, value: &DeValue<'_>) -> Option<String> {
        match (self, value) {
            (Kind::Switch, DeValue::Boolean(is_on)) => Some(is_on.to_string()),
            (Kind::Number, DeValue::Integer(number)) => {
                // TOML has other bases too.
                let number = i128::from_str_radix(number.as_str(), number.radix()).ok()?;
                Some(number.to_string())
            }
            (Kind::Number | Kind::Text, DeValue::String(text)) => Some(text.to_string()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_text_parses_as_that_text() {
        let all: String = (0..=0xff).filter_map(char::from_u32).collect();
        for text in ["", "a\"b\\c", "상품¶", "\r\n", &all] {
            let file = format!("key = {} # a comment\n", quoted(text));
            let table = DeTable::parse(&file).unwrap();
            let read = table.get_ref().values().next().unwrap();
            assert_eq!(read.get_ref().as_str(), Some(text));
        }
    }
}
