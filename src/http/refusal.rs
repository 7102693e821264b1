//! The refusal of bytes that are not a request.

/// The status and the reason with which a request is refused.
///
/// Its connection is closed as well: where the next request begins is then unknown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) why: &'static str,
}

impl Refusal {
    pub(super) const fn new(status: u16, why: &'static str) -> Refusal {
        Refusal { status, why }
    }

    /// Returns a refusal with the status 400.
    pub(super) const fn bad(why: &'static str) -> Refusal {
        Refusal::new(400, why)
    }
}
