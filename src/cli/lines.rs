//! Lines on a standard stream, written by a thread.

use std::io::{self, Write};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

/// Time that the last lines may take at the end of the program.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(200);

/// Lines on a standard stream. A stalled reader does not block the program.
pub(crate) struct Lines {
    lines: Option<Sender<String>>,
    done: Receiver<()>,
}

impl Lines {
    /// # Errors
    ///
    /// The system cannot start a thread.
    pub(crate) fn on(mut stream: impl Write + Send + 'static) -> io::Result<Lines> {
        let (lines, queued) = mpsc::channel::<String>();
        let (is_done, done) = mpsc::channel();
        thread::Builder::new()
            .name("lines".to_owned())
            .spawn(move || {
                for line in queued {
                    // `println!` would panic without a reader.
                    let _ = writeln!(stream, "{line}").and_then(|()| stream.flush());
                }
                let _ = is_done.send(());
            })?;
        Ok(Lines {
            lines: Some(lines),
            done,
        })
    }

    pub(crate) fn print(&self, line: String) {
        if let Some(lines) = &self.lines {
            // It fails only if the thread has ended.
            let _ = lines.send(line);
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.lines = None;
        let _ = self.done.recv_timeout(FLUSH_TIMEOUT);
    }
}
