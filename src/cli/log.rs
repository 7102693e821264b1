//! The log on standard error.

use std::io;

use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

use super::background::{Background, Flush};
use crate::cli::terminal::takes_colors;

/// The flags of the log.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Logging")]
pub(crate) struct LogArgs {
    /// Format of log lines.
    ///
    /// Lines of text, or one JSON object per line
    #[arg(
        long,
        value_name = "text|json",
        default_value = "text",
        hide_possible_values = true
    )]
    log_format: LogFormat,

    /// Least severe level to log.
    ///
    /// One of off, error, warn, info, debug and trace
    #[arg(
        long,
        value_name = "LEVEL",
        default_value = "info",
        hide_possible_values = true
    )]
    #[arg(value_parser = PossibleValuesParser::new(["off", "error", "warn", "info", "debug", "trace"])
        .try_map(|level| level.parse::<LevelFilter>()))]
    pub(crate) log_level: LevelFilter,
}

impl LogArgs {
    pub(crate) fn is_json(&self) -> bool {
        self.log_format == LogFormat::Json
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum LogFormat {
    /// Human-readable lines
    Text,
    /// One JSON object per line
    Json,
}

/// The log of the process.
pub(crate) struct Log {
    level: LogLevel,
    writer: Background,
    _flushes_when_dropped: Flush,
}

impl Log {
    pub(crate) fn start(args: &LogArgs) -> Log {
        let (writer, flush) = Background::start(io::stderr());
        let (filter, level) = reload::Layer::new(args.log_level);
        let lines = fmt::layer().with_target(false).with_writer(writer.clone());
        let lines = match args.log_format {
            LogFormat::Text => lines.with_ansi(takes_colors(&io::stderr())).boxed(),
            LogFormat::Json => lines.json().flatten_event(true).boxed(),
        };
        // This fails only if a subscriber is already set.
        let _ = tracing_subscriber::registry()
            .with(filter)
            .with(lines)
            .try_init();
        Log {
            level,
            writer,
            _flushes_when_dropped: flush,
        }
    }

    pub(crate) fn level(&self) -> LogLevel {
        self.level.clone()
    }

    /// Returns the number of failed writes to standard error.
    pub(crate) fn errors(&self) -> u64 {
        self.writer.errors()
    }

    pub(crate) fn lines_lost(&self) -> u64 {
        self.writer.lines_lost()
    }
}

/// Changes the level of a running log.
pub(crate) type LogLevel = reload::Handle<LevelFilter, Registry>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disabled_levels_cost_nothing() {
        let log = Log::start(&LogArgs {
            log_format: LogFormat::Json,
            log_level: LevelFilter::INFO,
        });
        for level in [LevelFilter::TRACE, LevelFilter::OFF, LevelFilter::INFO] {
            log.level().reload(level).unwrap();
            // Lines above this level are not formatted.
            assert_eq!(LevelFilter::current(), level);
        }
    }
}
