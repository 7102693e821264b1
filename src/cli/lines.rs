//! Lines on a standard stream, written by a thread of their own, so that nobody who does not read them
//! holds up the program.

use std::io::{self, Write};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

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
