//! The wire: packets as JSON. Pure.
//!
//! A packet is one JSON object. What it is about is in `uri` and `method`, as in HTTP; `key` comes
//! back in the reply; `params` is the rest. Frames, and that none can be ended early, are the
//! loop's business: see [`crate::reactor::framing`].
//!
//! # Between nodes
//!
//! ```text
//! {"uri":"/goods","method":"GET","key":7,"deadline_ms":1000,"params":{…}}
//! {"key":7,"errorcode":0,"errormessage":"success","results":{…}}
//! {"key":7,"errorcode":2,"errormessage":"no such route"}
//! ```
//!
//! `deadline_ms` says how long the caller still waits; it may be absent. So may `"request_id":"…"`, behind
//! the params: what the request is called in the logs of all who have to do with it. A packet with an `errorcode`
//! and no `uri` is a reply, and is never answered.
//!
//! # Sessions
//!
//! A node that adds a `session` to its registration gets a reply, and then lists that say which run of
//! the Distributor (`epoch`) and which revision (`rev`) they are of, with a number for each entry:
//!
//! ```text
//! node         {"uri":"/distributes","method":"POST","key":5,"params":{…},"session":{"version":1,"watch":"delta"}}
//! Distributor  {"key":5,"errorcode":0,"errormessage":"success","results":{"id":19,"epoch":"e","rev":27,"heartbeat_ms":5000}}
//! Distributor  {"uri":"/distributes","method":"GET","key":0,"params":[{…}],"session":{"epoch":"e","rev":27,"complete":true,"ack":true,"ids":[19]}}
//! ```
//!
//! Where a Distributor asks for a token, the session has it as `token`, and nothing but such a
//! registration is served before. `complete` is false while the Distributor has just started and nodes
//! are still coming back; those of its last run who do not come back leave with the cause `absent`. `watch` is
//! `list`, `delta` or `none`; see [`SessionRequest`] for the other fields.
//!
//! With `delta`, changes come instead of most lists. They lead from the revision `from` to `rev`; `ids`
//! are those of the entries in `joined`, and a known one is replaced. If `from` is not the revision that
//! the node has, the node asks for the list:
//!
//! ```text
//! Distributor  {"uri":"/distributes","method":"PATCH","key":0,"params":{"joined":[],"left":[{"id":19,"cause":"closed"}]},"session":{"epoch":"e","from":27,"rev":28,"ack":true,"ids":[]}}
//! ```
//!
//! Every `heartbeat_ms`, and at once where `ack` is true, the node says what it has applied; a
//! heartbeat with a key is answered. A node that says nothing for a while (`--silence-timeout`) is gone.
//! Before it stops, the Distributor says when to come back:
//!
//! ```text
//! node         {"uri":"/distributes/heartbeat","method":"POST","key":9,"session":{"rev":28}}
//! Distributor  {"key":9,"errorcode":0,"errormessage":"success","results":{"rev":28}}
//! Distributor  {"uri":"/distributes","method":"PATCH","session":{"draining":true,"retry_after_ms":500}}
//! ```

mod call;
mod encode;
mod error_code;
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

/// Where nodes register, and ask for the list.
pub const DISTRIBUTES: &str = "/distributes";
/// Where nodes with a session say that they are alive, and what they know.
pub const HEARTBEAT: &str = "/distributes/heartbeat";
