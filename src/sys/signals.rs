//! SIGINT and SIGTERM, for programs that have no handler of their own.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag::register_conditional_default;
use signal_hook::iterator::{Handle, Signals};

/// Handles SIGINT and SIGTERM as long as it exists. Afterwards they end the process again.
pub(crate) struct StopSignals {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

/// True while the signals end the process, as by default. Set when the last [`StopSignals`] is
/// dropped.
static DEFAULT: OnceLock<Arc<AtomicBool>> = OnceLock::new();
static HANDLED: AtomicUsize = AtomicUsize::new(0);

impl StopSignals {
    /// Calls `act` for each signal, on a thread of its own.
    pub(crate) fn handle(act: impl Fn() + Send + 'static) -> io::Result<StopSignals> {
        let is_default = match DEFAULT.get() {
            Some(is_default) => Arc::clone(is_default),
            None => {
                let is_default = Arc::<AtomicBool>::default();
                // A handled signal loses its default action for the rest of the process.
                for signal in [SIGINT, SIGTERM] {
                    register_conditional_default(signal, Arc::clone(&is_default))?;
                }
                Arc::clone(DEFAULT.get_or_init(|| is_default))
            }
        };
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let handle = signals.handle();
        let thread = thread::Builder::new().name("signals".to_owned());
        let thread = thread.spawn(move || {
            for _ in signals.forever() {
                act();
            }
        })?;
        HANDLED.fetch_add(1, Ordering::AcqRel);
        is_default.store(false, Ordering::Release);
        Ok(StopSignals {
            handle,
            thread: Some(thread),
        })
    }
}

impl Drop for StopSignals {
    fn drop(&mut self) {
        if HANDLED.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(is_default) = DEFAULT.get()
        {
            is_default.store(true, Ordering::Release);
        }
        self.handle.close();
        if let Some(thread) = self.thread.take() {
            // It ends with the handle, and has not panicked.
            let _ = thread.join();
        }
    }
}
