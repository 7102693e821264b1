//! A cell for the latest value that one thread has for another.

use std::sync::{Arc, Mutex, PoisonError};

/// Holds the value that was set last until it is taken. Clones share one cell.
#[derive(Clone)]
pub(crate) struct Latest<T>(Arc<Mutex<Option<T>>>);

impl<T> Default for Latest<T> {
    fn default() -> Latest<T> {
        Latest(Arc::default())
    }
}

impl<T> Latest<T> {
    /// Replaces a value that was not taken.
    pub(crate) fn set(&self, value: T) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
    }

    pub(crate) fn take(&self) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
