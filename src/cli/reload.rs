//! What SIGHUP does: the tokens are read again, and the log level of the configuration file.

use std::path::Path;

use tracing::{error, info, warn};
use tracing_subscriber::filter::LevelFilter;

use crate::cli::failure::Failure;
use crate::cli::latest::Latest;
use crate::cli::log::{LogArgs, LogLevel};
use crate::cli::settings::Settings;

/// What is read again, and what it was.
pub(crate) struct Reload {
    pub(crate) settings: Settings,
    pub(crate) level: LogLevel,
    /// Fails for settings that the program would not start with.
    pub(crate) check: fn(&Settings) -> Result<(), Failure>,
    /// Reads token files again, if there are any.
    pub(crate) read_again: Option<ReadAgain>,
}

/// Reads files again. Called by the thread that handles signals.
pub(crate) type ReadAgain = Box<dyn FnMut() + Send>;

/// Reads one kind of file again, for the loop to take it. A mistake in it is logged, and changes
/// nothing.
pub(crate) fn read_again<T>(what: &str, read: impl Fn() -> Result<T, Failure>, new: &Latest<T>) {
    match read() {
        Ok(value) => {
            info!("SIGHUP: read {what} again");
            new.set(value);
        }
        Err(failure) => warn!("SIGHUP: {what} stays as it was: {}", failure.message),
    }
}

impl Reload {
    /// A mistake in a file is said, and changes nothing.
    pub(crate) fn run(&mut self) {
        if self.settings.file().is_none() && self.read_again.is_none() {
            info!("SIGHUP: nothing to reload, there is no --token-file and no --config");
            return;
        }
        let new = self.settings.read_again();
        let checked = new.and_then(|new| {
            (self.check)(&new).map_err(|failure| new.blame(failure))?;
            let level = new.parse::<LogArgs>()?.log_level;
            Ok((new, level))
        });
        match checked {
            Ok((new, level)) => {
                if let Some(file) = new.file() {
                    self.take(&new, file, level);
                }
            }
            Err(failure) => {
                error!("SIGHUP: all stays as it was: {}", failure.message);
                return;
            }
        }
        if let Some(read_again) = &mut self.read_again {
            read_again();
        }
    }

    /// Takes the log level. All else would need a restart.
    fn take(&self, new: &Settings, file: &Path, level: LevelFilter) {
        // What is to be said has to be heard.
        let _ = self.level.reload(level.max(LevelFilter::current()));
        info!(file = &*file.to_string_lossy(), log_level = %level, "SIGHUP: read the configuration again");
        if let Some(who) = new.overruled_by("log-level") {
            warn!("SIGHUP: the log level stays {level}: {who} goes before the file");
        }
        let mut keys = self.settings.changed(new);
        keys.retain(|key| *key != "log-level");
        if !keys.is_empty() {
            let keys = keys.join(", ");
            warn!(
                keys,
                "SIGHUP: these are other values now, which need a restart"
            );
        }
        let _ = self.level.reload(level);
    }
}
