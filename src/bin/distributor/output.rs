//! What the program says: the log on standard error, a few lines on standard output. Each has a thread
//! of its own, so that nobody who does not read them holds up the loop.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};

use crate::args::{Args, LogFormat};

/// How long the program waits at its end for somebody to read its last lines.
const LONGEST_FLUSH: Duration = Duration::from_millis(200);

/// Lines on one of the standard streams.
pub(crate) struct Lines {
    lines: Option<Sender<String>>,
    done: Receiver<()>,
}

impl Lines {
    /// Errors are the system's, for want of threads.
    pub(crate) fn on(mut stream: impl Write + Send + 'static) -> io::Result<Lines> {
        let (lines, said) = mpsc::channel::<String>();
        let (is_done, done) = mpsc::channel();
        thread::Builder::new()
            .name("lines".to_owned())
            .spawn(move || {
                for line in said {
                    // Not with `println!`: that panics where nobody can read it.
                    let _ = writeln!(stream, "{line}").and_then(|()| stream.flush());
                }
                let _ = is_done.send(());
            })?;
        Ok(Lines {
            lines: Some(lines),
            done,
        })
    }

    pub(crate) fn say(&self, line: String) {
        if let Some(lines) = &self.lines {
            // It fails if the thread is gone. Then nobody can be told.
            let _ = lines.send(line);
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.lines = None;
        let _ = self.done.recv_timeout(LONGEST_FLUSH);
    }
}

/// Standard error, whose errors are nobody's concern and are counted.
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

/// Logging to standard error through a thread of its own, so that a slow reader of it never holds
/// up the loop.
pub(crate) struct Log {
    writer: NonBlocking,
    errors: Arc<AtomicU64>,
    _flushes_when_dropped: WorkerGuard,
}

impl Log {
    pub(crate) fn start(args: &Args) -> Log {
        let errors = Arc::new(AtomicU64::new(0));
        let (writer, guard) = NonBlockingBuilder::default()
            .lossy(true)
            .buffered_lines_limit(MAX_LOG_LINES_WAITING)
            .thread_name("log")
            .finish(Stderr(Arc::clone(&errors)));
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(args.log_level)
            .with_target(false)
            .with_writer(writer.clone());
        // It fails only if there is one already.
        let _ = match args.log_format {
            LogFormat::Text => subscriber.with_ansi(io::stderr().is_terminal()).try_init(),
            LogFormat::Json => subscriber.json().flatten_event(true).try_init(),
        };
        Log {
            writer,
            errors,
            _flushes_when_dropped: guard,
        }
    }

    /// Times that standard error took nothing: it was closed, or its disk is full.
    pub(crate) fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    pub(crate) fn lines_lost(&self) -> usize {
        self.writer.error_counter().dropped_lines()
    }
}
