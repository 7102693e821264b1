//! The interface to the operating system: sockets, clock, randomness and the disk.
//!
//! All code above it is the same on a kernel and in tests.

#[cfg(any(test, feature = "cli", feature = "testing"))]
#[cfg_attr(not(feature = "cli"), allow(dead_code, reason = "for the state file"))]
mod disk;
mod lookup;
mod os;
#[cfg(any(test, feature = "cli"))]
mod os_disk;
mod signals;

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use crate::host_port::HostPort;
use crate::time::Time;

#[cfg(any(test, feature = "cli", feature = "testing"))]
pub use disk::{Disk, FileKind};
#[cfg(any(test, feature = "testing"))]
pub(crate) use lookup::Found;
pub(crate) use lookup::Lookup;
#[cfg(feature = "cli")]
pub(crate) use lookup::resolve;
pub(crate) use os::OsSystem;
#[cfg(any(test, feature = "cli"))]
pub(crate) use os_disk::OsDisk;
pub(crate) use signals::StopSignals;

/// Identifies an open socket of a [`System`]. Not reused before [`System::close`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct SocketId(pub(crate) usize);

/// The operating system, as used by the reactor.
///
/// Sockets never block, and readiness is edge-triggered: an event reports a change once. Events may
/// be spurious, late or for a closed socket, but are never missing, except after accept failed for
/// lack of a resource: no event is reported for connections that already wait.
pub(crate) trait System {
    /// Waits for events, a [`Waker`] or the timeout, and appends the events. Returns whether there
    /// may be more.
    fn poll(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<bool>;

    fn now(&mut self) -> Time;

    /// Returns the time of day, as the time since 1970 in UTC.
    fn unix_time(&mut self) -> Duration;

    fn random(&mut self) -> u64;

    /// Starts to look up the addresses of a host, without blocking. [`Event::Wake`] follows when
    /// the lookup ends, unless it has ended when this returns.
    fn look_up(&mut self, host_port: &HostPort) -> Lookup;

    /// Returns whether 127.0.0.1 is an address of this machine.
    fn has_ipv4_loopback(&mut self) -> bool {
        true
    }

    /// Listens and reports events under `token`. Returns the address with the port in use.
    fn listen(
        &mut self,
        addr: SocketAddr,
        backlog: u32,
        tcp: &TcpOptions,
        token: u64,
    ) -> io::Result<(SocketId, SocketAddr)>;

    /// Serves a listening socket that other processes may hold too, as [`System::listen`]. Only the
    /// real system has such sockets.
    fn listen_on(
        &mut self,
        _socket: OwnedFd,
        _tcp: &TcpOptions,
        _token: u64,
    ) -> io::Result<(SocketId, SocketAddr)> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Accepts a connection. Its events are reported from [`System::watch`] on.
    fn accept(&mut self, listener: SocketId) -> io::Result<(SocketId, SocketAddr)>;

    /// Reports events of an accepted connection under `token` from now on.
    fn watch(&mut self, socket: SocketId, token: u64) -> io::Result<()>;

    /// Begins to connect, from `source` if given, and reports events under `token`.
    fn connect(
        &mut self,
        addr: SocketAddr,
        source: Option<IpAddr>,
        tcp: &TcpOptions,
        token: u64,
    ) -> io::Result<SocketId>;

    /// Returns whether a socket is connected, or the error of [`System::connect`].
    fn is_connected(&mut self, socket: SocketId) -> io::Result<bool>;

    fn read(&mut self, socket: SocketId, into: &mut [u8]) -> io::Result<usize>;

    fn write(&mut self, socket: SocketId, from: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Closes the write side.
    fn shutdown_write(&mut self, socket: SocketId) -> io::Result<()>;

    fn close(&mut self, socket: SocketId);

    /// Closes an fd that is held in reserve, so that one accept can succeed if no other fd is free.
    fn release_reserve(&mut self);

    /// Opens the reserve fd if it is closed and an fd is available.
    fn keep_reserve(&mut self);

    fn waker(&self) -> Waker;

    /// Returns an fd that is readable while [`System::poll`] would find events.
    fn poll_fd(&self) -> BorrowedFd<'_>;
}

/// A change of readiness. The flags are hints: only reads and writes are certain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    Socket {
        token: u64,
        readable: bool,
        writable: bool,
        /// The peer closed its side, or the connection failed.
        closed: bool,
    },
    /// A [`Waker`] was used, or a lookup has ended.
    Wake,
}

/// Ends the wait of a reactor from another thread.
///
/// The reactor then calls `Handler::on_wake`, once for several wakes in a row.
#[derive(Clone)]
pub struct Waker(Arc<dyn Fn() -> io::Result<()> + Send + Sync>);

impl Waker {
    pub(crate) fn new(ring: impl Fn() -> io::Result<()> + Send + Sync + 'static) -> Waker {
        Waker(Arc::new(ring))
    }

    /// Wakes the reactor.
    ///
    /// # Errors
    ///
    /// Returns an error of the system. The reactor may not have been woken.
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
    /// Idle time before the first keepalive probe.
    pub keepalive_idle: Duration,
    /// Time between two keepalive probes.
    pub keepalive_interval: Duration,
    /// Number of unanswered probes after which the connection is closed.
    pub keepalive_probes: u32,
    /// Maximum time that written bytes stay unacknowledged (Linux only). Otherwise the kernel
    /// retries for a quarter of an hour when a host vanishes right after a push.
    pub user_timeout: Duration,
    /// Send buffer of a connection in the kernel, in bytes. The default holds the longest list that
    /// existing peers accept. Without a limit, it grows to megabytes of outdated lists for a peer
    /// that does not read.
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
