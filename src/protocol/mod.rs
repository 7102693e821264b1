//! The wire: packets as JSON. Pure, and the only place that knows JSON.
//!
//! A packet is one JSON object. What it is about is in `uri` and `method`, as in HTTP; `key` comes
//! back in the reply; `params` is the rest. Frames, and that none can be ended early, are the
//! loop's business: see [`crate::reactor::framing`].

mod encode;
mod error_code;
mod packet;
mod registration;

pub use encode::{LIST_HEAD_BYTES, write_error, write_list, write_list_head};
pub use error_code::{ErrorCode, Refusal};
pub use packet::Packet;
pub use registration::{Registration, RegistrationLimits};

/// The one uri that a Distributor serves.
pub const DISTRIBUTES: &str = "/distributes";
