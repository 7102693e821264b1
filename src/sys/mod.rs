//! The one seam to the outside: sockets, clock, randomness, and the disk.
//!
//! Everything above it is the same code whether a kernel or a test stands below.

mod disk;
mod os;

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use crate::time::Time;

pub use disk::{Disk, FileKind, OsDisk};
pub(crate) use os::OsSystem;

/// Names an open socket of a [`System`]. Not reused before [`System::close`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct SocketId(pub(crate) usize);

/// What the reactor needs from the outside.
///
/// Sockets never block, and readiness is edge-triggered: an event tells of a change and is not
/// repeated. An event may be spurious, late or for a socket that is gone; a missing one is a bug
/// of the implementation, except after accept failed for want of a resource: then there is no
/// other event for the connections that already wait.
pub(crate) trait System {
    /// Waits until there are events, a [`Waker`] rings or `timeout` is over, and appends the events.
    /// `true` if there may be more of them.
    fn poll(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<bool>;

    fn now(&mut self) -> Time;

    /// Time of day, as the time since 1970 in UTC.
    fn unix_time(&mut self) -> Duration;

    fn random(&mut self) -> u64;

    /// Returns whether 127.0.0.1 is an address of this machine.
    fn has_ipv4_loopback(&mut self) -> bool {
        true
    }

    /// Listens, reports events under `token`, and returns the address with the port in use.
    fn listen(
        &mut self,
        addr: SocketAddr,
        backlog: u32,
        tcp: &TcpOptions,
        token: u64,
    ) -> io::Result<(SocketId, SocketAddr)>;

    /// As [`System::listen`], on a socket that listens already and that other processes may hold as
    /// well. A system that is not the real one has no such sockets.
    fn listen_on(
        &mut self,
        _socket: OwnedFd,
        _tcp: &TcpOptions,
        _token: u64,
    ) -> io::Result<(SocketId, SocketAddr)> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Takes a connection from a listener. No event comes for it before [`System::watch`].
    fn accept(&mut self, listener: SocketId) -> io::Result<(SocketId, SocketAddr)>;

    /// Begins to report events of an accepted connection under `token`.
    fn watch(&mut self, socket: SocketId, token: u64) -> io::Result<()>;

    /// Begins to connect, from `source` if it is given, and to report events under `token`.
    fn connect(
        &mut self,
        addr: SocketAddr,
        source: Option<IpAddr>,
        tcp: &TcpOptions,
        token: u64,
    ) -> io::Result<SocketId>;

    /// Whether a connect came to its end: the peer's address, `None` if it goes on, or its error.
    fn connected(&mut self, socket: SocketId) -> io::Result<Option<SocketAddr>>;

    fn read(&mut self, socket: SocketId, into: &mut [u8]) -> io::Result<usize>;

    fn write(&mut self, socket: SocketId, from: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Tells the peer that nothing more will be written.
    fn shutdown_write(&mut self, socket: SocketId) -> io::Result<()>;

    fn close(&mut self, socket: SocketId);

    /// Gives up one fd that is held in reserve, so that one accept can work where none are left.
    fn release_reserve(&mut self);

    /// Takes an fd into reserve, if it isn't there and one is to be had.
    fn keep_reserve(&mut self);

    fn waker(&self) -> Waker;

    /// Readable when [`System::poll`] would find something.
    fn poll_fd(&self) -> BorrowedFd<'_>;
}

/// A change in what a socket can do. All of it are hints: reading and writing decide.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    Socket {
        token: u64,
        readable: bool,
        writable: bool,
        /// The peer closed its side, or the connection failed.
        closed: bool,
    },
    /// A [`Waker`] rang.
    Wake,
}

/// Ends the wait of a reactor from another thread.
///
/// The reactor then calls `Handler::on_wake`; many rings before that may be told as one.
#[derive(Clone)]
pub struct Waker(Arc<dyn Fn() -> io::Result<()> + Send + Sync>);

impl Waker {
    pub(crate) fn new(ring: impl Fn() -> io::Result<()> + Send + Sync + 'static) -> Waker {
        Waker(Arc::new(ring))
    }

    /// Rings. Errors are the system's, and mean that the reactor may not have been woken.
    pub fn wake(&self) -> io::Result<()> {
        (self.0)()
    }
}

impl std::fmt::Debug for Waker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Waker")
    }
}

/// Options of every TCP connection. `TCP_NODELAY` is always on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TcpOptions {
    /// Quiet time before the first keepalive probe.
    pub keepalive_idle: Duration,
    /// Time between two probes.
    pub keepalive_interval: Duration,
    /// Unanswered probes before the connection is dead.
    pub keepalive_probes: u32,
    /// How long written bytes may stay unacknowledged (Linux only). Without it a host that goes
    /// away right after a push is retried for a quarter of an hour.
    pub user_timeout: Duration,
    /// What the kernel may hold for one connection that does not read. More than the longest list
    /// that existing peers can take; by itself it would grow to megabytes, full of old lists.
    pub send_buffer_bytes: u32,
}

impl Default for TcpOptions {
    fn default() -> TcpOptions {
        TcpOptions {
            keepalive_idle: Duration::from_secs(4),
            keepalive_interval: Duration::from_secs(2),
            keepalive_probes: 3,
            user_timeout: Duration::from_secs(10),
            send_buffer_bytes: 128 << 10,
        }
    }
}
