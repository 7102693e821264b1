//! The number of connections that the limit of open files allows.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// Returns `wanted`, or the number of connections that leaves `reserved` fds free, if that is
/// smaller. Raises the soft limit to the hard one first. Warns of fewer connections if the number
/// `is_explicit`.
pub(crate) fn connections(wanted: u64, is_explicit: bool, reserved: u64) -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit = raised,
        Err(error) => warn!(%error, "failed to raise the soft fd limit to the hard limit"),
    }
    let fds = limit.current.unwrap_or(u64::MAX);
    let possible = fds - reserved.min(fds / 2);
    if is_explicit && wanted > possible {
        warn!(
            wanted,
            possible, fds, "fd limit (ulimit -n) too low for the wanted number of connections"
        );
    }
    usize::try_from(wanted.min(possible)).unwrap_or(usize::MAX)
}
