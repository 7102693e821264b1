//! A bar on standard error, where that is a terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// Shows how far the run is; gone when dropped.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    pub(crate) fn of_rounds(what: &'static str, rounds: u32) -> Progress {
        Progress::new(what, u64::from(rounds))
    }

    /// Of something that comes in so many steps.
    pub(crate) fn new(what: &'static str, steps: u64) -> Progress {
        // Hidden by itself where standard error is no terminal.
        let bar = ProgressBar::new(steps);
        if let Ok(style) = ProgressStyle::with_template("{msg} [{bar:40}] {pos}/{len} {elapsed}") {
            bar.set_style(style.progress_chars("━╸─"));
        }
        bar.set_message(what);
        bar.tick();
        Progress(bar)
    }

    pub(crate) fn next(&self) {
        self.0.inc(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
