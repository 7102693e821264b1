//! Tasks: futures on the thread of the reactor.

mod executor;
mod futures;
mod guard;
mod hub;
mod join;
mod raw_json;
mod task_context;
mod task_data;
mod task_request;

pub(super) use executor::{Executor, Task, TaskFuture};
pub(super) use guard::poll_guarded;
pub(super) use hub::{Command, Hub, Start, StartCall, Started, To, WaitResult};
pub(super) use task_data::TaskData;

pub use futures::{CallAllFuture, CallFuture, RoutesFuture, Sleep, TaskCalls};
pub use join::{join, join_all};
pub use raw_json::RawJson;
pub use task_context::TaskContext;
pub(super) use task_context::too_many;
pub use task_request::TaskRequest;
