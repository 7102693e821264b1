//! The sources of all metrics.

use crate::admin::counts::Counts;
use crate::distributor::{Distributor, Stats};
use crate::http::Server;
use crate::reactor::{Counters, Net};
use crate::registry::Registry;

/// Where metrics are read from.
pub(crate) struct Figures<'a> {
    pub(crate) net: &'a Net,
    pub(crate) server: &'a Server,
    pub(crate) distributor: &'a Distributor,
    pub(crate) counts: Counts,
    /// Open event streams.
    pub(crate) streams: usize,
    /// Requests without a response.
    pub(crate) waiting: usize,
    /// Nodes whose registration is kept parsed.
    pub(crate) node_texts: usize,
}

impl Figures<'_> {
    pub(super) fn registry(&self) -> &Registry {
        self.distributor.registry()
    }

    pub(super) fn stats(&self) -> &Stats {
        self.distributor.stats()
    }

    pub(super) fn counters(&self) -> &Counters {
        self.net.counters()
    }

    /// Returns whether the list is complete.
    pub(super) fn is_ready(&self) -> bool {
        self.distributor.warms_up_for(self.net.now()).is_zero()
    }
}
