//! Stopping a run early: by Ctrl-C, or because it failed.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::cli::failure::Failure;

/// Whether SIGINT or SIGTERM arrived. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct StopSignal(Arc<AtomicBool>);

impl StopSignal {
    /// Handles the signals from now on. Must be called before anything is started: where SIGINT is
    /// ignored, as in a script's background jobs, one that arrives earlier is lost.
    pub(crate) fn install() -> io::Result<StopSignal> {
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&stop))?;
        }
        Ok(StopSignal(stop))
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Why a run ends early.
#[derive(Debug)]
pub(crate) enum Halt {
    /// What was measured until then is reported.
    Stopped,
    Failed(Failure),
}

impl Halt {
    pub(crate) fn failed(message: impl Into<String>) -> Halt {
        Halt::Failed(Failure::failed(message))
    }

    pub(crate) fn usage(message: impl Into<String>) -> Halt {
        Halt::Failed(Failure::usage(message))
    }
}

impl From<Failure> for Halt {
    fn from(failure: Failure) -> Halt {
        Halt::Failed(failure)
    }
}

impl From<io::Error> for Halt {
    fn from(error: io::Error) -> Halt {
        Halt::failed(error.to_string())
    }
}
