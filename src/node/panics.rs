//! Panics of handlers.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::error::Error;

/// Calls code of the service. A panic becomes an internal error, which the caller logs.
///
/// The state of the service may be left as the panic found it, as after any early return.
pub(super) fn caught<R>(act: impl FnOnce() -> R) -> Result<R, Error> {
    catch_unwind(AssertUnwindSafe(act)).map_err(|payload| {
        let panic = message(&*payload);
        Error::internal(format!("the handler panicked: {panic}"))
    })
}

/// Calls code of the service that has no caller to answer. A panic is logged.
pub(super) fn caught_and_logged(act: impl FnOnce()) {
    if let Err(error) = caught(act) {
        let error = error.message();
        tracing::error!(error, "handler panicked");
    }
}

fn message(payload: &(dyn Any + Send)) -> &str {
    if let Some(message) = payload.downcast_ref::<&str>() {
        message
    } else if let Some(message) = payload.downcast_ref::<String>() {
        message
    } else {
        "no message"
    }
}
