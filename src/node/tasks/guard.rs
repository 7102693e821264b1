//! The guard around the future of a handler.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use super::super::error::Error;
use super::super::panics::caught;

/// Awaits the future of a handler. Ends it with an internal error if it panics, or if it keeps
/// `state` borrowed across an await, as all other handlers would then fail.
pub(in crate::node) async fn guarded<T, R>(
    state: &RefCell<T>,
    future: impl Future<Output = Result<R, Error>>,
) -> Result<R, Error> {
    let mut future = pin!(future);
    poll_fn(|cx| match caught(|| future.as_mut().poll(cx)) {
        Ok(Poll::Pending) if state.try_borrow_mut().is_err() => {
            let why = "the handler keeps the state borrowed across an await";
            Poll::Ready(Err(Error::internal(why)))
        }
        Ok(polled) => polled,
        Err(error) => Poll::Ready(Err(error)),
    })
    .await
}
