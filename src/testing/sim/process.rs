//! A process, as a test controls it.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use super::ids::{HostId, ProcessId};
use super::inner::Shared;
use super::process_state::ProcessState;
use super::socket::Edges;
use crate::sys::SocketId;

/// A socket of a [`Process`] that a test operates itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Socket(pub(super) SocketId);

/// A process of a [`World`](super::World). Dropping it ends the process.
///
/// [`Reactor::simulated`](crate::reactor::Reactor::simulated) runs on a process. A test that is a
/// peer itself operates the sockets, with the same calls, which never block.
pub struct Process {
    pub(super) world: Shared,
    pub(super) id: ProcessId,
    pub(super) poll_fd: Rc<File>,
}

impl Process {
    pub(super) fn start(world: Shared, host: HostId) -> Process {
        let mut inner = world.borrow_mut();
        let id = ProcessId(inner.processes.len());
        inner.trace_note("start", [id.0 as u64, host.0 as u64, 0]);
        inner.processes.push(ProcessState::new(host));
        let poll_fd = Rc::clone(&inner.poll_fd);
        drop(inner);
        Process { world, id, poll_fd }
    }

    /// Returns its id.
    pub fn id(&self) -> ProcessId {
        self.id
    }

    /// Connects, without keepalive, as most programs do.
    ///
    /// Returns the errors that are known at once.
    pub fn connect(&mut self, addr: SocketAddr) -> io::Result<Socket> {
        let mut inner = self.world.borrow_mut();
        inner.connect(self.id, addr, None, 0).map(Socket)
    }

    /// Listens. Fails if the address is in use.
    pub fn listen(&mut self, addr: SocketAddr) -> io::Result<Socket> {
        let mut inner = self.world.borrow_mut();
        let (id, _) = inner.listen(self.id, addr, 128, None, 0)?;
        Ok(Socket(id))
    }

    /// Accepts a connection. Returns the errors of the system.
    pub fn accept(&mut self, listener: Socket) -> io::Result<(Socket, SocketAddr)> {
        let mut inner = self.world.borrow_mut();
        let (id, peer) = inner.accept(self.id, listener.0)?;
        inner.watch(self.id, id, 0)?;
        Ok((Socket(id), peer))
    }

    /// Returns the local address once connected, `None` until then, or the error of the connect.
    pub fn connected(&mut self, socket: Socket) -> io::Result<Option<SocketAddr>> {
        let mut inner = self.world.borrow_mut();
        match inner.connected(self.id, socket.0)? {
            Some(_) => Ok(inner.local_addr(self.id, socket.0)),
            None => Ok(None),
        }
    }

    /// Reads. Returns the errors of the system.
    pub fn read(&mut self, socket: Socket, into: &mut [u8]) -> io::Result<usize> {
        self.world.borrow_mut().read(self.id, socket.0, into)
    }

    /// Writes. Returns the errors of the system.
    pub fn write(&mut self, socket: Socket, from: &[u8]) -> io::Result<usize> {
        let slices = [io::IoSlice::new(from)];
        self.world.borrow_mut().write(self.id, socket.0, &slices)
    }

    /// Closes the write side. Returns the errors of the system.
    pub fn shutdown_write(&mut self, socket: Socket) -> io::Result<()> {
        self.world.borrow_mut().shutdown_write(self.id, socket.0)
    }

    /// Closes a socket.
    pub fn close(&mut self, socket: Socket) {
        self.world.borrow_mut().close_of(self.id, socket.0);
    }

    /// Returns the sockets with an event since the last call.
    pub fn take_ready(&mut self) -> Vec<Socket> {
        let mut inner = self.world.borrow_mut();
        let now = inner.now;
        inner.process_mut(self.id).polled_at = now;
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
        let mut inner = self.world.borrow_mut();
        inner.trace_note("end", [self.id.0 as u64, 0, 0]);
        let links = std::mem::take(&mut inner.process_mut(self.id).links);
        for (_, id) in links {
            inner.close(id);
        }
    }
}

impl std::fmt::Debug for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Process").field(&self.id.0).finish()
    }
}
