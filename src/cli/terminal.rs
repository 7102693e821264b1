//! The terminal that shows an output: its width and its colors.

use std::env;
use std::io::{self, IsTerminal};

use clap::builder::styling::{AnsiColor, Effects, Style};
use rustix::termios::tcgetwinsize;

pub(crate) const PLAIN: Style = Style::new();
pub(crate) const BOLD: Style = Style::new().effects(Effects::BOLD);
pub(crate) const DIMMED: Style = Style::new().effects(Effects::DIMMED);
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
pub(crate) const BAD: Style = AnsiColor::Red.on_default();
pub(crate) const WARNING: Style = AnsiColor::Yellow.on_default();

/// Width of a terminal that does not report one.
const USUAL_WIDTH: usize = 80;

/// A place for output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terminal {
    /// Number of columns. `None` if lines may have any length, as in a file or a pipe.
    pub(crate) width: Option<usize>,
    pub(crate) has_colors: bool,
}

impl Terminal {
    /// Returns the terminal of standard output. COLUMNS is the width of an output without one.
    pub(crate) fn of_stdout() -> Terminal {
        let stdout = io::stdout();
        let reported = tcgetwinsize(&stdout).ok();
        let columns = || env::var("COLUMNS").ok()?.parse().ok();
        let reported = reported.map(|size| usize::from(size.ws_col));
        let width = reported.filter(|width| *width > 0).or_else(columns);
        Terminal {
            width: width.or_else(|| stdout.is_terminal().then_some(USUAL_WIDTH)),
            has_colors: takes_colors(&stdout),
        }
    }

    /// Returns the text in this style.
    pub(crate) fn paint(self, style: Style, text: &str) -> String {
        if !self.has_colors || style.is_plain() || text.is_empty() {
            return text.to_owned();
        }
        format!("{style}{text}{style:#}")
    }
}

/// Returns whether a stream is a terminal, and colors are not disabled (no-color.org).
pub(crate) fn takes_colors(stream: &impl IsTerminal) -> bool {
    let is_disabled = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    stream.is_terminal() && !is_disabled && env::var_os("TERM").is_none_or(|term| term != "dumb")
}
