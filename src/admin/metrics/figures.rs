//! The sources of all metrics.

use crate::admin::counts::Counts;
use crate::distributor::{Distributor, Stats};
use crate::http::Server;
use crate::reactor::{Counters, Net};
use crate::registry::Registry;

/// Where metrics are read from.
pub(in crate::admin) struct Figures<'a> {
    pub(in crate::admin) net: &'a Net,
    pub(in crate::admin) server: &'a Server,
    pub(in crate::admin) distributor: &'a Distributor,
    pub(in crate::admin) counts: Counts,
    /// Open event streams.
    pub(in crate::admin) streams: usize,
    /// Requests without a response.
    pub(in crate::admin) waiting: usize,
    /// Nodes whose registration is kept parsed.
    pub(in crate::admin) node_texts: usize,
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
