//! What a handler may ask of the loop.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use slab::Slab;

use super::buffer_pool::BufferPool;
use super::connection::{Connection, Reading, Received, State};
use super::counters::Counters;
use super::ids::{ConnId, ListenerId, Owner, Token};
use super::limits::Limits;
use super::listener::{ListenOptions, Listener};
use super::timer_wheel::{TimerId, TimerWheel};
use crate::sys::System;
use crate::time::Time;

/// What a [`Handler`](super::Handler) may ask of the loop that calls it.
///
/// Nothing here calls the handler: what it causes is told by callbacks, later in the same turn or
/// in a following one. Nothing here blocks. An id of something that is gone is ignored and counted.
pub struct Net {
    pub(super) system: Box<dyn System>,
    pub(super) limits: Limits,
    pub(super) now: Time,
    pub(super) owner: Owner,
    pub(super) connections: Slab<Connection>,
    pub(super) listeners: Slab<Listener>,
    pub(super) next_generation: u32,
    pub(super) timers: TimerWheel<Due>,
    /// Connections and listeners that have something to read or accept, as far as is known.
    pub(super) ready: VecDeque<Token>,
    /// Connections that have something to write and can take it, as far as is known.
    pub(super) dirty: VecDeque<ConnId>,
    /// Connections in [`State::Closing`].
    pub(super) closing: VecDeque<ConnId>,
    /// As `closing`, but not before the next turn: a handler that connects again at once, to an
    /// address that fails at once, must not keep this turn from ending.
    pub(super) closing_next_turn: Vec<ConnId>,
    /// Connections in [`State::Closed`].
    pub(super) closed: Vec<ConnId>,
    pub(super) refused_connections: usize,
    pub(super) output_pool: BufferPool,
    /// The last flush ran out of time.
    pub(super) was_flush_cut: bool,
    /// What of [`Counters::flush_time`] went to the connections of each owner. One for each.
    pub(super) flush_times: Vec<Duration>,
    pub(super) counters: Counters,
}

/// What a timer in the wheel is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Due {
    Handler { owner: Owner, tag: u64 },
    Input(ConnId),
    Output(ConnId),
    Accept(ListenerId),
}

impl Net {
    pub(super) fn new(system: Box<dyn System>, limits: Limits) -> Net {
        let mut net = Net {
            system,
            limits,
            now: Time::ZERO,
            owner: Owner::default(),
            connections: Slab::new(),
            listeners: Slab::new(),
            next_generation: 0,
            timers: TimerWheel::new(),
            ready: VecDeque::new(),
            dirty: VecDeque::new(),
            closing: VecDeque::new(),
            closing_next_turn: Vec::new(),
            closed: Vec::new(),
            refused_connections: 0,
            output_pool: BufferPool::default(),
            was_flush_cut: false,
            flush_times: vec![Duration::ZERO],
            counters: Counters::default(),
        };
        net.now = net.system.now();
        net
    }

    /// The time of this turn. It stands still within a callback.
    pub fn now(&self) -> Time {
        self.now
    }

    /// The time of day, as the time since 1970 in UTC. For logs: it may jump.
    pub fn unix_time(&mut self) -> Duration {
        self.system.unix_time()
    }

    /// Returns whether 127.0.0.1 is an address of this machine.
    pub(crate) fn has_ipv4_loopback(&mut self) -> bool {
        self.system.has_ipv4_loopback()
    }

    /// A random number that peers can't predict.
    pub fn random(&mut self) -> u64 {
        self.system.random()
    }

    /// Allocates an owner that nobody else has. It is never given back.
    pub fn new_owner(&mut self) -> Owner {
        let number = u32::try_from(self.flush_times.len()).unwrap_or(u32::MAX);
        self.flush_times.push(Duration::ZERO);
        Owner::new(number)
    }

    /// The owner of what the current callback is about; the default one in `on_wake`,
    /// `on_turn_end` and between turns.
    pub fn owner(&self) -> Owner {
        self.owner
    }

    /// What the loop grants.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What the loop has done so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Sockets of connections that are open, those that are only being said goodbye to included.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Timers that are armed, those of the loop itself included.
    pub fn timers(&self) -> usize {
        self.timers.len()
    }

    /// How many things the loop keeps of each kind.
    pub fn sizes(&self) -> impl Iterator<Item = (&'static str, usize)> {
        [
            ("connections", self.connections.len()),
            ("listeners", self.listeners.len()),
            ("refused_connections", self.refused_connections),
            ("timers", self.timers.len()),
            ("ready", self.ready.len()),
            ("dirty", self.dirty.len()),
            ("closing", self.closing.len() + self.closing_next_turn.len()),
            ("spare_buffers", self.output_pool.spare()),
        ]
        .into_iter()
    }

    /// What they take, in bytes: input that is not taken yet, output that is not written yet, and
    /// buffers that wait to be used again. Looks at all connections. A frame that several are sent
    /// is not counted: whoever shares it knows.
    pub fn bytes_kept(&self) -> [(&'static str, usize); 3] {
        let connections = self.connections.iter().map(|(_, connection)| connection);
        let (input, output) = connections.fold((0, 0), |(input, output), connection| {
            let unsent = connection.output.unsent_owned_bytes();
            (input + connection.input.unfinished().len(), output + unsent)
        });
        [
            ("input", input),
            ("output", output),
            ("spare_buffers", self.output_pool.spare_bytes()),
        ]
    }

    /// Listens. A listener with port 0 gets a free port: see [`Net::local_addr`].
    ///
    /// Errors are the system's: address in use, not one of this host, not permitted.
    pub fn listen(&mut self, addr: SocketAddr, options: ListenOptions) -> io::Result<ListenerId> {
        let generation = self.generation();
        let entry = self.listeners.vacant_entry();
        let id = ListenerId::new(entry.key(), generation);
        let (socket, addr) = self.system.listen(
            addr,
            self.limits.listen_backlog,
            &self.limits.tcp,
            Token::Listener(id).pack(),
        )?;
        entry.insert(Listener::new(id, socket, addr, options));
        Ok(id)
    }

    /// Listens on a TCP socket that listens already, as a service manager hands it over; a
    /// [`std::net::TcpListener`] converts into one. Whoever else holds it keeps the connections that
    /// wait: no one is refused while this process ends and the next one starts.
    ///
    /// Its backlog is not changed. Errors are the system's, and
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if it is no TCP socket that listens.
    pub fn listen_on(&mut self, socket: OwnedFd, options: ListenOptions) -> io::Result<ListenerId> {
        let generation = self.generation();
        let entry = self.listeners.vacant_entry();
        let id = ListenerId::new(entry.key(), generation);
        let token = Token::Listener(id).pack();
        let (socket, addr) = self.system.listen_on(socket, &self.limits.tcp, token)?;
        entry.insert(Listener::new(id, socket, addr, options));
        Ok(id)
    }

    /// Where a listener listens, with the port in use.
    pub fn local_addr(&self, listener: ListenerId) -> Option<SocketAddr> {
        self.listener(listener).map(|listener| listener.addr)
    }

    /// Stops listening. Connections that were accepted stay; those that wait to be are reset, unless
    /// somebody else holds the socket ([`Net::listen_on`]).
    pub fn close_listener(&mut self, id: ListenerId) {
        if self.listener(id).is_none() {
            self.counters.stale += 1;
            return;
        }
        if let Some(listener) = self.listeners.try_remove(id.slot()) {
            if let Some(timer) = listener.retry_timer {
                self.timers.disarm(timer);
            }
            self.system.close(listener.socket);
        }
    }

    /// Bytes that are queued for the connection and not yet written.
    pub fn pending_bytes(&self, conn: ConnId) -> usize {
        self.connection(conn)
            .map_or(0, |connection| connection.output.unsent_bytes())
    }

    /// Bytes that the connection has written so far. Still known in `on_close`: what was queued
    /// behind them never left.
    pub fn written_bytes(&self, conn: ConnId) -> u64 {
        self.connection(conn)
            .map_or(0, |connection| connection.written_bytes)
    }

    /// Returns the number of bytes read from the connection so far. Still known in `on_close`.
    pub fn read_bytes(&self, conn: ConnId) -> u64 {
        self.connection(conn)
            .map_or(0, |connection| connection.read_bytes)
    }

    /// Whether an earlier turn could not write all that was queued. Then, and only then,
    /// `on_drained` comes as soon as all is written, or `on_close`.
    pub fn is_backlogged(&self, conn: ConnId) -> bool {
        self.connection(conn)
            .is_some_and(|connection| connection.backlogged)
    }

    /// Time spent writing to the connections of this owner, about: what of
    /// [`Counters::flush_time`] was theirs.
    pub fn flush_time_of(&self, owner: Owner) -> Duration {
        self.flush_times
            .get(owner.index())
            .copied()
            .unwrap_or_default()
    }

    /// Whether the last turn ran out of time while writing, so that this one goes on with it.
    pub fn has_unflushed(&self) -> bool {
        self.was_flush_cut
    }

    /// Stops giving the handler what the connection sends. It is not even read, beyond what a turn
    /// reads, so that the peer feels it. The peer's end isn't noticed either.
    pub fn pause(&mut self, conn: ConnId) {
        match self.connection_mut(conn) {
            Some(connection) => connection.reading = Reading::Paused,
            None => self.counters.stale += 1,
        }
    }

    /// Goes on with what [`Net::pause`] stopped, from the next turn on.
    pub fn resume(&mut self, conn: ConnId) {
        let now = self.now;
        let Some(connection) = self.connection_mut(conn) else {
            self.counters.stale += 1;
            return;
        };
        if connection.reading == Reading::On {
            return;
        }
        connection.reading = Reading::On;
        // The peer is not to blame for the pause.
        connection.frame_since = connection.frame_since.map(|_| now);
        let waits_for_first_byte = connection.state == State::Open
            && connection.received == Received::Nothing
            && connection.input_timer.is_some();
        if connection.readable || connection.frames_kept {
            self.make_ready(conn);
        }
        if waits_for_first_byte {
            self.disarm_input(conn);
            self.arm_input(conn, now + self.limits.first_byte_timeout);
        }
    }

    /// The peer's address. Still known in `on_close`.
    pub fn peer_addr(&self, conn: ConnId) -> Option<SocketAddr> {
        self.connection(conn).map(|connection| connection.peer)
    }

    /// Arms a timer: `on_timer` is called with `tag` once `deadline` has passed.
    ///
    /// Never in the expiry that is going on: a deadline that has passed is due in the next
    /// millisecond.
    pub fn arm(&mut self, owner: Owner, deadline: Time, tag: u64) -> TimerId {
        self.timers.arm(deadline, Due::Handler { owner, tag })
    }

    /// Takes a timer back, so that it never rings. `false` if it rang or was taken back before.
    pub fn disarm(&mut self, timer: TimerId) -> bool {
        self.timers.disarm(timer).is_some()
    }
}

impl std::fmt::Debug for Net {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Net")
            .field("now", &self.now)
            .field("connections", &self.connections.len())
            .field("listeners", &self.listeners.len())
            .field("timers", &self.timers.len())
            .finish_non_exhaustive()
    }
}
