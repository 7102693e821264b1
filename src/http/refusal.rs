//! The refusal of an invalid request.

use std::borrow::Cow;

/// The status and the reason with which a request is refused.
///
/// Its connection is closed, since the beginning of the next request is unknown.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) why: Cow<'static, str>,
}

impl Refusal {
    pub(super) fn new(status: u16, why: impl Into<Cow<'static, str>>) -> Refusal {
        let why = why.into();
        Refusal { status, why }
    }

    /// Returns a refusal with the status 400.
    pub(super) fn bad(why: &'static str) -> Refusal {
        Refusal::new(400, why)
    }

    /// Returns the refusal of a part of a request that is longer than `max_bytes`.
    pub(super) fn too_large(status: u16, part: &str, max_bytes: usize) -> Refusal {
        Refusal::new(
            status,
            format!("{part} too large: use at most {max_bytes} bytes"),
        )
    }
}
