//! The look of the help: `-h` fits on a screen, `--help` has everything in groups.

use std::env;

use clap::Command;
use clap::builder::styling::{AnsiColor, Effects, Styles};

use crate::cli::version::VERSION;

/// Colors, on a terminal that permits them.
const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().effects(Effects::BOLD))
    .usage(AnsiColor::Green.on_default().effects(Effects::BOLD))
    .literal(AnsiColor::Cyan.on_default().effects(Effects::BOLD))
    .placeholder(AnsiColor::Cyan.on_default());

const MORE: &str = "Run with --help for all flags, their variables, examples and exit codes.";

/// Adds the version and the look of the help to the command line of a program. Of the flags in
/// groups, `-h` shows the common ones.
pub(crate) fn with_help(command: Command, common: &[&str]) -> Command {
    let command = command
        .version(VERSION)
        .styles(STYLES)
        .max_term_width(100)
        .disable_help_subcommand(true)
        .after_help(MORE);
    if env::args_os().any(|word| word == "-h") {
        brief(command, common)
    } else {
        command
    }
}

/// Removes from a command what would make its help longer than a screen: uncommon flags, headings,
/// and variables.
fn brief(command: Command, common: &[&str]) -> Command {
    let command = command.mut_args(|arg| {
        let is_common = arg.get_long().is_some_and(|long| common.contains(&long));
        let is_hidden = arg.get_help_heading().is_some() && !is_common;
        let is_hidden = is_hidden || arg.is_hide_set();
        arg.hide(is_hidden).help_heading(None).hide_env(true)
    });
    command.mut_subcommands(|command| brief(command, common))
}
