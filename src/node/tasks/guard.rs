//! The guard around the future of a handler.

use std::cell::RefCell;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::super::error::Error;
use super::super::panics::caught;

/// Polls the future of a handler. Ends it with an internal error if it panics, or if it keeps
/// `state` borrowed across an await, as all other handlers would then fail.
pub(in crate::node) fn poll_guarded<T, R>(
    state: &RefCell<T>,
    future: Pin<&mut impl Future<Output = Result<R, Error>>>,
    cx: &mut Context<'_>,
) -> Poll<Result<R, Error>> {
    match caught(|| future.poll(cx)) {
        Ok(Poll::Pending) if state.try_borrow_mut().is_err() => {
            let why = "the handler keeps the state borrowed across an await";
            Poll::Ready(Err(Error::internal(why)))
        }
        Ok(polled) => polled,
        Err(error) => Poll::Ready(Err(error)),
    }
}
