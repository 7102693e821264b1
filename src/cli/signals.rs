//! Signals, handled by a thread of their own: SIGINT and SIGTERM stop the program, SIGHUP reloads
//! files. SIGXFSZ is ignored: by default a limit of file sizes would end the program, instead of
//! only failing a write.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;
use tracing::warn;

use crate::Waker;
use crate::cli::service_manager::ServiceManager;

/// The number of signals to stop that were received.
pub(crate) struct Stop(Arc<AtomicU64>);

impl Stop {
    pub(crate) fn is_requested(&self) -> bool {
        self.0.load(Ordering::Acquire) > 0
    }

    /// Returns whether to stop without waiting for peers.
    pub(crate) fn is_urgent(&self) -> bool {
        self.0.load(Ordering::Acquire) > 1
    }
}

/// Handles signals from now on: wakes the loop and notifies the service manager.
///
/// `reload` is called for SIGHUP in the signals' thread, where it may wait for a disk.
pub(crate) fn listen(
    waker: Waker,
    service_manager: ServiceManager,
    mut reload: impl FnMut() + Send + 'static,
) -> io::Result<Stop> {
    let stop = Arc::new(AtomicU64::new(0));
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGXFSZ])?;
    let received = Arc::clone(&stop);
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in signals.forever() {
                match signal {
                    SIGHUP => {
                        service_manager.reloading();
                        reload();
                        service_manager.ready();
                    }
                    SIGXFSZ => continue,
                    _ => {
                        service_manager.stopping();
                        received.fetch_add(1, Ordering::Release);
                    }
                }
                if let Err(error) = waker.wake() {
                    warn!(%error, "failed to wake the event loop");
                }
            }
        })?;
    Ok(Stop(stop))
}
