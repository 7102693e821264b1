//! Ids of hosts, processes and sockets of a world.

/// Identifies a host of a [`World`](super::World).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HostId(pub(super) usize);

/// Identifies a process of a [`World`](super::World), ended ones included.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ProcessId(pub(super) usize);

/// Identifies a socket while it exists. Its key is reused, as fds are; the serial never is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct SocketRef {
    pub(super) key: usize,
    pub(super) serial: u64,
}
