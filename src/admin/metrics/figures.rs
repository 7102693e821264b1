//! The sources of all metrics.

use crate::distributor::{Distributor, Stats};
use crate::http::Server;
use crate::reactor::{Counters, Net};
use crate::registry::Registry;

/// Where metrics are read from.
pub(crate) struct Figures<'a> {
    pub(crate) net: &'a Net,
    pub(crate) server: &'a Server,
    pub(crate) distributor: &'a Distributor,
    pub(crate) registry: &'a Registry,
    pub(crate) stats: &'a Stats,
    pub(crate) counters: &'a Counters,
    pub(crate) counts: Counts,
    /// Open event streams.
    pub(crate) streams: usize,
    /// Requests without a response.
    pub(crate) waiting: usize,
    /// Nodes whose registration is kept parsed.
    pub(crate) node_texts: usize,
}

/// Totals of the admin API since the start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) requests: u64,
    pub(crate) not_admitted: u64,
    pub(crate) refused: u64,
    pub(crate) streams_opened: u64,
    pub(crate) streams_closed: u64,
    pub(crate) streams_refused: u64,
    pub(crate) events_sent: u64,
}
