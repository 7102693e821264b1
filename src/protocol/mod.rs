//! The types of the protocol that the other modules share: routes, replies, error codes, tokens.
//!
//! A packet is a JSON object followed by `¶`. A [`Node`](crate::node::Node) and a
//! [`Distributor`](crate::distributor::Distributor) read and write packets themselves. To talk to
//! them from another language or on a bare [`reactor`](crate::reactor), see `docs/protocol.md`.

pub(crate) mod call;
mod decode_error;
pub(crate) mod encode;
pub(crate) mod error_code;
pub(crate) mod json;
pub(crate) mod packet;
pub(crate) mod registration;
mod route;
pub(crate) mod session;
pub(crate) mod subscription;
mod trace;
pub(crate) mod update;

pub use call::Reply;
pub(crate) use call::{
    key_of_request, write_error, write_error_reply, write_own_error_reply, write_reply,
    write_request, write_request_head,
};
pub use decode_error::{DecodeError, Part};
pub(crate) use encode::{LIST_HEAD_BYTES, write_list, write_list_head};
pub use error_code::ErrorCode;
pub(crate) use error_code::Refusal;
pub(crate) use packet::Packet;
pub(crate) use registration::Registration;
pub use registration::RegistrationLimits;
pub use route::Route;
pub(crate) use session::{
    Applied, DrainRequest, Registered, SessionRequest, Stamp, Watch, is_instance, write_delta,
    write_draining, write_session_list,
};
pub use session::{Drained, Token};
pub use subscription::Subscription;
pub(crate) use subscription::is_under;
pub use trace::TraceContext;
pub use update::ListedNode;
pub(crate) use update::{Left, Update, UpdateSession};

/// The uri for registrations, drains and lists.
pub(crate) const DISTRIBUTES: &str = "/distributes";
/// The uri for heartbeats of nodes with a session.
pub(crate) const HEARTBEAT: &str = "/distributes/heartbeat";
/// The feature of a Distributor that knows subscriptions.
pub(crate) const ONLY: &str = "only";
