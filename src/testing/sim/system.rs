//! A simulated process as the system of a reactor.

use std::io::{self, ErrorKind, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::faults::Fault;
use super::ids::ProcessId;
use super::inner::Inner;
use super::process::Process;
use super::socket::Edges;
use crate::host_port::HostPort;
use crate::reactor::{Limits, Reactor};
use crate::sys::{Event, Lookup, SocketId, System, TcpOptions, Waker};
use crate::time::Time;

/// Maximum number of events of one poll.
const EVENTS_PER_POLL: usize = 1024;

impl Reactor {
    /// Creates a reactor on a simulated process.
    pub fn simulated(process: Process, limits: Limits) -> Reactor {
        Reactor::on(Box::new(process), limits)
    }
}

impl Inner {
    /// Adds the events of a poll: each change once, in any order, and some spurious ones.
    fn events(&mut self, process: ProcessId, events: &mut Vec<Event>) -> bool {
        let mut ready = std::mem::take(&mut self.process_mut(process).ready);
        if self.strikes(Fault::ReorderedEvents) {
            self.random.shuffle(&mut ready);
        }
        let later = ready.split_off(ready.len().min(EVENTS_PER_POLL));
        for id in ready {
            let Some(socket) = self.socket_mut(id) else {
                continue;
            };
            let edges = std::mem::take(&mut socket.edges);
            events.extend(socket.token.map(|token| event(token, edges)));
        }
        let is_full = !later.is_empty();
        self.process_mut(process).ready.extend(later);
        for token in std::mem::take(&mut self.process_mut(process).stale) {
            events.push(event(token, Edges::FAILED));
        }
        for (fault, closed) in [
            (Fault::SpuriousEvent, false),
            (Fault::SpuriousClosedEvent, true),
        ] {
            let links = self.process(process).links.len();
            if links == 0 || !self.strikes(fault) {
                continue;
            }
            let place = self.random.index(links);
            let id = self.process(process).links.values().nth(place).copied();
            if let Some(token) = id.and_then(|id| self.socket(id)?.token) {
                let edges = Edges {
                    readable: true,
                    writable: !closed,
                    closed,
                };
                events.push(event(token, edges));
            }
        }
        is_full
    }
}

fn event(token: u64, edges: Edges) -> Event {
    Event::Socket {
        token,
        readable: edges.readable,
        writable: edges.writable,
        closed: edges.closed,
    }
}

impl System for Process {
    fn poll(&mut self, events: &mut Vec<Event>, _timeout: Option<Duration>) -> io::Result<bool> {
        let mut inner = self.world.borrow_mut();
        inner.call();
        if inner.strikes(Fault::PollInterrupted) {
            return Err(ErrorKind::Interrupted.into());
        }
        let now = inner.now;
        inner.process_mut(self.id).polled_at = now;
        if inner.process(self.id).woken.swap(false, Ordering::Relaxed) {
            events.push(Event::Wake);
        }
        Ok(inner.events(self.id, events))
    }

    fn now(&mut self) -> Time {
        let inner = self.world.borrow();
        inner.now + inner.process(self.id).ahead
    }

    fn unix_time(&mut self) -> Duration {
        let inner = self.world.borrow();
        inner.process(self.id).time_of_day
    }

    fn random(&mut self) -> u64 {
        self.world.borrow_mut().random.bits()
    }

    fn look_up(&mut self, host_port: &HostPort) -> Lookup {
        self.world.borrow_mut().look_up(self.id, host_port)
    }

    fn listen(
        &mut self,
        addr: SocketAddr,
        backlog: u32,
        tcp: &TcpOptions,
        token: u64,
    ) -> io::Result<(SocketId, SocketAddr)> {
        let mut inner = self.world.borrow_mut();
        inner.listen(self.id, addr, backlog, Some(*tcp), token)
    }

    fn accept(&mut self, listener: SocketId) -> io::Result<(SocketId, SocketAddr)> {
        self.world.borrow_mut().accept(self.id, listener)
    }

    fn watch(&mut self, socket: SocketId, token: u64) -> io::Result<()> {
        self.world.borrow_mut().watch(self.id, socket, token)
    }

    fn connect(
        &mut self,
        addr: SocketAddr,
        _source: Option<IpAddr>,
        tcp: &TcpOptions,
        token: u64,
    ) -> io::Result<SocketId> {
        // A simulated host has one address.
        let mut inner = self.world.borrow_mut();
        inner.connect(self.id, addr, Some(*tcp), token)
    }

    fn is_connected(&mut self, socket: SocketId) -> io::Result<bool> {
        let connected = self.world.borrow_mut().connected(self.id, socket);
        connected.map(|peer| peer.is_some())
    }

    fn read(&mut self, socket: SocketId, into: &mut [u8]) -> io::Result<usize> {
        self.world.borrow_mut().read(self.id, socket, into)
    }

    fn write(&mut self, socket: SocketId, from: &[IoSlice<'_>]) -> io::Result<usize> {
        self.world.borrow_mut().write(self.id, socket, from)
    }

    fn shutdown_write(&mut self, socket: SocketId) -> io::Result<()> {
        self.world.borrow_mut().shutdown_write(self.id, socket)
    }

    fn close(&mut self, socket: SocketId) {
        self.world.borrow_mut().close_of(self.id, socket);
    }

    fn release_reserve(&mut self) {
        let mut inner = self.world.borrow_mut();
        let state = inner.process_mut(self.id);
        if std::mem::take(&mut state.has_reserve) {
            state.fds -= 1;
        }
    }

    fn keep_reserve(&mut self) {
        let mut inner = self.world.borrow_mut();
        let state = inner.process_mut(self.id);
        if !state.has_reserve && state.fds < state.fd_limit {
            state.has_reserve = true;
            state.fds += 1;
        }
    }

    fn waker(&self) -> Waker {
        let woken = Arc::clone(&self.world.borrow().process(self.id).woken);
        Waker::new(move || {
            woken.store(true, Ordering::Relaxed);
            Ok(())
        })
    }

    fn poll_fd(&self) -> BorrowedFd<'_> {
        self.poll_fd.as_fd()
    }
}
