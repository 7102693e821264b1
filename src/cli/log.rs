//! The log on standard error, and standard streams that are written on separate threads.

use std::env;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

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

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum LogFormat {
    /// Human-readable lines
    Text,
    /// One JSON object per line
    Json,
}

/// A standard stream. Its errors are counted and otherwise ignored.
struct Stream<W> {
    stream: W,
    errors: Arc<AtomicU64>,
}

impl<W: Write> Write for Stream<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.stream.write_all(bytes);
        if written.and_then(|()| self.stream.flush()).is_err() {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Maximum number of lines that wait to be written. Further ones are dropped and counted.
const MAX_LINES_WAITING: usize = 10_000;

/// Starts a thread that writes a stream, so that a stalled reader does not block the program. The
/// guard flushes when dropped, for at most a second.
pub(crate) fn background(
    stream: impl Write + Send + 'static,
    errors: Arc<AtomicU64>,
) -> (NonBlocking, WorkerGuard) {
    NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(MAX_LINES_WAITING)
        .thread_name("output")
        .finish(Stream { stream, errors })
}

/// The log of the process.
pub(crate) struct Log {
    level: LogLevel,
    writer: NonBlocking,
    errors: Arc<AtomicU64>,
    _flushes_when_dropped: WorkerGuard,
}

impl Log {
    pub(crate) fn start(args: &LogArgs) -> Log {
        let errors = Arc::<AtomicU64>::default();
        let (writer, guard) = background(io::stderr(), Arc::clone(&errors));
        let (filter, level) = reload::Layer::new(args.log_level);
        let lines = fmt::layer().with_target(false).with_writer(writer.clone());
        let lines = match args.log_format {
            LogFormat::Text => lines.with_ansi(takes_colors()).boxed(),
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
            errors,
            _flushes_when_dropped: guard,
        }
    }

    pub(crate) fn level(&self) -> LogLevel {
        self.level.clone()
    }

    /// Returns the number of failed writes to standard error.
    pub(crate) fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    pub(crate) fn lines_lost(&self) -> usize {
        self.writer.error_counter().dropped_lines()
    }
}

/// Returns whether standard error is a terminal, and colors are not disabled (no-color.org).
fn takes_colors() -> bool {
    let is_disabled = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal()
        && !is_disabled
        && env::var_os("TERM").is_none_or(|term| term != "dumb")
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
