//! Signals, taken by a thread of their own: SIGINT and SIGTERM stop the program, SIGHUP reads the
//! tokens again, and SIGXFSZ does nothing: without that a limit of file sizes would end the program,
//! and not only the write.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use pilcrow::Waker;
use pilcrow::distributor::Tokens;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;
use tracing::{info, warn};

use crate::tokens;

/// What signals asked for.
#[derive(Clone, Default)]
pub(crate) struct Asked {
    stop: Arc<AtomicBool>,
    tokens: Arc<Mutex<Option<Tokens>>>,
}

impl Asked {
    pub(crate) fn to_stop(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// The tokens that were read last, unless they were taken already.
    pub(crate) fn take_tokens(&self) -> Option<Tokens> {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.take()
    }
}

/// Takes signals from now on, and rings the waker for each.
///
/// Errors are the system's.
pub(crate) fn listen(waker: Waker, token_files: Vec<PathBuf>) -> io::Result<Asked> {
    let asked = Asked::default();
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGXFSZ])?;
    let told = asked.clone();
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in signals.forever() {
                match signal {
                    // Here, and not in the loop: a disk may take its time.
                    SIGHUP => reload(&told, &token_files),
                    SIGXFSZ => continue,
                    _ => told.stop.store(true, Ordering::Release),
                }
                if let Err(error) = waker.wake() {
                    warn!(%error, "could not wake the loop");
                }
            }
        })?;
    Ok(asked)
}

fn reload(asked: &Asked, token_files: &[PathBuf]) {
    match tokens::read(token_files) {
        Ok(Some(tokens)) => {
            info!(tokens = tokens.len(), "SIGHUP: read the tokens again");
            let mut slot = asked.tokens.lock().unwrap_or_else(PoisonError::into_inner);
            *slot = Some(tokens);
        }
        Ok(None) => info!("SIGHUP: nothing to reload, there is no --token-file"),
        Err(why) => warn!("SIGHUP: the tokens stay as they were: {why}"),
    }
}
