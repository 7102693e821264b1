//! How many connections the limit of open files allows.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// So many connections as `wanted`, or as there can be when so many fds are kept free; of that it
/// warns if somebody asked for them. Raises the soft limit to the hard one first.
pub(crate) fn connections(wanted: u64, was_asked_for: bool, kept_free: u64) -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit = raised,
        Err(error) => warn!(%error, "could not raise the limit of open files to the hard one"),
    }
    let fds = limit.current.unwrap_or(u64::MAX);
    let possible = fds - kept_free.min(fds / 2);
    if was_asked_for && wanted > possible {
        warn!(
            wanted,
            possible, fds, "fewer connections than wanted: the fd limit (ulimit -n) is too low"
        );
    }
    usize::try_from(wanted.min(possible)).unwrap_or(usize::MAX)
}
