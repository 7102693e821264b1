//! Panics of handlers.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::error::Error;

/// Calls code of the service. A panic becomes an internal error, which is also logged.
///
/// The state of the service may be left as the panic found it, as after any early return.
pub(super) fn caught<R>(act: impl FnOnce() -> R) -> Result<R, Error> {
    catch_unwind(AssertUnwindSafe(act)).map_err(|payload| {
        let panic = message(&*payload);
        tracing::error!(panic, "handler panicked");
        Error::internal(format!("the handler panicked: {panic}"))
    })
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
