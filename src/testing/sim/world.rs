//! The simulated world, as a test controls and observes it.

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

/// A network with hosts and processes. Clones share the same world.
#[derive(Clone)]
pub struct World(pub(super) Shared);

impl World {
    /// Creates a world without hosts. `random` determines all randomness in it.
    ///
    /// Returns the errors of opening `/dev/null`, which is used as the fd of every poll.
    pub fn new(random: Random, faults: Faults) -> io::Result<World> {
        let inner = Inner::new(random, faults)?;
        Ok(World(Rc::new(RefCell::new(inner))))
    }

    /// Adds a host with this address.
    pub fn add_host(&self, addr: IpAddr) -> HostId {
        let mut inner = self.0.borrow_mut();
        let id = HostId(inner.hosts.len());
        inner.hosts.push(Host::new(addr));
        inner.host_of.insert(addr, id);
        id
    }

    /// Sets the addresses that lookups of `name` find, with their ports: `distributor:9000`.
    pub fn set_name(&self, name: &str, addrs: &[SocketAddr]) {
        let mut inner = self.0.borrow_mut();
        inner.names.insert(name.to_owned(), addrs.to_vec());
    }

    /// Starts a process on `host`, without sockets. Dropping it ends it, as a kill does: the kernel
    /// continues to serve its connections.
    pub fn start(&self, host: HostId) -> Process {
        Process::start(Rc::clone(&self.0), host)
    }

    /// Returns the current time.
    pub fn now(&self) -> Time {
        self.0.borrow().now
    }

    /// Returns the time of the next event of the network, or `None` if there is none.
    pub fn next_event(&self) -> Option<Time> {
        let inner = self.0.borrow();
        inner.agenda.peek().map(|Reverse(entry)| entry.at)
    }

    /// Advances the time to `until`, and runs all steps of the network that are due by then.
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

    /// Returns whether a poll of this process would find an event.
    pub fn is_ready(&self, process: ProcessId) -> bool {
        let inner = self.0.borrow();
        let state = inner.process(process);
        state.is_woken() || !state.ready.is_empty()
    }

    /// Sets the faults from now on.
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

    /// Returns whether packets from one host reach the other.
    pub fn is_open(&self, from: HostId, to: HostId) -> bool {
        self.0.borrow().can_reach(from, to)
    }

    /// Ends all blocks and clogs, and restores every socket's window and every disk's space.
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

    /// Cuts the power: all sockets of the host vanish without a packet, and its disk keeps the
    /// synced data. The test must drop its processes.
    pub fn crash(&self, host: HostId) {
        self.0.borrow_mut().crash(host);
    }

    /// Disconnects a host from the network, or reconnects it. A paused virtual machine behaves like
    /// this.
    pub fn power(&self, host: HostId, is_up: bool) {
        let mut inner = self.0.borrow_mut();
        inner.trace_note("power", [host.0 as u64, u64::from(is_up), 0]);
        inner.hosts[host.0].is_up = is_up;
    }

    /// Returns the disk of a host.
    pub fn disk(&self, host: HostId) -> HostDisk {
        HostDisk::new(Rc::clone(&self.0), host)
    }

    /// Completes a step of a [`HostDisk`].
    pub fn put_files(&self, host: HostId, files: Files) {
        let mut inner = self.0.borrow_mut();
        inner.trace_note("disk", [host.0 as u64, files.fingerprint(), 0]);
        let on_it = &mut inner.hosts[host.0].files;
        let is_full = on_it.is_full;
        *on_it = files;
        on_it.is_full = is_full;
    }

    /// Fills a disk, or frees its space.
    pub fn fill_disk(&self, host: HostId, is_full: bool) {
        self.0.borrow_mut().hosts[host.0].files.is_full = is_full;
    }

    /// Replaces the bytes of a file with others. Returns `false` if the file does not exist.
    pub fn spoil(&self, host: HostId, path: &Path) -> bool {
        let inner = &mut *self.0.borrow_mut();
        inner.hosts[host.0].files.spoil(path, &mut inner.random)
    }

    /// Advances the monotonic clock of a process, and sets its time of day.
    pub fn jump(&self, process: ProcessId, ahead: Duration, time_of_day: Duration) {
        let mut inner = self.0.borrow_mut();
        let state = inner.process_mut(process);
        state.ahead += ahead;
        state.time_of_day = time_of_day;
    }

    /// Returns the time by which the clock of a process is ahead.
    pub fn ahead(&self, process: ProcessId) -> Duration {
        self.0.borrow().process(process).ahead
    }

    /// Limits the fds of a process to its present ones and this many more.
    pub fn limit_fds(&self, process: ProcessId, more: usize) {
        let mut inner = self.0.borrow_mut();
        let state = inner.process_mut(process);
        state.fd_limit = state.fds.saturating_add(more);
    }

    /// Returns the number of sockets of a process.
    pub fn sockets(&self, process: ProcessId) -> usize {
        self.0.borrow().process(process).links.len()
    }

    /// Returns the open connections of a process, in a fixed order.
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

    /// Returns the local address of the last connection that a process began to `remote`.
    pub fn local_addr(&self, process: ProcessId, remote: SocketAddr) -> Option<SocketAddr> {
        let links = self.links(process);
        let to_remote = links.iter().filter(|link| link.remote == remote);
        to_remote
            .max_by_key(|link| link.end.serial)
            .map(|link| link.local)
    }

    /// Returns whether an established connection leads from a process to `remote`. There can be two
    /// if a node was registered anew.
    pub fn is_established(&self, process: ProcessId, remote: SocketAddr) -> bool {
        let links = self.links(process);
        let inner = self.0.borrow();
        let mut to_remote = links.iter().filter(|link| link.remote == remote);
        to_remote.any(|link| {
            let stream = inner.stream(link.end);
            stream.is_some_and(|stream| stream.phase != Phase::Connecting)
        })
    }

    /// Returns the number of connections that wait for a process to accept them.
    pub fn waiting(&self, process: ProcessId) -> usize {
        let inner = self.0.borrow();
        let own = inner.process(process).links.values();
        let waiting = own.map(|id| match inner.socket(*id).map(|socket| &socket.kind) {
            Some(Kind::Listener { waiting, .. }) => waiting.len(),
            _ => 0,
        });
        waiting.sum()
    }

    /// Returns the state of the connection of `process` to `remote`, or `None` if it has none.
    pub fn facts(&self, process: ProcessId, remote: SocketAddr) -> Option<Facts> {
        let inner = self.0.borrow();
        let end = *inner.process(process).accepted.get(&remote)?;
        inner.facts(end)
    }

    /// Holds back all data that is sent on this end, or releases it.
    pub fn clog(&self, link: &Link, is_clogged: bool) {
        let mut inner = self.0.borrow_mut();
        inner.trace_note("clog", [link.end.serial, u64::from(is_clogged), 0]);
        if let Some(stream) = inner.stream_mut(link.end) {
            stream.is_clogged = is_clogged;
        }
        inner.move_on(link.end);
    }

    /// Sets the number of bytes that the kernel buffers for a process that does not read. May be
    /// zero.
    pub fn set_window(&self, link: &Link, bytes: usize) {
        let mut inner = self.0.borrow_mut();
        inner.trace_note("window", [link.end.serial, bytes as u64, 0]);
        if let Some(stream) = inner.stream_mut(link.end) {
            stream.inbox_capacity = bytes;
        }
        inner.move_on_peer_of(link.end);
    }

    /// Resets a connection as a firewall between the hosts would, so that both ends detect it.
    pub fn reset(&self, link: &Link) {
        let mut inner = self.0.borrow_mut();
        let peer = inner.stream_mut(link.end).and_then(|stream| stream.peer);
        inner.fail(link.end, ErrorKind::ConnectionReset);
        if let Some(peer) = peer {
            inner.fail(peer, ErrorKind::ConnectionReset);
        }
    }

    /// Returns the connections of `process` whose end was read since the last call.
    pub fn take_ends_seen(&self, process: ProcessId) -> Vec<SocketAddr> {
        std::mem::take(&mut self.0.borrow_mut().process_mut(process).ends_seen)
    }

    /// Adds a line to the trace.
    pub fn log(&self, words: &str) {
        let mut inner = self.0.borrow_mut();
        let now = inner.now;
        inner.trace.log(now, words);
    }

    /// Sets the number of lines of the trace that are kept.
    pub fn keep_trace(&self, notes: usize) {
        self.0.borrow_mut().trace.keep(notes);
    }

    /// Returns the last lines of the trace.
    pub fn trace(&self) -> Vec<String> {
        self.0.borrow().trace.lines()
    }

    /// Returns a hash of all events so far.
    pub fn trace_hash(&self) -> u64 {
        self.0.borrow().trace.hash()
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("World")
    }
}
