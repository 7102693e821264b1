//! How connections end: from the request to close one until its slot is free again.

use super::connection::{CloseMode, CloseReason, State};
use super::handler::Handler;
use super::ids::ConnId;
use super::net::{Net, live};
use super::turn::Reactor;

/// How [`Net::close`] closes a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Close {
    /// At once. Queued frames are lost.
    Now,
    /// After all queued frames are written, within
    /// [`Limits::write_timeout`](super::Limits::write_timeout).
    ///
    /// The peer can read them: its own unread input is discarded for a while
    /// ([`Limits::linger`](super::Limits::linger)) rather than answered by a reset. A connection that
    /// is not established yet is closed at once.
    AfterFlush,
}

impl Net {
    /// Closes the connection.
    ///
    /// `on_close` is called in this turn, or in the next one if this is called from `on_close`,
    /// `on_turn_end` or `on_drained`. From now on nothing can be sent and no frame is received.
    pub fn close(&mut self, conn: ConnId, how: Close) {
        if self.named(conn).is_none() {
            return;
        }
        let mode = match how {
            Close::Now => CloseMode::Abort,
            Close::AfterFlush => CloseMode::FlushAndLinger,
        };
        self.begin_close(conn, CloseReason::Local, mode);
    }

    /// Begins to close a connection. The first reason stays; an abort replaces a softer mode.
    pub(super) fn begin_close(&mut self, id: ConnId, why: CloseReason, mode: CloseMode) {
        let Some(connection) = live(&mut self.connections, id) else {
            return;
        };
        match connection.state {
            State::Connecting | State::Open => {
                let is_open = connection.state == State::Open;
                let mode = if is_open { mode } else { CloseMode::Abort };
                connection.move_to(State::Closing(why, mode));
                self.closing.push_back(id);
            }
            State::Closing(first, _) if mode == CloseMode::Abort => {
                connection.move_to(State::Closing(first, CloseMode::Abort));
            }
            State::Flushing { .. } | State::Lingering { .. } if mode == CloseMode::Abort => {
                self.finish_close(id);
            }
            _ => {}
        }
    }

    /// Takes the next step of a connection in [`State::Flushing`], if it is in that.
    pub(super) fn continue_close(&mut self, id: ConnId) {
        let deadline = self.now + self.limits.linger;
        let Some(connection) = self.connection_mut(id) else {
            return;
        };
        let State::Flushing { linger } = connection.state else {
            return;
        };
        if !connection.output.is_empty() {
            self.make_dirty(id);
            self.set_backlogged(id);
            return;
        }
        let Some(socket) = connection.socket.filter(|_| linger) else {
            return self.finish_close(id);
        };
        let is_readable = connection.readable;
        connection.move_to(State::Lingering { discarded_bytes: 0 });
        if self.system.shutdown_write(socket).is_err() {
            return self.finish_close(id);
        }
        self.arm_input(id, deadline);
        if is_readable {
            self.make_ready(id);
        }
    }

    pub(super) fn finish_close(&mut self, id: ConnId) {
        if let Some(connection) = self.connection_mut(id)
            && connection.state != State::Closed
        {
            connection.move_to(State::Closed);
            self.closed.push(id);
        }
    }

    /// Frees all connections in [`State::Closed`], and their fds for those that wait to be accepted.
    pub(super) fn free_closed(&mut self) {
        if self.closed.is_empty() {
            return;
        }
        while let Some(id) = self.closed.pop() {
            let Some(mut connection) = self.connections.try_remove(id.slot()) else {
                continue;
            };
            let timers = [connection.input_timer, connection.output_timer];
            for timer in timers.into_iter().flatten() {
                self.timers.disarm(timer);
            }
            connection.output.clear(&mut self.output_pool);
            self.refused_connections -= usize::from(connection.refused);
            if let Some(socket) = connection.socket {
                self.system.close(socket);
            }
        }
        self.retry_starved_listeners();
    }
}

impl Reactor {
    /// Calls `on_close` for all connections in [`State::Closing`].
    pub(super) fn report_closed(&mut self, handler: &mut dyn Handler) {
        let net = &mut self.net;
        // Those that end meanwhile wait for the next turn: a handler that connects again at once, to
        // an address that fails at once, must not keep this one from ending.
        for _ in 0..net.closing.len() {
            let Some(id) = net.closing.pop_front() else {
                return;
            };
            let Some(connection) = live(&mut net.connections, id) else {
                continue;
            };
            let State::Closing(why, mode) = connection.state else {
                continue;
            };
            connection.input.release(&mut self.input_pool);
            connection.frames_kept = false;
            connection.move_to(State::Flushing {
                linger: mode == CloseMode::FlushAndLinger,
            });
            net.counters.closed += 1;
            net.owner = connection.owner;
            handler.on_close(net, id, why);
            if mode == CloseMode::Abort {
                net.finish_close(id);
            } else {
                net.continue_close(id);
            }
        }
    }
}
