//! The wire: packets as JSON. Pure.
//!
//! A packet is one JSON object. What it is about is in `uri` and `method`, as in HTTP; `key` comes
//! back in the reply; `params` is the rest. Frames, and that none can be ended early, are the
//! loop's business: see [`crate::reactor::framing`].

mod call;
mod encode;
mod error_code;
mod packet;
mod registration;
mod session;
mod update;

pub(crate) use call::write_encoded_request;
pub use call::{Reply, key_of_request, write_error_reply, write_reply, write_request};
pub use encode::{LIST_HEAD_BYTES, write_error, write_list, write_list_head};
pub use error_code::{ErrorCode, Refusal};
pub use packet::Packet;
pub use registration::{Registration, RegistrationLimits};
pub use session::{
    Applied, DrainRequest, Drained, Registered, SessionRequest, Stamp, Watch, write_delta,
    write_draining, write_session_list, write_success,
};

pub use update::{Left, ListedNode, Update, UpdateSession};

/// Where nodes register, and ask for the list.
pub const DISTRIBUTES: &str = "/distributes";
/// Where nodes with a session say that they are alive, and what they know.
pub const HEARTBEAT: &str = "/distributes/heartbeat";
