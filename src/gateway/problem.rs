//! Reasons for a response that is not the reply of a node.

use std::borrow::Cow;

use serde::Serialize;

/// A status, and a description of the fault.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) status: u16,
    pub(super) why: Cow<'static, str>,
    /// A header of the response that tells the client what to do.
    pub(super) header: Option<(&'static str, Cow<'static, str>)>,
}

impl Problem {
    pub(super) fn new(status: u16, why: impl Into<Cow<'static, str>>) -> Problem {
        Problem {
            status,
            why: why.into(),
            header: None,
        }
    }

    /// Sets the header.
    pub(super) fn with(self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Problem {
        let header = Some((name, value.into()));
        Problem { header, ..self }
    }

    /// Returns the body of its response.
    pub(super) fn body(&self) -> String {
        problem(self.status, &self.why)
    }
}

/// Returns the body of a response with this status and description.
pub(super) fn problem(status: u16, why: &str) -> String {
    #[derive(Serialize)]
    struct Body<'a> {
        status: u16,
        error: &'a str,
    }
    serde_json::to_string(&Body { status, error: why }).unwrap_or_default()
}
