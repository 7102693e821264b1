//! A scripted system: the test sets each result. Time passes only while the reactor waits, or when
//! the test sets it.

use std::cell::{RefCell, RefMut};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use slab::Slab;

use crate::host_port::HostPort;
use crate::sys::{Event, Found, Lookup, SocketId, System, TcpOptions, Waker};
use crate::time::Time;

/// Result of a read.
#[derive(Clone, Debug)]
pub(crate) enum Read {
    /// These bytes, as many as fit into the buffer; the next read returns the others.
    Bytes(Vec<u8>),
    End,
    Fails(ErrorKind),
}

/// Result of a write. Without a script, all bytes are written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Write {
    Takes(usize),
    Fails(ErrorKind),
}

#[derive(Debug, Default)]
pub(crate) struct Socket {
    pub(crate) token: Option<u64>,
    pub(crate) reads: VecDeque<Read>,
    pub(crate) read_calls: usize,
    pub(crate) writes: VecDeque<Write>,
    pub(crate) written: Vec<u8>,
    /// Number of bytes of `written` that the test has taken.
    pub(crate) taken: usize,
    pub(crate) write_calls: usize,
    pub(crate) shut_down: bool,
    /// The address to connect to.
    pub(crate) peer: Option<SocketAddr>,
    /// The address to connect from.
    pub(crate) source: Option<IpAddr>,
    /// The result of connecting, or `None` while it is in progress.
    pub(crate) connected: Option<Result<(), ErrorKind>>,
}

/// Result of an accept. Without a script, no connection waits.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Accept {
    /// A connection; its socket is the next of `accepted`.
    Connection,
    Fails(ErrorKind),
    /// A connection for which only the reserve fd is left.
    NoFd,
    /// As `NoFd`, but another process takes the reserve.
    NoFdAtAll,
}

const EMFILE: i32 = 24;

#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) events: Vec<Event>,
    pub(crate) sockets: Slab<Socket>,
    pub(crate) accepts: VecDeque<Accept>,
    /// The sockets of accepted connections, in their order.
    pub(crate) accepted: Vec<SocketId>,
    /// Connecting fails at once.
    pub(crate) connect_fails: Option<ErrorKind>,
    /// Polls that a signal interrupts after this long.
    pub(crate) interruptions: VecDeque<Duration>,
    /// The timeouts that the reactor polled with.
    pub(crate) timeouts: Vec<Option<Duration>>,
    pub(crate) write_takes: Duration,
    pub(crate) reserve: bool,
    pub(crate) random: u64,
    /// Lookups without a result, in the order of their start.
    pub(crate) lookups: VecDeque<(HostPort, Sender<Found>)>,
    pub(crate) lookups_started: usize,
}

impl World {
    pub(crate) fn socket(&mut self, id: SocketId) -> &mut Socket {
        &mut self.sockets[id.0]
    }

    pub(crate) fn is_open(&self, id: SocketId) -> bool {
        self.sockets.contains(id.0)
    }

    pub(crate) fn event(&mut self, id: SocketId, readable: bool, writable: bool, closed: bool) {
        let token = self.sockets[id.0].token.expect("the socket is watched");
        self.events.push(Event::Socket {
            token,
            readable,
            writable,
            closed,
        });
    }

    /// Adds bytes that the peer sends.
    pub(crate) fn arrive(&mut self, id: SocketId, bytes: &[u8]) {
        self.socket(id).reads.push_back(Read::Bytes(bytes.to_vec()));
        self.event(id, true, false, false);
    }

    /// Ends the first lookup.
    pub(crate) fn found(&mut self, result: Found) {
        let (_, found) = self.lookups.pop_front().expect("a lookup is in progress");
        // The receiver may have been dropped.
        let _ = found.send(result);
        self.events.push(Event::Wake);
    }

    /// Closes the peer's side.
    pub(crate) fn end(&mut self, id: SocketId) {
        self.socket(id).reads.push_back(Read::End);
        self.event(id, true, false, true);
    }
}

#[derive(Clone)]
pub(crate) struct Scripted {
    world: Rc<RefCell<World>>,
    fd: Rc<File>,
}

impl Scripted {
    pub(crate) fn new() -> Scripted {
        Scripted {
            world: Rc::new(RefCell::new(World {
                reserve: true,
                ..World::default()
            })),
            fd: Rc::new(File::open("/dev/null").unwrap()),
        }
    }

    pub(crate) fn world(&self) -> RefMut<'_, World> {
        self.world.borrow_mut()
    }
}

fn peer() -> SocketAddr {
    "10.0.0.9:4711".parse().unwrap()
}

impl System for Scripted {
    fn poll(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<bool> {
        let mut world = self.world();
        world.timeouts.push(timeout);
        if let Some(after) = world.interruptions.pop_front() {
            world.now = world.now + after;
            return Err(ErrorKind::Interrupted.into());
        }
        if world.events.is_empty() {
            let wait = timeout.expect("a test never waits without a limit");
            world.now = world.now + wait;
        }
        events.append(&mut world.events);
        Ok(false)
    }

    fn now(&mut self) -> Time {
        self.world().now
    }

    fn unix_time(&mut self) -> Duration {
        Duration::from_secs(1_000_000_000)
    }

    fn random(&mut self) -> u64 {
        let mut world = self.world();
        world.random += 1;
        world.random
    }

    fn look_up(&mut self, host_port: &HostPort) -> Lookup {
        let (found, lookup) = Lookup::begin();
        let mut world = self.world();
        world.lookups.push_back((host_port.clone(), found));
        world.lookups_started += 1;
        lookup
    }

    fn listen(
        &mut self,
        addr: SocketAddr,
        _backlog: u32,
        _tcp: &TcpOptions,
        token: u64,
    ) -> io::Result<(SocketId, SocketAddr)> {
        let id = self.world().sockets.insert(Socket {
            token: Some(token),
            ..Socket::default()
        });
        Ok((SocketId(id), addr))
    }

    fn accept(&mut self, _listener: SocketId) -> io::Result<(SocketId, SocketAddr)> {
        let mut world = self.world();
        match world.accepts.pop_front() {
            None => Err(ErrorKind::WouldBlock.into()),
            Some(Accept::Fails(kind)) => Err(kind.into()),
            Some(Accept::NoFdAtAll) => Err(io::Error::from_raw_os_error(EMFILE)),
            Some(Accept::NoFd) if world.reserve => {
                world.accepts.push_front(Accept::NoFd);
                Err(io::Error::from_raw_os_error(EMFILE))
            }
            Some(Accept::NoFd | Accept::Connection) => {
                let id = SocketId(world.sockets.insert(Socket::default()));
                world.accepted.push(id);
                Ok((id, peer()))
            }
        }
    }

    fn watch(&mut self, socket: SocketId, token: u64) -> io::Result<()> {
        self.world().socket(socket).token = Some(token);
        Ok(())
    }

    fn connect(
        &mut self,
        peer: SocketAddr,
        source: Option<IpAddr>,
        _: &TcpOptions,
        token: u64,
    ) -> io::Result<SocketId> {
        let mut world = self.world();
        if let Some(kind) = world.connect_fails {
            return Err(kind.into());
        }
        let id = world.sockets.insert(Socket {
            token: Some(token),
            peer: Some(peer),
            source,
            ..Socket::default()
        });
        Ok(SocketId(id))
    }

    fn is_connected(&mut self, socket: SocketId) -> io::Result<bool> {
        match self.world().socket(socket).connected {
            None => Ok(false),
            Some(Ok(())) => Ok(true),
            Some(Err(kind)) => Err(kind.into()),
        }
    }

    fn read(&mut self, socket: SocketId, into: &mut [u8]) -> io::Result<usize> {
        let mut world = self.world();
        let socket = world.socket(socket);
        socket.read_calls += 1;
        match socket.reads.pop_front() {
            None => Err(ErrorKind::WouldBlock.into()),
            Some(Read::End) => Ok(0),
            Some(Read::Fails(kind)) => Err(kind.into()),
            Some(Read::Bytes(mut bytes)) => {
                let count = bytes.len().min(into.len());
                into[..count].copy_from_slice(&bytes[..count]);
                if count < bytes.len() {
                    socket.reads.push_front(Read::Bytes(bytes.split_off(count)));
                }
                Ok(count)
            }
        }
    }

    fn write(&mut self, socket: SocketId, from: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut world = self.world();
        world.now = world.now + world.write_takes;
        let socket = world.socket(socket);
        socket.write_calls += 1;
        let at_most = match socket.writes.pop_front() {
            None => usize::MAX,
            Some(Write::Takes(count)) => count,
            Some(Write::Fails(kind)) => return Err(kind.into()),
        };
        let before = socket.written.len();
        let offered = from.iter().flat_map(|slice| slice.iter().copied());
        socket.written.extend(offered.take(at_most));
        Ok(socket.written.len() - before)
    }

    fn shutdown_write(&mut self, socket: SocketId) -> io::Result<()> {
        self.world().socket(socket).shut_down = true;
        Ok(())
    }

    fn close(&mut self, socket: SocketId) {
        self.world().sockets.remove(socket.0);
    }

    fn release_reserve(&mut self) {
        self.world().reserve = false;
    }

    fn keep_reserve(&mut self) {
        self.world().reserve = true;
    }

    fn waker(&self) -> Waker {
        Waker::new(|| Ok(()))
    }

    fn poll_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
