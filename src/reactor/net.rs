//! What a handler may ask of the loop.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use slab::Slab;

use super::buffer_pool::BufferPool;
use super::connection::{CloseReason, Connection, Farewell, Reading, State};
use super::counters::Counters;
use super::framing::Framing;
use super::ids::{ConnId, ListenerId, Owner, Token};
use super::limits::Limits;
use super::listener::{ListenOptions, Listener};
use super::timer_wheel::{TimerId, TimerWheel};
use super::write_queue::{SharedFrame, end_frame, escape_frame};
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
    /// Connections whose `on_close` is due in the next step that tells it.
    pub(super) marked: VecDeque<ConnId>,
    /// As `marked`, but not before the next turn: a handler that connects again at once, to an
    /// address that fails at once, must not keep this turn from ending.
    pub(super) marked_for_next_turn: Vec<ConnId>,
    pub(super) dead: Vec<ConnId>,
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

/// How to close a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Close {
    /// At once. What is queued is lost.
    Now,
    /// After what is queued is written, within [`Limits::write_timeout`]. A connection that is not
    /// established yet is closed at once. The peer can read what was written: its own unread input is discarded
    /// for a while ([`Limits::linger`]) rather than answered by a reset.
    AfterFlush,
}

/// Options of an outgoing connection.
#[derive(Clone, Debug, Default)]
pub struct ConnectOptions {
    /// Whose it is, where several handlers share the reactor.
    pub owner: Owner,
    /// How the peer's bytes are cut.
    pub framing: Framing,
    /// Instead of [`Limits::max_frame_bytes`].
    pub max_frame_bytes: Option<usize>,
    /// The address of this host to connect from, where the kernel's choice won't do: one address
    /// has about 28,000 ports to connect from to one other.
    pub source: Option<IpAddr>,
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
            marked: VecDeque::new(),
            marked_for_next_turn: Vec::new(),
            dead: Vec::new(),
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
            (
                "marked",
                self.marked.len() + self.marked_for_next_turn.len(),
            ),
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

    /// Connects. The outcome comes as exactly one `on_open` or `on_close`, never before this
    /// returns; what is sent before waits for it.
    pub fn connect(&mut self, addr: SocketAddr, options: ConnectOptions) -> ConnId {
        let id = self.insert_connection(
            options.owner,
            options.framing,
            options.max_frame_bytes,
            addr,
            State::Connecting,
        );
        let token = Token::Connection(id).pack();
        let connected = self
            .system
            .connect(addr, options.source, &self.limits.tcp, token);
        match connected {
            Ok(socket) => {
                let deadline = self.now + self.limits.connect_timeout;
                let timer = self.timers.arm(deadline, Due::Input(id));
                if let Some(connection) = self.connection_mut(id) {
                    connection.socket = Some(socket);
                    connection.input_timer = Some(timer);
                }
            }
            Err(error) => {
                if let Some(connection) = self.connection_mut(id) {
                    let why = CloseReason::ConnectFailed(error.kind());
                    connection.state = State::Marked(why, Farewell::Drop);
                    self.marked_for_next_turn.push(id);
                }
            }
        }
        id
    }

    /// Queues the frame that `write` writes. It goes out at the end of the turn.
    ///
    /// Returns `false` and sends nothing if the connection is gone or being closed, or if `write`
    /// fails. Writing to the queue itself does not fail, so an error is always one of encoding.
    ///
    /// ```
    /// # use std::io::Write;
    /// # use pilcrow::reactor::{ConnId, Net};
    /// # fn answer(net: &mut Net, conn: ConnId) {
    /// net.send_with(conn, |out| write!(out, "{}", 6 * 7));
    /// # }
    /// ```
    pub fn send_with<E>(
        &mut self,
        conn: ConnId,
        write: impl FnOnce(&mut FrameWriter<'_>) -> Result<(), E>,
    ) -> bool {
        let Some(mut frame) = self.send(conn) else {
            return false;
        };
        let written = write(&mut frame).is_ok();
        if written {
            frame.finish();
        }
        written
    }

    /// Returns a writer of one frame, or `None` if the connection is gone or being closed.
    ///
    /// [`FrameWriter::finish`] queues the frame; it goes out at the end of the turn. For a frame
    /// that is written in one place, use [`Net::send_with`].
    pub fn send(&mut self, conn: ConnId) -> Option<FrameWriter<'_>> {
        let Some(connection) = live(&mut self.connections, conn) else {
            self.counters.stale += 1;
            return None;
        };
        if !connection.accepts_output() {
            return None;
        }
        let bytes = connection.output.take_last(&mut self.output_pool);
        let start = bytes.len();
        Some(FrameWriter {
            net: self,
            conn,
            bytes,
            start,
        })
    }

    /// Queues a frame that others get too. `false` if the connection is gone or being closed.
    ///
    /// It does not count against [`Limits::max_unsent_bytes`]: whoever shares a frame sees to it
    /// that no connection holds more of them than it should ([`Net::is_backlogged`]).
    pub fn send_shared(&mut self, conn: ConnId, frame: &SharedFrame) -> bool {
        let Some(connection) = live(&mut self.connections, conn) else {
            self.counters.stale += 1;
            return false;
        };
        if !connection.accepts_output() {
            return false;
        }
        connection.output.push_shared(frame, 0);
        self.make_dirty(conn);
        true
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
            && !connection.has_spoken
            && connection.input_timer.is_some();
        if connection.readable || connection.frames_kept {
            self.make_ready(conn);
        }
        if waits_for_first_byte {
            self.disarm_input(conn);
            self.arm_input(conn, now + self.limits.first_byte_timeout);
        }
    }

    /// Closes the connection. `on_close` comes in this turn, or in the next if it is called from
    /// `on_turn_end` or `on_drained`; after this call nothing can be sent and no frame comes.
    pub fn close(&mut self, conn: ConnId, how: Close) {
        if self.connection(conn).is_none() {
            self.counters.stale += 1;
            return;
        }
        let farewell = match how {
            Close::Now => Farewell::Drop,
            Close::AfterFlush => Farewell::FlushAndLinger,
        };
        self.mark(conn, CloseReason::Local, farewell);
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

    pub(super) fn insert_connection(
        &mut self,
        owner: Owner,
        framing: Framing,
        max_frame_bytes: Option<usize>,
        peer: SocketAddr,
        state: State,
    ) -> ConnId {
        let generation = self.generation();
        let entry = self.connections.vacant_entry();
        let id = ConnId::new(entry.key(), generation);
        let max_frame_bytes = max_frame_bytes.unwrap_or(self.limits.max_frame_bytes);
        entry.insert(Connection::new(
            id,
            owner,
            framing,
            max_frame_bytes,
            peer,
            state,
        ));
        id
    }

    fn generation(&mut self) -> u32 {
        self.next_generation = self.next_generation.wrapping_add(1);
        self.next_generation
    }

    pub(super) fn connection(&self, id: ConnId) -> Option<&Connection> {
        let found = self.connections.get(id.slot())?;
        (found.id == id).then_some(found)
    }

    pub(super) fn connection_mut(&mut self, id: ConnId) -> Option<&mut Connection> {
        live(&mut self.connections, id)
    }

    pub(super) fn listener(&self, id: ListenerId) -> Option<&Listener> {
        let found = self.listeners.get(id.slot())?;
        (found.id == id).then_some(found)
    }

    pub(super) fn listener_mut(&mut self, id: ListenerId) -> Option<&mut Listener> {
        let found = self.listeners.get_mut(id.slot())?;
        (found.id == id).then_some(found)
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

    /// Something was queued: it is written at the end of the turn, if it is not too much.
    fn limit_unsent(&mut self, id: ConnId) {
        let Some(connection) = live(&mut self.connections, id) else {
            return;
        };
        if connection.output.unsent_owned_bytes() > self.limits.max_unsent_bytes {
            self.counters.limits_broken += 1;
            self.mark(id, CloseReason::TooMuchUnsent, Farewell::Drop);
        } else {
            self.make_dirty(id);
        }
    }

    /// Begins the end of a connection. The first reason stays; a harder farewell replaces a softer.
    pub(super) fn mark(&mut self, id: ConnId, why: CloseReason, farewell: Farewell) {
        let Some(connection) = live(&mut self.connections, id) else {
            return;
        };
        match connection.state {
            State::Connecting => {
                connection.state = State::Marked(why, Farewell::Drop);
                self.marked.push_back(id);
            }
            State::Open => {
                connection.state = State::Marked(why, farewell);
                self.marked.push_back(id);
            }
            State::Marked(first, _) if farewell == Farewell::Drop => {
                connection.state = State::Marked(first, Farewell::Drop);
            }
            State::Flushing { .. } | State::Lingering { .. } if farewell == Farewell::Drop => {
                connection.state = State::Dead;
                self.dead.push(id);
            }
            _ => {}
        }
    }
}

/// As [`Net::connection_mut`], where the other parts of `Net` are needed at the same time.
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

/// One frame on its way into a connection's queue. Writing to it never fails.
///
/// [`finish`](FrameWriter::finish) commits; a writer that is dropped sends nothing.
#[derive(Debug)]
pub struct FrameWriter<'net> {
    net: &'net mut Net,
    conn: ConnId,
    bytes: Vec<u8>,
    start: usize,
}

impl FrameWriter<'_> {
    /// Lets the frame go on, and end, with the bytes of `shared` from `from` on, which are not
    /// copied. They don't count against [`Limits::max_unsent_bytes`].
    pub fn finish_with(mut self, shared: &SharedFrame, from: usize) {
        let mut bytes = std::mem::take(&mut self.bytes);
        let Some(connection) = live(&mut self.net.connections, self.conn) else {
            return;
        };
        if connection.framing == Framing::Pilcrow {
            escape_frame(&mut bytes, self.start);
        }
        let added = bytes.len() - self.start;
        connection
            .output
            .commit(bytes, added, &mut self.net.output_pool);
        connection.output.push_shared(shared, from);
        self.net.limit_unsent(self.conn);
    }

    /// Ends the frame and queues it. An empty frame is not sent.
    ///
    /// A raw `¶` inside the frame is rewritten as `\u00b6`. On a connection with raw framing the
    /// bytes are queued as they are. If more than [`Limits::max_unsent_bytes`] are now queued, the
    /// connection is cut.
    pub fn finish(mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        let Some(connection) = live(&mut self.net.connections, self.conn) else {
            return;
        };
        if connection.framing == Framing::Pilcrow {
            end_frame(&mut bytes, self.start);
        }
        let added = bytes.len() - self.start;
        connection
            .output
            .commit(bytes, added, &mut self.net.output_pool);
        self.net.limit_unsent(self.conn);
    }
}

impl Drop for FrameWriter<'_> {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.truncate(self.start);
        if let Some(connection) = live(&mut self.net.connections, self.conn)
            && bytes.capacity() > 0
        {
            connection
                .output
                .commit(bytes, 0, &mut self.net.output_pool);
        }
    }
}

impl Write for FrameWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
