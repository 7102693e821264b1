//! The reactor: the order of the steps of a turn.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use super::buffer_pool::BufferPool;
use super::connection::State;
use super::handler::Handler;
use super::ids::{Owner, Token};
use super::limits::Limits;
use super::net::{Due, Net};
use crate::sys::{Event, OsSystem, System, Waker};
use crate::time::Time;

/// The event loop. The [module](super) describes its turns.
pub struct Reactor {
    pub(super) net: Net,
    events: Vec<Event>,
    /// The read buffer of all connections. Frames are passed to the handler in place.
    pub(super) scratch: Vec<u8>,
    pub(super) input_pool: BufferPool,
    woken: bool,
    /// While set, timers do not expire until all input is read, or until this time passes.
    catching_up_until: Option<Time>,
    /// Time at which the next turn was due, when the last one ended.
    due_at: Option<Time>,
    /// The last poll filled its buffer of events.
    may_have_more_events: bool,
}

/// A timer this late shows that this process was stopped, and not its peers.
const STALL: Duration = Duration::from_secs(1);
/// Maximum time that timers then wait for input to be read.
const LONGEST_CATCH_UP: Duration = Duration::from_secs(1);

impl Reactor {
    /// Creates a reactor on the sockets of the operating system.
    ///
    /// # Errors
    ///
    /// Returns an error of the system, such as too many open files.
    pub fn new(limits: Limits) -> io::Result<Reactor> {
        Ok(Reactor::on(Box::new(OsSystem::new()?), limits))
    }

    pub(crate) fn on(system: Box<dyn System>, limits: Limits) -> Reactor {
        Reactor {
            scratch: vec![0; limits.max_read_bytes_per_turn.max(1)],
            net: Net::new(system, limits),
            events: Vec::new(),
            input_pool: BufferPool::default(),
            woken: false,
            catching_up_until: None,
            due_at: None,
            may_have_more_events: false,
        }
    }

    /// Returns the [`Net`] that handlers receive, for use between turns.
    pub fn net(&mut self) -> &mut Net {
        self.net.now = self.net.system.now().max(self.net.now);
        &mut self.net
    }

    /// Returns a handle with which another thread ends the wait of a turn. It is the only part of a
    /// reactor that is `Send`.
    pub fn waker(&self) -> Waker {
        self.net.system.waker()
    }

    /// Reads the clock. Unlike [`Net::now`] it advances within a turn.
    pub fn now(&mut self) -> Time {
        self.net.system.now()
    }

    /// Returns the time until which a host loop may sleep on the fd of [`Reactor::as_fd`].
    ///
    /// That is [`Net::now`] if work is left over, and `None` if all work depends on events. It may
    /// be earlier than the next timer: then the next turn finds nothing due, and this returns a
    /// later time.
    pub fn next_deadline(&self) -> Option<Time> {
        if self.has_work() {
            return Some(self.net.now);
        }
        self.net.timers.next_deadline()
    }

    /// Runs one turn: waits for events for at most `wait`, then serves them within [`Limits`].
    ///
    /// `None` waits without a limit, `Some(Duration::ZERO)` does not wait. A turn may find nothing
    /// to do.
    ///
    /// # Errors
    ///
    /// Returns an error of the wait for events, which changes nothing.
    pub fn turn(&mut self, wait: Option<Duration>, handler: &mut dyn Handler) -> io::Result<()> {
        self.poll(wait)?;
        self.net.counters.turns += 1;
        let late = self
            .due_at
            .is_some_and(|due| self.net.now.saturating_since(due) > STALL);
        if late && self.catching_up_until.is_none() {
            self.net.counters.stalls += 1;
            self.catching_up_until = Some(self.net.now + LONGEST_CATCH_UP);
        }
        let quiet = self.events.is_empty() && self.net.ready.is_empty();

        self.take_events(handler);
        self.serve_ready(handler);

        if self
            .catching_up_until
            .is_none_or(|until| quiet || self.net.now >= until)
        {
            self.catching_up_until = None;
            self.expire_timers(handler);
        }
        self.net.owner = Owner::default();
        if std::mem::take(&mut self.woken) {
            handler.on_wake(&mut self.net);
        }
        self.report_closed(handler);
        self.net.owner = Owner::default();
        handler.on_turn_end(&mut self.net);

        self.net.flush(handler);
        self.net.free_closed();
        self.net.owner = Owner::default();
        self.due_at = self.net.timers.next_deadline();
        let took = self.net.system.now().saturating_since(self.net.now);
        self.net.counters.turn_time += took;
        Ok(())
    }

    /// Returns whether the next turn has work even without events.
    pub(super) fn has_work(&self) -> bool {
        !self.net.ready.is_empty()
            || !self.net.dirty.is_empty()
            || !self.net.closing.is_empty()
            || !self.net.closed.is_empty()
            || self.catching_up_until.is_some()
            || self.may_have_more_events
    }

    fn poll(&mut self, wait: Option<Duration>) -> io::Result<()> {
        let has_work = self.has_work();
        let net = &mut self.net;
        let started = net.system.now();
        let timeout = if has_work {
            Some(Duration::ZERO)
        } else {
            let deadline = net.timers.next_deadline();
            let until_timer = deadline.map(|deadline| deadline.saturating_since(started));
            wait.into_iter().chain(until_timer).min()
        };
        let mut left = timeout;
        self.events.clear();
        self.may_have_more_events = loop {
            match net.system.poll(&mut self.events, left) {
                Ok(is_full) => break is_full,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    let passed = net.system.now().saturating_since(started);
                    left = timeout.map(|timeout| timeout.saturating_sub(passed));
                }
                Err(error) => return Err(error),
            }
        };
        net.now = net.system.now().max(net.now);
        Ok(())
    }

    /// Records readiness. Reading and accepting are done from the ready list.
    fn take_events(&mut self, handler: &mut dyn Handler) {
        let net = &mut self.net;
        for event in self.events.drain(..) {
            let Event::Socket {
                token,
                readable,
                writable,
                closed,
            } = event
            else {
                self.woken = true;
                continue;
            };
            let id = match Token::unpack(token) {
                Token::Connection(id) => id,
                Token::Listener(id) => {
                    net.listener_ready(id);
                    continue;
                }
            };
            let Some(connection) = net.named(id) else {
                continue;
            };
            connection.closed_hint |= closed;
            connection.readable |= readable || closed;
            // A failed connection may be reported only as closed: writing then finds the error.
            connection.writable |= writable || closed;
            let is_readable = connection.readable;
            if connection.state == State::Connecting && !net.finish_connect(id, handler) {
                continue;
            }
            if is_readable {
                net.make_ready(id);
            }
            net.make_dirty(id);
        }
    }

    fn serve_ready(&mut self, handler: &mut dyn Handler) {
        // Connections that become ready meanwhile wait for the next turn.
        for _ in 0..self.net.ready.len() {
            match self.net.ready.pop_front() {
                Some(Token::Listener(id)) => self.net.accept(id, handler),
                Some(Token::Connection(id)) => self.serve_input(id, handler),
                None => return,
            }
        }
    }

    fn expire_timers(&mut self, handler: &mut dyn Handler) {
        let now = self.net.now;
        while let Some((timer, due)) = self.net.timers.pop_expired(now) {
            match due {
                Due::Handler { owner, tag } => {
                    self.net.owner = owner;
                    handler.on_timer(&mut self.net, timer, tag);
                }
                Due::Input(id) => self.net.input_due(id, handler),
                Due::Output(id) => self.net.output_due(id),
                Due::Accept(id) => self.net.retry_accept(id),
            }
        }
    }
}

impl AsFd for Reactor {
    /// Returns an fd that is readable while the next turn has events to serve.
    ///
    /// A host loop watches it (edge- or level-triggered) and turns the reactor without waiting.
    /// Timers and remaining work do not make it readable: see [`Reactor::next_deadline`].
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.net.system.poll_fd()
    }
}

impl std::fmt::Debug for Reactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reactor")
            .field("net", &self.net)
            .finish_non_exhaustive()
    }
}
