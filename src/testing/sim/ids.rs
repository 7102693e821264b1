//! Names of what there is in a world.

/// Names a host of a [`World`](super::World).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HostId(pub(super) usize);

/// Names a process of a [`World`](super::World), the ended ones included.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ProcessId(pub(super) usize);

/// Names a socket for as long as it lives. Its key is used again, as fds are; the serial never is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct SocketRef {
    pub(super) key: usize,
    pub(super) serial: u64,
}
