//! Errors of the command line in one line: what is wrong, the offending value, then the remedy.

use std::ffi::OsString;

use clap::Command;
use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};

use crate::cli::failure::Failure;
use crate::cli::value::shown;

/// Returns a failure with exit code 2 for an error of this command line.
pub(crate) fn usage_error(error: &Error, command: &Command) -> Failure {
    Failure::usage(message(error, command))
}

/// Formats an error of this command line.
pub(crate) fn message(error: &Error, command: &Command) -> String {
    specific(error, command).unwrap_or_else(|| first_lines(error))
}

/// Formats an error whose parts are known.
fn specific(error: &Error, command: &Command) -> Option<String> {
    let strings = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(texts)) => texts.clone(),
        _ => Vec::new(),
    };
    let first = |kind| strings(kind).into_iter().next();
    let help = match error.get(ContextKind::Usage) {
        Some(ContextValue::StyledStr(usage)) => help_of(usage),
        _ => "see --help".to_owned(),
    };
    let did_you_mean = |kind| {
        let suggestion = first(kind).map(|name| format!("did you mean {name}?"));
        suggestion.unwrap_or_else(|| help.clone())
    };
    let arg = first(ContextKind::InvalidArg);
    let value = first(ContextKind::InvalidValue);
    let name = |arg: &str| flag_of(arg).unwrap_or(&bare(arg)).to_owned();
    Some(match error.kind() {
        ErrorKind::UnknownArgument => {
            let arg = arg?;
            match arg.strip_prefix('-') {
                Some(rest) if rest.starts_with(|c: char| c.is_ascii_digit()) => {
                    format!("unexpected argument {arg}: values cannot be negative")
                }
                Some(_) => format!(
                    "unknown flag {}; {}",
                    shown(&arg),
                    did_you_mean(ContextKind::SuggestedArg)
                ),
                None => format!("unexpected argument {}; {help}", shown(&arg)),
            }
        }
        ErrorKind::InvalidSubcommand => format!(
            "unknown command {}; {}",
            shown(&first(ContextKind::InvalidSubcommand)?),
            did_you_mean(ContextKind::SuggestedSubcommand)
        ),
        ErrorKind::MissingSubcommand => {
            let names = command.get_subcommands().filter(|one| !one.is_hide_set());
            let names: Vec<String> = names.map(|one| one.get_name().to_owned()).collect();
            format!("missing command; use {}", one_of(&names))
        }
        ErrorKind::MissingRequiredArgument => {
            let missing: Vec<String> = strings(ContextKind::InvalidArg)
                .iter()
                .map(|arg| bare(arg))
                .collect();
            format!("missing {}; {help}", missing.join(" and "))
        }
        ErrorKind::InvalidValue => {
            let (arg, value) = (arg?, value?);
            if value.is_empty() {
                return Some(format!(
                    "{}: missing value; write {}",
                    name(&arg),
                    bare(&arg)
                ));
            }
            let valid = strings(ContextKind::ValidValue);
            format!(
                "{} {}: unknown value; use {}",
                name(&arg),
                shown(&value),
                one_of(&valid)
            )
        }
        ErrorKind::ValueValidation => {
            let source = std::error::Error::source(error)?;
            format!("{} {}: {source}", name(&arg?), shown(&value?))
        }
        ErrorKind::TooManyValues => {
            format!("{} {}: takes no value", name(&arg?), shown(&value?))
        }
        ErrorKind::ArgumentConflict => {
            let others = strings(ContextKind::PriorArg);
            if let Some(given) = first(ContextKind::InvalidSubcommand) {
                if command.find_subcommand(&given).is_none() {
                    return Some(format!("unexpected argument {}; {help}", shown(&given)));
                }
                let flags: Vec<String> = others.iter().map(|arg| name(arg)).collect();
                return Some(format!(
                    "{given} cannot be used with {}, which is for the server; write it without, or \
                     write flags of {given} after it",
                    flags.join(", ")
                ));
            }
            let arg = arg?;
            if others.is_empty() || others == [arg.clone()] {
                format!("{}: given more than once; give it once", name(&arg))
            } else {
                let others: Vec<String> = others.iter().map(|arg| name(arg)).collect();
                format!(
                    "{} cannot be used with {}; {help}",
                    name(&arg),
                    others.join(", ")
                )
            }
        }
        _ => return None,
    })
}

/// Formats an error whose unexpected word follows a flag that takes no value, if that is so.
pub(crate) fn stray_value(
    error: &Error,
    command: &Command,
    words: impl Iterator<Item = OsString>,
) -> Option<String> {
    let context = match error.kind() {
        ErrorKind::UnknownArgument => ContextKind::InvalidArg,
        ErrorKind::InvalidSubcommand | ErrorKind::ArgumentConflict => {
            ContextKind::InvalidSubcommand
        }
        _ => return None,
    };
    let Some(ContextValue::String(word)) = error.get(context) else {
        return None;
    };
    let words: Vec<OsString> = words.collect();
    let at = words.iter().position(|other| other == word.as_str())?;
    let flag = words.get(at.checked_sub(1)?)?.to_str()?;
    let long = flag.strip_prefix("--")?;
    let mut args = command.get_arguments();
    let arg = args.find(|arg| arg.get_long() == Some(long))?;
    let word = shown(word);
    if !arg.get_action().takes_values() {
        Some(format!("{flag} {word}: takes no value; write {flag} alone"))
    } else if arg.is_require_equals_set() {
        Some(format!(
            "{flag} {word}: takes no value after a space; write {flag} or {flag}={word}"
        ))
    } else {
        None
    }
}

/// Returns the text of an error without the usage that follows it.
fn first_lines(error: &Error) -> String {
    let text = error.render().to_string();
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
        .filter(|line| !line.is_empty())
        .collect();
    let line = lines.join("; ");
    format!("{}; see --help", line.trim_start_matches("error: "))
}

/// Returns the flag in its description, as `--wait` in `--wait [<TIME>]`.
pub(crate) fn flag_of(described: &str) -> Option<&str> {
    let is_flag = described.starts_with('-');
    let flag = described.split([' ', '[', '=']).next();
    flag.filter(|_| is_flag)
}

/// Returns the description of an argument without brackets, as `--http ADDR or --spawn` for
/// `<--http <ADDR>|--spawn>`.
fn bare(described: &str) -> String {
    described
        .replace(['<', '>', '[', ']'], "")
        .replace('|', " or ")
}

/// Returns the remedy for a command with this usage.
fn help_of(usage: &StyledStr) -> String {
    let usage = usage.to_string();
    let words = usage
        .split_whitespace()
        .skip_while(|word| *word == "Usage:");
    let names = words.take_while(|word| !word.starts_with(['[', '<', '-']));
    let names: Vec<&str> = names.collect();
    format!("see {} --help", names.join(" "))
}

fn one_of(values: &[String]) -> String {
    match values {
        [others @ .., last] if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => values.concat(),
    }
}
