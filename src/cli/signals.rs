//! Signals, taken by a thread of their own: SIGINT and SIGTERM stop the program, SIGHUP has files read
//! again, and SIGXFSZ does nothing: without that a limit of file sizes would end the program, and not
//! only the write.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::Waker;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;
use tracing::warn;

use crate::cli::service_manager::ServiceManager;

/// How often a signal has asked the program to stop.
pub(crate) struct Stop(Arc<AtomicU64>);

impl Stop {
    pub(crate) fn is_asked_for(&self) -> bool {
        self.0.load(Ordering::Acquire) > 0
    }

    /// Whoever says it twice does not want to wait.
    pub(crate) fn is_asked_for_again(&self) -> bool {
        self.0.load(Ordering::Acquire) > 1
    }
}

/// Takes signals from now on, and rings the waker for each. `hang_up` is called for SIGHUP, in the
/// thread of the signals and not in the loop's: a disk may take its time. The service manager is told
/// of both.
///
/// Errors are the system's.
pub(crate) fn listen(
    waker: Waker,
    service_manager: ServiceManager,
    mut hang_up: impl FnMut() + Send + 'static,
) -> io::Result<Stop> {
    let stop = Arc::new(AtomicU64::new(0));
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGXFSZ])?;
    let told = Arc::clone(&stop);
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in signals.forever() {
                match signal {
                    SIGHUP => {
                        service_manager.reloading();
                        hang_up();
                        service_manager.ready();
                    }
                    SIGXFSZ => continue,
                    _ => {
                        service_manager.stopping();
                        told.fetch_add(1, Ordering::Release);
                    }
                }
                if let Err(error) = waker.wake() {
                    warn!(%error, "could not wake the loop");
                }
            }
        })?;
    Ok(Stop(stop))
}
