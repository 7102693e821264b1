//! The interface of handlers to the loop.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use slab::Slab;

use super::buffer_pool::BufferPool;
use super::connection::Connection;
use super::counters::Counters;
use super::ids::{ConnId, ListenerId, Owner, Token};
use super::limits::Limits;
use super::listener::Listener;
use super::timer_wheel::{TimerId, TimerWheel};
use crate::host_port::HostPort;
use crate::sys::{Lookup, System, Waker};
use crate::time::Time;

/// The part of a reactor that its [`Handler`](super::Handler) acts on.
///
/// No method calls the handler: effects are reported by callbacks, later in the same turn or in a
/// following one. No method blocks. Ids of closed connections and listeners are ignored and counted
/// ([`Counters::stale`]).
pub struct Net {
    pub(super) system: Box<dyn System>,
    pub(super) limits: Limits,
    pub(super) now: Time,
    pub(super) owner: Owner,
    pub(super) connections: Slab<Connection>,
    pub(super) listeners: BTreeMap<ListenerId, Listener>,
    next_generation: u32,
    pub(super) next_listener: u32,
    pub(super) timers: TimerWheel<Due>,
    /// Connections that may have input, and listeners that may have connections to accept.
    pub(super) ready: VecDeque<Token>,
    /// Connections that have a queue and may be writable.
    pub(super) dirty: VecDeque<ConnId>,
    /// Connections whose `on_close` is due.
    pub(super) closing: VecDeque<ConnId>,
    /// Connections to free at the end of the turn.
    pub(super) closed: Vec<ConnId>,
    pub(super) refused_connections: usize,
    pub(super) output_pool: BufferPool,
    /// Totals by owner.
    pub(super) owners: Vec<OwnerTotals>,
    pub(super) counters: Counters,
}

/// Totals of the connections of one owner.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OwnerTotals {
    /// Open connections, without refused ones.
    pub(super) connections: usize,
    /// Part of [`Counters::flush_time`].
    pub(super) flush_time: Duration,
    /// The last flush ran out of time before it had written to all of them.
    pub(super) was_flush_cut: bool,
}

/// Purpose of a timer in the wheel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Due {
    Handler { owner: Owner, tag: u64 },
    Input(ConnId),
    Output(ConnId),
    Accept(ListenerId),
}

impl Net {
    pub(super) fn new(mut system: Box<dyn System>, limits: Limits) -> Net {
        Net {
            now: system.now(),
            system,
            limits,
            owner: Owner::default(),
            connections: Slab::new(),
            listeners: BTreeMap::new(),
            next_generation: 0,
            next_listener: 0,
            timers: TimerWheel::default(),
            ready: VecDeque::new(),
            dirty: VecDeque::new(),
            closing: VecDeque::new(),
            closed: Vec::new(),
            refused_connections: 0,
            output_pool: BufferPool::default(),
            owners: vec![OwnerTotals::default()],
            counters: Counters::default(),
        }
    }

    /// Returns the id of the connection that is inserted next.
    pub(super) fn next_conn_id(&mut self) -> ConnId {
        self.next_generation = self.next_generation.wrapping_add(1);
        ConnId::new(self.connections.vacant_key(), self.next_generation)
    }

    pub(super) fn connection(&self, id: ConnId) -> Option<&Connection> {
        let found = self.connections.get(id.slot())?;
        (found.id == id).then_some(found)
    }

    pub(super) fn connection_mut(&mut self, id: ConnId) -> Option<&mut Connection> {
        live(&mut self.connections, id)
    }

    /// Returns a connection by an id from the handler or an event. Counts stale ids.
    pub(super) fn named(&mut self, id: ConnId) -> Option<&mut Connection> {
        let found = live(&mut self.connections, id);
        if found.is_none() {
            self.counters.stale += 1;
        }
        found
    }

    pub(super) fn owner_of(&self, id: ConnId) -> Owner {
        self.connection(id)
            .map_or(self.owner, |connection| connection.owner)
    }

    pub(super) fn is_delivering(&self, id: ConnId) -> bool {
        self.connection(id).is_some_and(Connection::is_delivering)
    }

    pub(super) fn make_ready(&mut self, id: ConnId) {
        if let Some(connection) = live(&mut self.connections, id)
            && !connection.in_ready_list
        {
            connection.in_ready_list = true;
            self.ready.push_back(Token::Connection(id));
        }
    }

    pub(super) fn make_dirty(&mut self, id: ConnId) {
        if let Some(connection) = live(&mut self.connections, id)
            && connection.writable
            && !connection.in_dirty_list
            && !connection.output.is_empty()
        {
            connection.in_dirty_list = true;
            self.dirty.push_back(id);
        }
    }

    /// Returns the time of this turn. It is the same in all callbacks of a turn.
    pub fn now(&self) -> Time {
        self.now
    }

    /// Reads the clock, which advances within a turn.
    pub(crate) fn clock(&mut self) -> Time {
        self.system.now().max(self.now)
    }

    /// Returns the waker of the reactor.
    pub(crate) fn waker(&self) -> Waker {
        self.system.waker()
    }

    /// Returns the time of day, as the time since 1970 in UTC. For logs: it may jump.
    pub fn unix_time(&mut self) -> Duration {
        self.system.unix_time()
    }

    /// Returns whether 127.0.0.1 is an address of this machine.
    pub(crate) fn has_ipv4_loopback(&mut self) -> bool {
        self.system.has_ipv4_loopback()
    }

    /// Returns a random number that peers cannot predict.
    pub fn random(&mut self) -> u64 {
        self.system.random()
    }

    /// Starts to look up the addresses of a host. [`Handler::on_wake`](super::Handler::on_wake) is
    /// called when the lookup ends, unless it has ended when this returns.
    pub(crate) fn look_up(&mut self, host_port: &HostPort) -> Lookup {
        self.system.look_up(host_port)
    }

    /// Allocates an owner. It is never freed: allocate one per handler, not per connection.
    pub fn new_owner(&mut self) -> Owner {
        let number = u32::try_from(self.owners.len()).unwrap_or(u32::MAX);
        self.owners.push(OwnerTotals::default());
        Owner(number)
    }

    /// Returns the owner of the connection or timer that the current callback is for.
    ///
    /// That is the default owner in `on_wake`, in `on_turn_end` and between turns.
    pub fn owner(&self) -> Owner {
        self.owner
    }

    /// Sets the owner that [`Net::owner`] returns, and returns the previous one.
    pub(crate) fn replace_owner(&mut self, owner: Owner) -> Owner {
        std::mem::replace(&mut self.owner, owner)
    }

    /// Returns the limits of the loop.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns the totals of the loop's work.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Returns the number of connections, including those that are being closed.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Returns the number of armed timers, including those of the loop itself.
    pub fn timers(&self) -> usize {
        self.timers.len()
    }

    /// Returns the number of entries of each internal collection, by its name. For metrics.
    pub fn sizes(&self) -> [(&'static str, usize); 8] {
        [
            ("connections", self.connections.len()),
            ("listeners", self.listeners.len()),
            ("refused_connections", self.refused_connections),
            ("timers", self.timers.len()),
            ("ready", self.ready.len()),
            ("dirty", self.dirty.len()),
            ("closing", self.closing.len()),
            ("spare_buffers", self.output_pool.spare.len()),
        ]
    }

    /// Returns the bytes of unconsumed input, of unwritten output and of spare buffers.
    ///
    /// For metrics. Takes time in proportion to the number of connections. Shared frames are not
    /// counted.
    pub fn bytes_kept(&self) -> [(&'static str, usize); 3] {
        let (mut input, mut output) = (0, 0);
        for (_, connection) in &self.connections {
            input += connection.input.unfinished().len();
            output += connection.output.unsent_owned_bytes;
        }
        [
            ("input", input),
            ("output", output),
            ("spare_buffers", self.output_pool.spare_bytes),
        ]
    }

    /// Returns the number of bytes that are queued and not yet written; 0 for closed connections.
    pub fn pending_bytes(&self, conn: ConnId) -> usize {
        self.connection(conn)
            .map_or(0, |connection| connection.output.unsent_bytes)
    }

    /// Returns the number of bytes written to the connection so far. Still known in `on_close`: any
    /// bytes queued after them were never sent.
    pub fn written_bytes(&self, conn: ConnId) -> u64 {
        self.connection(conn)
            .map_or(0, |connection| connection.written_bytes)
    }

    /// Returns the number of bytes read from the connection so far. Still known in `on_close`.
    pub fn read_bytes(&self, conn: ConnId) -> u64 {
        self.connection(conn)
            .map_or(0, |connection| connection.read_bytes)
    }

    /// Returns whether input may be left that the budget of this turn did not reach.
    ///
    /// Spuriously true when readiness was reported for input that was already read.
    pub(crate) fn has_unread_input(&self, conn: ConnId) -> bool {
        self.connection(conn)
            .is_some_and(|connection| connection.readable || connection.frames_kept)
    }

    /// Returns whether an earlier turn could not write the whole queue.
    ///
    /// Only then `on_drained` is called once the queue is empty, unless `on_close` is called first.
    pub fn is_backlogged(&self, conn: ConnId) -> bool {
        self.connection(conn)
            .is_some_and(|connection| connection.backlogged)
    }

    /// Returns the approximate part of [`Counters::flush_time`] for connections of this owner.
    pub(crate) fn flush_time_of(&self, owner: Owner) -> Duration {
        self.totals_of(owner).flush_time
    }

    pub(super) fn totals_of(&self, owner: Owner) -> OwnerTotals {
        self.owners.get(owner.index()).copied().unwrap_or_default()
    }

    /// Adds a connection, and counts it for its owner.
    pub(super) fn insert(&mut self, connection: Connection) {
        if let Some(totals) = self.owners.get_mut(connection.owner.index())
            && !connection.refused
        {
            totals.connections += 1;
        }
        self.connections.insert(connection);
    }

    /// Returns whether the last turn ran out of time before it had written to all connections of
    /// this owner, so that this one resumes it.
    pub(crate) fn has_unflushed(&self, owner: Owner) -> bool {
        self.totals_of(owner).was_flush_cut
    }

    /// Stops passing the connection's input to the handler, until [`Net::resume`].
    ///
    /// At most the input of one turn is still read, so the peer soon cannot send any more. While
    /// paused, a close by the peer is not detected.
    pub fn pause(&mut self, conn: ConnId) {
        if let Some(connection) = self.named(conn) {
            connection.is_paused = true;
        }
    }

    /// Passes input on again after [`Net::pause`], from the next turn on.
    pub fn resume(&mut self, conn: ConnId) {
        let now = self.now;
        let Some(connection) = self.named(conn) else {
            return;
        };
        if !std::mem::take(&mut connection.is_paused) {
            return;
        }
        // The time of the pause does not count towards the peer's deadline.
        connection.waiting_since = connection.waiting_since.map(|_| now);
        if connection.readable || connection.frames_kept {
            self.make_ready(conn);
        }
    }

    /// Returns the peer's address. Still known in `on_close`.
    pub fn peer_addr(&self, conn: ConnId) -> Option<SocketAddr> {
        self.connection(conn).map(|connection| connection.peer)
    }

    /// Arms a timer: `on_timer` is called with `tag` once `deadline` has passed.
    ///
    /// A timer that is armed in `on_timer` expires in the next millisecond at the earliest, even if
    /// its deadline has passed.
    pub fn arm(&mut self, owner: Owner, deadline: Time, tag: u64) -> TimerId {
        self.timers.arm(deadline, Due::Handler { owner, tag })
    }

    /// Disarms a timer. Returns `false` if it has expired or was disarmed before.
    pub fn disarm(&mut self, timer: TimerId) -> bool {
        self.timers.disarm(timer).is_some()
    }
}

/// Returns a connection, for callers that need other parts of `Net` at the same time.
pub(super) fn live(connections: &mut Slab<Connection>, id: ConnId) -> Option<&mut Connection> {
    let found = connections.get_mut(id.slot())?;
    (found.id == id).then_some(found)
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
