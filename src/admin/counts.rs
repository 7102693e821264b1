//! What the admin API counts.

/// Totals since the start.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) requests: u64,
    pub(super) not_admitted: u64,
    pub(super) refused: u64,
    pub(super) streams_opened: u64,
    pub(super) streams_closed: u64,
    pub(super) streams_refused: u64,
    pub(super) events_sent: u64,
}
