//! One process: its fds, its clocks, and the events that wait for it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::host::HostId;
use super::socket::{Edges, SocketRef};
use super::world::World;
use crate::sys::SocketId;

/// Names a process of a [`World`], the ended ones included.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ProcessId(pub(super) usize);

/// A socket of a [`Process`] that is moved by hand.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Socket(pub(super) SocketId);

#[derive(Debug)]
pub(super) struct ProcessState {
    pub(super) host: HostId,
    /// All its sockets, by their serials.
    pub(super) links: BTreeMap<u64, SocketRef>,
    /// Those that it accepted, by the other end's address.
    pub(super) accepted: BTreeMap<SocketAddr, SocketRef>,
    /// Sockets with something to be told.
    pub(super) ready: Vec<SocketRef>,
    /// Tokens of closed sockets that an event may still be told of.
    pub(super) stale: Vec<u64>,
    pub(super) woken: Arc<AtomicBool>,
    pub(super) ahead: Duration,
    pub(super) time_of_day: Duration,
    pub(super) fds: usize,
    pub(super) fd_limit: usize,
    pub(super) has_reserve: bool,
    pub(super) ends_seen: Vec<SocketAddr>,
}

impl ProcessState {
    pub(super) fn is_woken(&self) -> bool {
        self.woken.load(Ordering::Relaxed)
    }
}

/// A process of a [`World`], ended by dropping it.
///
/// It is what [`Reactor::simulated`](crate::reactor::Reactor::simulated) runs on. A test that is a
/// peer itself moves its sockets by hand, by the same calls that never block.
#[derive(Debug)]
pub struct Process {
    pub(super) world: World,
    pub(super) id: ProcessId,
    pub(super) poll_fd: Rc<File>,
}

impl Process {
    pub(super) fn start(world: World, host: HostId) -> Process {
        let mut inner = world.0.borrow_mut();
        let id = ProcessId(inner.processes.len());
        inner.trace_note("start", [id.0 as u64, host.0 as u64, 0]);
        inner.processes.push(ProcessState {
            host,
            links: BTreeMap::new(),
            accepted: BTreeMap::new(),
            ready: Vec::new(),
            stale: Vec::new(),
            woken: Arc::new(AtomicBool::new(false)),
            ahead: Duration::ZERO,
            time_of_day: Duration::from_secs(1_700_000_000),
            fds: 1,
            fd_limit: usize::MAX,
            has_reserve: true,
            ends_seen: Vec::new(),
        });
        let poll_fd = Rc::clone(&inner.poll_fd);
        drop(inner);
        Process { world, id, poll_fd }
    }

    /// Its name.
    pub fn id(&self) -> ProcessId {
        self.id
    }

    /// Connects, with nothing that notices a host that is gone: as most programs do.
    ///
    /// Errors are those of connecting that are known at once.
    pub fn connect(&mut self, addr: SocketAddr) -> io::Result<Socket> {
        let mut inner = self.world.0.borrow_mut();
        inner.connect(self.id, addr, None, 0).map(Socket)
    }

    /// Listens. Errors: the address is in use.
    pub fn listen(&mut self, addr: SocketAddr) -> io::Result<Socket> {
        let mut inner = self.world.0.borrow_mut();
        let (id, _) = inner.listen(self.id, addr, 128, None, 0)?;
        Ok(Socket(id))
    }

    /// Takes a connection. Errors are those of the system.
    pub fn accept(&mut self, listener: Socket) -> io::Result<(Socket, SocketAddr)> {
        let mut inner = self.world.0.borrow_mut();
        let (id, peer) = inner.accept(self.id, listener.0)?;
        inner.watch(self.id, id, 0)?;
        Ok((Socket(id), peer))
    }

    /// Whether a connect came to its end: its own address, `None` while it goes on, or its error.
    pub fn connected(&mut self, socket: Socket) -> io::Result<Option<SocketAddr>> {
        let mut inner = self.world.0.borrow_mut();
        match inner.connected(self.id, socket.0)? {
            Some(_) => Ok(inner.local_addr(self.id, socket.0)),
            None => Ok(None),
        }
    }

    /// Reads. Errors are those of the system.
    pub fn read(&mut self, socket: Socket, into: &mut [u8]) -> io::Result<usize> {
        self.world.0.borrow_mut().read(self.id, socket.0, into)
    }

    /// Writes. Errors are those of the system.
    pub fn write(&mut self, socket: Socket, from: &[u8]) -> io::Result<usize> {
        let slices = [io::IoSlice::new(from)];
        self.world.0.borrow_mut().write(self.id, socket.0, &slices)
    }

    /// Says that nothing more will be written. Errors are those of the system.
    pub fn shutdown_write(&mut self, socket: Socket) -> io::Result<()> {
        self.world.0.borrow_mut().shutdown_write(self.id, socket.0)
    }

    /// Closes.
    pub fn close(&mut self, socket: Socket) {
        self.world.0.borrow_mut().close_of(self.id, socket.0);
    }

    /// The sockets that something happened to since this was asked last.
    pub fn take_ready(&mut self) -> Vec<Socket> {
        let mut inner = self.world.0.borrow_mut();
        let mut ready = std::mem::take(&mut inner.process_mut(self.id).ready);
        ready.retain(|id| match inner.socket_mut(*id) {
            Some(socket) => {
                socket.edges = Edges::default();
                true
            }
            None => false,
        });
        ready.iter().map(|id| Socket(SocketId(id.key))).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let mut inner = self.world.0.borrow_mut();
        inner.trace_note("end", [self.id.0 as u64, 0, 0]);
        let links = std::mem::take(&mut inner.process_mut(self.id).links);
        for (_, id) in links {
            inner.close(id);
        }
    }
}
