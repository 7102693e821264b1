//! Functions for the properties of `fuzz/`, in addition to the API.

use std::borrow::Cow;

use crate::distributor::{escaped, escaped_frame};
#[cfg(feature = "http")]
use crate::http::{Limits, Request, limits::MAX_HEADERS, reader};
use crate::protocol::{ErrorCode, Refusal, Route};

/// Checks a url of a registration.
pub fn check_url(url: &str) -> Result<(), &'static str> {
    Route::parse(url).check()
}

/// Returns a frame as it is logged.
pub fn logged_frame(frame: &[u8]) -> String {
    escaped_frame(frame)
}

/// Returns a text as it is logged.
pub fn logged_text(text: &str) -> String {
    escaped(text)
}

/// Returns a refusal with this code and message.
pub fn refusal(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::new(code, message)
}

/// Returns the largest number of bytes of a request that are kept.
#[cfg(feature = "http")]
pub fn max_request_bytes(limits: &Limits) -> usize {
    limits.max_request_bytes()
}

/// Finds requests in the bytes of one connection.
#[cfg(feature = "http")]
#[derive(Debug, Default)]
pub struct RequestReader(reader::RequestReader);

#[cfg(feature = "http")]
impl RequestReader {
    /// Returns the number of bytes that were consumed, zero if more are needed. Calls `receive`
    /// with a complete request and its length in bytes. The error is the status of the refusal.
    pub fn step(
        &mut self,
        bytes: &[u8],
        limits: &Limits,
        receive: &mut dyn FnMut(&Request<'_>, usize),
    ) -> Result<usize, u16> {
        let mut slots = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let step = self.0.step(bytes, &mut slots, limits);
        match step.map_err(|refusal| refusal.status)? {
            reader::Step::Skip(bytes) => Ok(bytes),
            reader::Step::More { .. } => Ok(0),
            reader::Step::Complete { request, bytes } => {
                receive(&request, bytes);
                Ok(bytes)
            }
        }
    }
}
