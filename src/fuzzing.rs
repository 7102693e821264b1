//! Internal items that `fuzz/`, the simulation and two benches use, in addition to the API.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::distributor::{escaped, escaped_frame};
#[cfg(feature = "http")]
use crate::http::{Limits, Request, limits::MAX_HEADERS, reader};
use crate::protocol::{ErrorCode, ListedNode, Route};

pub use crate::protocol::call::{
    key_of_request, write_error, write_error_reply, write_reply, write_request,
};
pub use crate::protocol::encode::write_list;
pub use crate::protocol::error_code::Refusal;
pub use crate::protocol::packet::Packet;
pub use crate::protocol::registration::Registration;
pub use crate::protocol::session::{
    Applied, DrainRequest, Registered, SessionRequest, Stamp, Watch, write_delta, write_draining,
    write_session_list,
};
pub use crate::protocol::update::{Left, Update, UpdateSession};
pub use crate::reactor::buffer_pool::BufferPool;
pub use crate::reactor::framing::{Fed, FrameBuffer};
pub use crate::reactor::timer_wheel::TimerWheel;
pub use crate::store::{replace as replace_file, set_aside as set_file_aside};
pub use crate::sys::{Disk, FileKind};

/// Checks a url of a registration.
pub fn check_url(url: &str) -> Result<(), &'static str> {
    Route::parse(url).check()
}

/// Reads an entry of a list.
pub fn listed_node(entry: &RawValue) -> ListedNode {
    ListedNode::parse(entry)
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
