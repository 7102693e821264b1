//! Streams that are written on a thread of their own, so that a stalled reader does not block the
//! program.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Maximum number of lines that wait to be written. Further ones are dropped and counted.
const MAX_LINES_WAITING: usize = 10_000;
/// Maximum time for which a dropped [`Flush`] waits.
const MAX_FLUSH_TIME: Duration = Duration::from_secs(1);

/// A handle to the thread that writes a stream. Writing to it never blocks and never fails.
#[derive(Clone)]
pub(crate) struct Background {
    lines: SyncSender<Vec<u8>>,
    counters: Arc<Counters>,
}

#[derive(Default)]
struct Counters {
    lines_lost: AtomicU64,
    errors: AtomicU64,
}

/// Waits until the lines so far are written, when dropped. Lines written later are lost.
pub(crate) struct Flush {
    /// An empty line ends the thread.
    lines: SyncSender<Vec<u8>>,
    written: Receiver<()>,
}

impl Background {
    /// Starts the thread that writes `stream`.
    pub(crate) fn start(mut stream: impl Write + Send + 'static) -> (Background, Flush) {
        let (lines, waiting) = mpsc::sync_channel::<Vec<u8>>(MAX_LINES_WAITING);
        let (done, written) = mpsc::channel();
        let counters = Arc::<Counters>::default();
        let background = Background {
            lines: lines.clone(),
            counters: Arc::clone(&counters),
        };
        // Without a thread, all lines are lost and counted.
        let _ = thread::Builder::new()
            .name("output".to_owned())
            .spawn(move || {
                for line in waiting.into_iter().take_while(|line| !line.is_empty()) {
                    if stream
                        .write_all(&line)
                        .and_then(|()| stream.flush())
                        .is_err()
                    {
                        counters.errors.fetch_add(1, Ordering::Relaxed);
                    }
                }
                let _ = done.send(());
            });
        (background, Flush { lines, written })
    }

    /// Returns the number of lines that were dropped because too many waited.
    pub(crate) fn lines_lost(&self) -> u64 {
        self.counters.lines_lost.load(Ordering::Relaxed)
    }

    /// Returns the number of failed writes to the stream.
    pub(crate) fn errors(&self) -> u64 {
        self.counters.errors.load(Ordering::Relaxed)
    }
}

impl Write for Background {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !bytes.is_empty() && self.lines.try_send(bytes.to_vec()).is_err() {
            self.counters.lines_lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Background {
    type Writer = Background;

    fn make_writer(&self) -> Background {
        self.clone()
    }
}

impl Drop for Flush {
    fn drop(&mut self) {
        // A full queue is of a reader that is stalled: waiting for it would block the program.
        if self.lines.try_send(Vec::new()).is_ok() {
            let _ = self.written.recv_timeout(MAX_FLUSH_TIME);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream whose reader takes one line for each message.
    struct Stalled {
        permits: Receiver<()>,
        lines: mpsc::Sender<Vec<u8>>,
    }

    impl Write for Stalled {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.permits.recv();
            let _ = self.lines.send(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn drops_and_counts_lines_beyond_the_limit() {
        let (permit, permits) = mpsc::channel();
        let (lines, read) = mpsc::channel();
        let (mut background, flush) = Background::start(Stalled { permits, lines });
        // One more is with the thread, or not yet.
        for _ in 0..MAX_LINES_WAITING + 11 {
            background.write_all(b"line").unwrap();
        }
        let lost = background.lines_lost();
        assert!(lost == 10 || lost == 11, "{lost}");
        drop(permit);
        let deadline = Duration::from_secs(60);
        assert_eq!(read.recv_timeout(deadline).unwrap(), b"line");
        // If the queue is still full, only this ends the thread.
        let counters = Arc::clone(&background.counters);
        drop((flush, background));
        assert_eq!(
            read.iter().count() as u64,
            (MAX_LINES_WAITING + 10) as u64 - lost
        );
        assert_eq!(counters.errors.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn dropping_flush_waits_until_lines_are_written() {
        let (lines, read) = mpsc::channel();
        let (permit, permits) = mpsc::channel();
        drop(permit);
        let (mut background, flush) = Background::start(Stalled { permits, lines });
        background.write_all(b"a").unwrap();
        background.write_all(b"b").unwrap();
        drop(flush);
        assert_eq!(read.try_iter().collect::<Vec<_>>(), [b"a", b"b"]);
    }
}
