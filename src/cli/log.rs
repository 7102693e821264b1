//! The log on standard error: its flags, and the thread that writes it, so that nobody who does not
//! read it holds up the loop.

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

/// What is logged, and how.
#[derive(clap::Args, Debug)]
pub(crate) struct LogArgs {
    /// How log lines are written
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,

    /// How much is logged
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    #[arg(value_parser = PossibleValuesParser::new(["off", "error", "warn", "info", "debug", "trace"])
        .try_map(|level| level.parse::<LevelFilter>()))]
    pub(crate) log_level: LevelFilter,
}

/// How log lines are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum LogFormat {
    /// One line for people
    Text,
    /// One JSON object a line
    Json,
}

/// Standard error, whose errors are counted and change nothing.
struct Stderr(Arc<AtomicU64>);

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if io::stderr().write_all(bytes).is_err() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lines that wait to be written by the log's own thread. More are lost, and counted.
const MAX_LOG_LINES_WAITING: usize = 10_000;

/// Logging to standard error through a thread of its own.
pub(crate) struct Log {
    level: LogLevel,
    writer: NonBlocking,
    errors: Arc<AtomicU64>,
    _flushes_when_dropped: WorkerGuard,
}

impl Log {
    pub(crate) fn start(args: &LogArgs) -> Log {
        let errors = Arc::new(AtomicU64::new(0));
        let (writer, guard) = NonBlockingBuilder::default()
            .lossy(true)
            .buffered_lines_limit(MAX_LOG_LINES_WAITING)
            .thread_name("log")
            .finish(Stderr(Arc::clone(&errors)));
        let (filter, level) = reload::Layer::new(args.log_level);
        let lines = fmt::layer().with_target(false).with_writer(writer.clone());
        let lines = match args.log_format {
            LogFormat::Text => lines.with_ansi(takes_colors()).boxed(),
            LogFormat::Json => lines.json().flatten_event(true).boxed(),
        };
        // It fails only if there is one already.
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

    /// Times that standard error took nothing: it was closed, or its disk is full.
    pub(crate) fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    pub(crate) fn lines_lost(&self) -> usize {
        self.writer.error_counter().dropped_lines()
    }
}

/// Whether standard error is a terminal, and nobody objects (no-color.org).
fn takes_colors() -> bool {
    let is_refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal()
        && !is_refused
        && env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Changes how much is logged. It fails if nothing is logged any more.
pub(crate) type LogLevel = reload::Handle<LevelFilter, Registry>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_logged_is_found_out_first() {
        let log = Log::start(&LogArgs {
            log_format: LogFormat::Json,
            log_level: LevelFilter::INFO,
        });
        for level in [LevelFilter::TRACE, LevelFilter::OFF, LevelFilter::INFO] {
            log.level().reload(level).unwrap();
            // Where this is too low for a line, nothing else is looked at.
            assert_eq!(LevelFilter::current(), level);
        }
    }
}
