//! Packets as JSON, which the programs exchange. Pure.
//!
//! A packet is one JSON object. `uri` and `method` determine its meaning, as in HTTP; the reply
//! repeats the `key`; `params` has the other data. Frames are handled by the loop: see
//! [`crate::reactor::framing`].
//!
//! # Between nodes
//!
//! ```text
//! {"uri":"/goods","method":"GET","key":7,"deadline_ms":1000,"params":{…}}
//! {"key":7,"errorcode":0,"errormessage":"success","results":{…}}
//! {"key":7,"errorcode":2,"errormessage":"no such route"}
//! ```
//!
//! `deadline_ms`, the remaining time of the caller, is optional. So is `"request_id":"…"` after the
//! params: the id of the request in the logs of all nodes involved. A packet with an `errorcode`
//! and without a `uri` is a reply, and is never answered.
//!
//! # Sessions
//!
//! A node that adds a `session` to its registration receives a reply, and then lists with the run
//! of the Distributor (`epoch`), the revision (`rev`) and an id for each entry:
//!
//! ```text
//! node         {"uri":"/distributes","method":"POST","key":5,"params":{…},
//!                "session":{"version":1,"watch":"delta"}}
//! Distributor  {"key":5,"errorcode":0,"errormessage":"success",
//!                "results":{"id":19,"epoch":"e","rev":27,"heartbeat_ms":5000}}
//! Distributor  {"uri":"/distributes","method":"GET","key":0,"params":[{…}],
//!                "session":{"epoch":"e","rev":27,"complete":true,"ack":true,"ids":[19]}}
//! ```
//!
//! If the Distributor requires a token, the session contains it as `token`, and no other packet is
//! served before. `complete` is false while the Distributor has just started and nodes are still
//! reconnecting; nodes of its last run that do not reconnect leave with the cause `absent`. `watch`
//! is `list`, `delta` or `none`; see [`SessionRequest`] for the other fields.
//!
//! With `delta`, most updates are changes instead of lists. They lead from the revision `from` to
//! `rev`; `ids` are those of the entries in `joined`, and a known id is replaced. A node at another
//! revision than `from` requests the list:
//!
//! ```text
//! Distributor  {"uri":"/distributes","method":"PATCH","key":0,
//!                "params":{"joined":[],"left":[{"id":19,"cause":"closed"}]},
//!                "session":{"epoch":"e","from":27,"rev":28,"ack":true,"ids":[]}}
//! ```
//!
//! Every `heartbeat_ms`, and at once if `ack` is true, the node sends the revision that it has
//! applied; a heartbeat with a key has a reply. A node that sends no heartbeat for a while
//! (`--silence-timeout`) is removed. Before it stops, the Distributor sends the time after which to
//! reconnect:
//!
//! ```text
//! node         {"uri":"/distributes/heartbeat","method":"POST","key":9,"session":{"rev":28}}
//! Distributor  {"key":9,"errorcode":0,"errormessage":"success","results":{"rev":28}}
//! Distributor  {"uri":"/distributes","method":"PATCH",
//!                "session":{"draining":true,"retry_after_ms":500}}
//! ```

mod call;
mod encode;
mod error_code;
pub(crate) mod json;
mod packet;
mod registration;
mod route;
mod session;
mod update;

pub(crate) use call::write_request_head;
pub use call::{Reply, key_of_request, write_error, write_error_reply, write_reply, write_request};
pub use encode::{LIST_HEAD_BYTES, write_list, write_list_head};
pub use error_code::{ErrorCode, Refusal};
pub use packet::Packet;
pub use registration::{Registration, RegistrationLimits};
pub use route::Route;
pub(crate) use session::is_instance;
pub use session::{
    Applied, DrainRequest, Drained, Registered, SessionRequest, Stamp, Token, Watch, write_delta,
    write_draining, write_session_list,
};

pub use update::{Left, ListedNode, Update, UpdateSession};

/// The uri for registrations, drains and lists.
pub const DISTRIBUTES: &str = "/distributes";
/// The uri for heartbeats of nodes with a session.
pub const HEARTBEAT: &str = "/distributes/heartbeat";
