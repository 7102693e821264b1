//! The request of a task.

use std::rc::Rc;
use std::str::FromStr;

use serde::Deserialize;

use super::super::error::Error;
use super::super::served::parsed;
use super::raw_json::RawJson;
use super::task_data::TaskData;
use crate::protocol::{DecodeError, Part, Route, TraceContext};
use crate::time::Time;

/// A request that a task serves.
#[derive(Clone, Debug)]
pub struct TaskRequest(Rc<TaskData>);

impl TaskRequest {
    pub(in crate::node) fn new(data: &Rc<TaskData>) -> TaskRequest {
        TaskRequest(Rc::clone(data))
    }

    /// Decodes the params.
    pub fn params<'r, T: Deserialize<'r>>(&'r self) -> Result<T, DecodeError> {
        serde_json::from_str(self.0.params()).map_err(|error| DecodeError::new(Part::Params, error))
    }

    /// Returns the params as JSON; `null` if there are none.
    pub fn raw_params(&self) -> RawJson<'_> {
        RawJson::new(self.0.params())
    }

    /// Returns the route; its method is empty if the caller sent none.
    pub fn route(&self) -> Route<'_> {
        Route::new(self.0.method(), self.0.path())
    }

    /// Returns the part of the path that the route has in braces, as in `{id}`.
    pub fn path_param(&self, name: &str) -> Option<&str> {
        self.0.path_param(name)
    }

    /// Parses a part of the path that the route has in braces.
    ///
    /// # Errors
    ///
    /// Returns an error with [`InvalidParameters`](crate::protocol::ErrorCode::InvalidParameters)
    /// if it is not a `T`.
    pub fn parsed_path_param<T: FromStr>(&self, name: &str) -> Result<T, Error> {
        parsed(name, self.path_param(name))
    }

    /// Returns the deadline, if the caller sent one.
    pub fn deadline(&self) -> Option<Time> {
        self.0.deadline
    }

    /// Returns the id of the request in logs, if it has one.
    pub fn request_id(&self) -> Option<&str> {
        self.0.request_id()
    }

    /// Returns the trace context, if the caller sent a valid one. Calls of the task have the same,
    /// unless [`Call::trace`](super::super::Call::trace) sets another.
    pub fn trace(&self) -> Option<&TraceContext<'_>> {
        self.0.correlation().trace
    }
}
