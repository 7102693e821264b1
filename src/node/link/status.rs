//! Questions about the state of the link.

use super::super::event::LinkState;
use super::DistributorLink;
use super::phase::{Drain, Phase};

impl DistributorLink {
    /// Returns whether the node is registered or was, and does not leave.
    pub(in crate::node) fn is_ready(&self) -> bool {
        let is_listed = self.was_registered || self.config.distributor.is_none();
        is_listed && !self.is_leaving()
    }

    pub(in crate::node) fn state(&self) -> LinkState {
        self.phase.state(self.was_registered)
    }

    pub(in crate::node) fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    pub(in crate::node) fn is_connected(&self) -> bool {
        self.phase.conn().is_some()
    }

    /// Returns whether the Distributor has no sessions.
    pub(in crate::node) fn is_plain(&self) -> bool {
        matches!(self.phase, Phase::Plain { .. })
    }

    /// Returns whether a drain has ended, or can have no effect: no Distributor can be notified.
    pub(in crate::node) fn is_drained(&self) -> bool {
        match self.drain {
            Drain::Over => true,
            Drain::Unproven => !self.is_parting,
            Drain::None | Drain::Pending { .. } => false,
        }
    }

    pub(in crate::node) fn is_leaving(&self) -> bool {
        self.is_stopped || !matches!(self.drain, Drain::None)
    }
}
