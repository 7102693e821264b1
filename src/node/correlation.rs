//! Fields of a request that relate it to others.

use crate::protocol::TraceContext;

/// Names of a request in logs and traces. Calls made while it is served pass them on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Correlation<'a> {
    pub(super) request_id: Option<&'a str>,
    pub(super) trace: Option<&'a TraceContext<'a>>,
}

/// A [`Correlation`] that is kept beyond the request.
#[derive(Clone, Debug, Default)]
pub(super) struct OwnedCorrelation {
    request_id: Option<Box<str>>,
    trace: Option<Box<TraceContext<'static>>>,
}

impl<'a> Correlation<'a> {
    /// Replaces the trace context, if there is another.
    pub(super) fn with_trace(self, trace: Option<&'a TraceContext<'a>>) -> Correlation<'a> {
        Correlation {
            trace: trace.or(self.trace),
            ..self
        }
    }

    /// Returns the id of the trace, for logs.
    pub(super) fn trace_id(self) -> Option<&'a str> {
        self.trace.map(TraceContext::trace_id)
    }

    pub(super) fn into_owned(self) -> OwnedCorrelation {
        let trace = self.trace.cloned();
        OwnedCorrelation {
            request_id: self.request_id.map(Into::into),
            trace: trace.map(|trace| Box::new(trace.into_owned())),
        }
    }
}

impl OwnedCorrelation {
    pub(super) fn as_ref(&self) -> Correlation<'_> {
        Correlation {
            request_id: self.request_id.as_deref(),
            trace: self.trace.as_deref(),
        }
    }
}
