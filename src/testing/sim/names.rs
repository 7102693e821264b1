//! Lookups of names of hosts, which take their time and fail.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::faults::Fault;
use super::ids::ProcessId;
use super::inner::{Inner, Step};
use super::pending_lookup::PendingLookup;
use crate::host_port::HostPort;
use crate::sys::Lookup;

impl Inner {
    pub(super) fn look_up(&mut self, process: ProcessId, host_port: &HostPort) -> Lookup {
        let (found, lookup) = Lookup::begin();
        let name = host_port.to_string();
        let mut addrs = self.names.get(&name).cloned().unwrap_or_default();
        if self.strikes(Fault::LookupFails) {
            addrs.clear();
        }
        let longest = if self.strikes(Fault::LookupSlow) {
            // Longer than a node waits.
            Duration::from_secs(8)
        } else {
            Duration::from_millis(20)
        };
        let wait = self.random.duration(Duration::ZERO, longest);
        let pending = PendingLookup {
            process,
            found,
            addrs,
        };
        let id = self.lookups.insert(pending);
        self.after(wait, Step::LookedUp { id });
        lookup
    }

    pub(super) fn looked_up(&mut self, id: usize) {
        let Some(lookup) = self.lookups.try_remove(id) else {
            return;
        };
        let result = if lookup.addrs.is_empty() {
            Err(io::ErrorKind::NotFound.into())
        } else {
            Ok(lookup.addrs)
        };
        // The process may have ended.
        let _ = lookup.found.send(result);
        let woken = &self.process(lookup.process).woken;
        woken.store(true, Ordering::Relaxed);
    }
}
