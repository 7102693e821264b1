//! How far a run is, on standard error where that is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar of rounds; gone when dropped.
pub(crate) struct Progress(ProgressBar);

/// The time beside the bar goes on within a round.
const REDRAWN_EVERY: Duration = Duration::from_millis(250);

impl Progress {
    pub(crate) fn of_rounds(what: &'static str, rounds: u32) -> Progress {
        let bar = ProgressBar::new(u64::from(rounds));
        let template = "{spinner} {msg} [{bar:40}] {pos} of {len} rounds, {elapsed}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("━╸─"));
        }
        bar.set_message(what);
        // Where there is no terminal nothing is drawn, so nothing need be woken for it.
        if !bar.is_hidden() {
            bar.enable_steady_tick(REDRAWN_EVERY);
        }
        Progress(bar)
    }

    pub(crate) fn round_done(&self) {
        self.0.inc(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
