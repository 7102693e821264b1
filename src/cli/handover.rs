//! What one thread has ready for another.

use std::sync::{Arc, Mutex, PoisonError};

/// The last of what was put there and not taken. Clones are the same place.
#[derive(Clone)]
pub(crate) struct Handover<T>(Arc<Mutex<Option<T>>>);

impl<T> Default for Handover<T> {
    fn default() -> Handover<T> {
        Handover(Arc::default())
    }
}

impl<T> Handover<T> {
    pub(crate) fn put(&self, what: T) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(what);
    }

    pub(crate) fn take(&self) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
