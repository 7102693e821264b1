//! The world as a test holds it: what it lets happen, and what it asks.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use super::disk::HostDisk;
use super::faults::Faults;
use super::files::Files;
use super::host::Host;
use super::ids::{HostId, ProcessId, SocketRef};
use super::inner::{Inner, Shared};
use super::process::Process;
use super::random::Random;
use super::socket::{Facts, Kind, Link, Phase};
use crate::time::Time;

/// A network with hosts and processes, for whoever drives it. Clones are the same world.
#[derive(Clone)]
pub struct World(pub(super) Shared);

impl World {
    /// A world without hosts. All that is random in it follows from `random`.
    ///
    /// Errors are those of opening `/dev/null`, which stands for the fd of every poll.
    pub fn new(random: Random, faults: Faults) -> io::Result<World> {
        let inner = Inner::new(random, faults)?;
        Ok(World(Rc::new(RefCell::new(inner))))
    }

    /// A host with this address.
    pub fn add_host(&self, addr: IpAddr) -> HostId {
        let mut inner = self.0.borrow_mut();
        let id = HostId(inner.hosts.len());
        inner.hosts.push(Host::new(addr));
        inner.host_of.insert(addr, id);
        id
    }

    /// A process on `host`, without sockets. Dropping it ends it, as a kill does: the kernel goes on
    /// with its connections.
    pub fn start(&self, host: HostId) -> Process {
        Process::start(Rc::clone(&self.0), host)
    }

    /// The time.
    pub fn now(&self) -> Time {
        self.0.borrow().now
    }

    /// When the network does something next; `None` if it never does.
    pub fn next_event(&self) -> Option<Time> {
        let inner = self.0.borrow();
        inner.agenda.peek().map(|Reverse(entry)| entry.at)
    }

    /// Lets time pass until `until`, and the network do all that is due by then.
    pub fn advance(&self, until: Time) {
        let mut inner = self.0.borrow_mut();
        while let Some(Reverse(next)) = inner.agenda.peek()
            && next.at <= until.max(inner.now)
        {
            let Some(Reverse(entry)) = inner.agenda.pop() else {
                break;
            };
            inner.now = inner.now.max(entry.at);
            inner.take_step(entry.step);
        }
        inner.now = inner.now.max(until);
    }

    /// Whether a poll of this process would find something.
    pub fn is_ready(&self, process: ProcessId) -> bool {
        let inner = self.0.borrow();
        let state = inner.process(process);
        state.is_woken() || !state.ready.is_empty()
    }

    /// What goes wrong from now on.
    pub fn change_faults<T>(&self, change: impl FnOnce(&mut Faults, &mut Random) -> T) -> T {
        let inner = &mut *self.0.borrow_mut();
        change(&mut inner.faults, &mut inner.random)
    }

    /// Loses all packets from one host to another.
    pub fn block(&self, from: HostId, to: HostId) {
        let mut inner = self.0.borrow_mut();
        inner.trace_note("block", [from.0 as u64, to.0 as u64, 0]);
        inner.paths.block(from, to);
    }

    /// Ends [`World::block`].
    pub fn unblock(&self, from: HostId, to: HostId) {
        let mut inner = self.0.borrow_mut();
        inner.trace_note("unblock", [from.0 as u64, to.0 as u64, 0]);
        inner.paths.open(from, to);
    }

    /// Whether packets get from one host to the other.
    pub fn is_open(&self, from: HostId, to: HostId) -> bool {
        self.0.borrow().can_reach(from, to)
    }

    /// Ends all blocks and clogs, and gives every socket its window and every disk its room again.
    pub fn heal(&self) {
        let mut inner = self.0.borrow_mut();
        inner.paths.open_all();
        for host in &mut inner.hosts {
            host.files.is_full = false;
        }
        let window = inner.faults.receive_buffer_bytes;
        let all: Vec<SocketRef> = inner.stream_refs();
        for end in all {
            if let Some(stream) = inner.stream_mut(end) {
                stream.is_clogged = false;
                stream.inbox_capacity = window;
            }
            inner.move_on(end);
            inner.move_on_peer_of(end);
        }
    }

    /// Cuts the power: all sockets of the host are gone, and nobody is told; its disk has what was
    /// synced. Its processes must be
    /// dropped by whoever holds them.
    pub fn crash(&self, host: HostId) {
        self.0.borrow_mut().crash(host);
    }

    /// Takes a host off, so that it neither sends nor receives, or puts it on again. A virtual
    /// machine that is paused is so.
    pub fn power(&self, host: HostId, is_up: bool) {
        let mut inner = self.0.borrow_mut();
        inner.trace_note("power", [host.0 as u64, u64::from(is_up), 0]);
        inner.hosts[host.0].is_up = is_up;
    }

    /// The disk of a host.
    pub fn disk(&self, host: HostId) -> HostDisk {
        HostDisk::new(Rc::clone(&self.0), host)
    }

    /// A step of a [`HostDisk`] is done.
    pub fn put_files(&self, host: HostId, files: Files) {
        let mut inner = self.0.borrow_mut();
        inner.trace_note("disk", [host.0 as u64, files.fingerprint(), 0]);
        let on_it = &mut inner.hosts[host.0].files;
        let is_full = on_it.is_full;
        *on_it = files;
        on_it.is_full = is_full;
    }

    /// Leaves no room on a disk, or gives it some again.
    pub fn fill_disk(&self, host: HostId, is_full: bool) {
        self.0.borrow_mut().hosts[host.0].files.is_full = is_full;
    }

    /// Puts something else in the place of a file's bytes. `false` if there is no such file.
    pub fn spoil(&self, host: HostId, path: &Path) -> bool {
        let inner = &mut *self.0.borrow_mut();
        inner.hosts[host.0].files.spoil(path, &mut inner.random)
    }

    /// Moves a process's clocks: the one that only rises forward, the time of day anywhere.
    pub fn jump(&self, process: ProcessId, ahead: Duration, time_of_day: Duration) {
        let mut inner = self.0.borrow_mut();
        let state = inner.process_mut(process);
        state.ahead += ahead;
        state.time_of_day = time_of_day;
    }

    /// How far a process's clock is ahead.
    pub fn ahead(&self, process: ProcessId) -> Duration {
        self.0.borrow().process(process).ahead
    }

    /// From now on the process gets no more fds than it has and so many.
    pub fn limit_fds(&self, process: ProcessId, more: usize) {
        let mut inner = self.0.borrow_mut();
        let state = inner.process_mut(process);
        state.fd_limit = state.fds.saturating_add(more);
    }

    /// Sockets of a process.
    pub fn sockets(&self, process: ProcessId) -> usize {
        self.0.borrow().process(process).links.len()
    }

    /// The open connections of a process, in a fixed order.
    pub fn links(&self, process: ProcessId) -> Vec<Link> {
        let inner = self.0.borrow();
        let links = inner.process(process).links.values();
        let links = links.filter_map(|end| {
            let socket = inner.socket(*end)?;
            let Kind::Stream(stream) = &socket.kind else {
                return None;
            };
            Some(Link {
                end: *end,
                local: socket.local,
                remote: stream.remote,
            })
        });
        links.collect()
    }

    /// The own address of the last connection that a process began to `remote`.
    pub fn local_addr(&self, process: ProcessId, remote: SocketAddr) -> Option<SocketAddr> {
        let links = self.links(process);
        let to_remote = links.iter().filter(|link| link.remote == remote);
        to_remote
            .max_by_key(|link| link.end.serial)
            .map(|link| link.local)
    }

    /// Returns whether an established connection leads from a process to `remote`. There can be two,
    /// where a node was registered anew.
    pub fn is_established(&self, process: ProcessId, remote: SocketAddr) -> bool {
        let links = self.links(process);
        let inner = self.0.borrow();
        let mut to_remote = links.iter().filter(|link| link.remote == remote);
        to_remote.any(|link| {
            let stream = inner.stream(link.end);
            stream.is_some_and(|stream| stream.phase != Phase::Connecting)
        })
    }

    /// Connections that wait for a process to accept them.
    pub fn waiting(&self, process: ProcessId) -> usize {
        let inner = self.0.borrow();
        let own = inner.process(process).links.values();
        let waiting = own.map(|id| match inner.socket(*id).map(|socket| &socket.kind) {
            Some(Kind::Listener { waiting, .. }) => waiting.len(),
            _ => 0,
        });
        waiting.sum()
    }

    /// What is true of the connection of `process` to `remote`; `None` if it has none.
    pub fn facts(&self, process: ProcessId, remote: SocketAddr) -> Option<Facts> {
        let inner = self.0.borrow();
        let end = *inner.process(process).accepted.get(&remote)?;
        inner.facts(end)
    }

    /// Holds back all that is sent on this end, or lets it go.
    pub fn clog(&self, link: &Link, is_clogged: bool) {
        let mut inner = self.0.borrow_mut();
        inner.trace_note("clog", [link.end.serial, u64::from(is_clogged), 0]);
        if let Some(stream) = inner.stream_mut(link.end) {
            stream.is_clogged = is_clogged;
        }
        inner.move_on(link.end);
    }

    /// Sets what the kernel holds for a process that does not read, zero included.
    pub fn set_window(&self, link: &Link, bytes: usize) {
        let mut inner = self.0.borrow_mut();
        inner.trace_note("window", [link.end.serial, bytes as u64, 0]);
        if let Some(stream) = inner.stream_mut(link.end) {
            stream.inbox_capacity = bytes;
        }
        inner.move_on_peer_of(link.end);
    }

    /// Something between the two ends resets a connection: both are told.
    pub fn reset(&self, link: &Link) {
        let mut inner = self.0.borrow_mut();
        let peer = inner.stream_mut(link.end).and_then(|stream| stream.peer);
        inner.fail(link.end, ErrorKind::ConnectionReset);
        if let Some(peer) = peer {
            inner.fail(peer, ErrorKind::ConnectionReset);
        }
    }

    /// Connections of `process` whose end a read has found since the last time this was asked.
    pub fn take_ends_seen(&self, process: ProcessId) -> Vec<SocketAddr> {
        std::mem::take(&mut self.0.borrow_mut().process_mut(process).ends_seen)
    }

    /// Notes something in the trace.
    pub fn say(&self, words: &str) {
        let mut inner = self.0.borrow_mut();
        let now = inner.now;
        inner.trace.say(now, words);
    }

    /// How many notes of the trace are kept.
    pub fn keep_trace(&self, notes: usize) {
        self.0.borrow_mut().trace.keep(notes);
    }

    /// The last notes of the trace, as lines.
    pub fn trace(&self) -> Vec<String> {
        self.0.borrow().trace.lines()
    }

    /// All that happened so far, folded into one number.
    pub fn trace_hash(&self) -> u64 {
        self.0.borrow().trace.hash()
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("World")
    }
}
