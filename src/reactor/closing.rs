//! Closing connections: from the request to close one until its slot is free again.

use super::connection::{Close, CloseReason, State};
use super::handler::Handler;
use super::ids::ConnId;
use super::net::{Net, live};
use super::turn::Reactor;

impl Net {
    /// Closes the connection.
    ///
    /// `on_close` is called in this turn, or in the next one if this is called from `on_close`,
    /// `on_turn_end` or `on_drained`. From now on nothing can be sent, and no frame is received.
    pub fn close(&mut self, conn: ConnId, how: Close) {
        if self.named(conn).is_some() {
            self.begin_close(conn, CloseReason::Local, how);
        }
    }

    /// Begins to close a connection. The first reason is kept; [`Close::Now`] replaces the other
    /// mode.
    pub(super) fn begin_close(&mut self, id: ConnId, why: CloseReason, how: Close) {
        let Some(connection) = live(&mut self.connections, id) else {
            return;
        };
        match connection.state {
            State::Connecting | State::Open => {
                let is_open = connection.state == State::Open;
                let how = if is_open { how } else { Close::Now };
                connection.move_to(State::Closing(why, how));
                self.closing.push_back(id);
            }
            State::Closing(first, _) if how == Close::Now => {
                connection.move_to(State::Closing(first, how));
            }
            State::Flushing { .. } | State::Lingering { .. } if how == Close::Now => {
                self.finish_close(id);
            }
            _ => {}
        }
    }

    /// Takes the next step of a connection in [`State::Flushing`], if it is in that state.
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
        let (true, Some(socket)) = (linger, connection.socket) else {
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

    /// Frees all connections in [`State::Closed`]. Their fds are then free for connections that
    /// wait to be accepted.
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
            if connection.refused {
                self.refused_connections -= 1;
            } else if let Some(totals) = self.owners.get_mut(connection.owner.index()) {
                totals.connections -= 1;
            }
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
        // Connections that end meanwhile are reported in the next turn. Otherwise a handler that
        // reconnects at once, to an address that fails at once, would keep this turn from ending.
        for _ in 0..net.closing.len() {
            let Some(id) = net.closing.pop_front() else {
                return;
            };
            let Some(connection) = live(&mut net.connections, id) else {
                continue;
            };
            let State::Closing(why, how) = connection.state else {
                continue;
            };
            connection.input.release(&mut self.input_pool);
            connection.frames_kept = false;
            // After the peer's end there is no unread input that could destroy written bytes.
            let linger = why != CloseReason::PeerClosed;
            connection.move_to(State::Flushing { linger });
            net.counters.closed += 1;
            net.owner = connection.owner;
            handler.on_close(net, id, why);
            match how {
                Close::Now => net.finish_close(id),
                Close::AfterFlush => net.continue_close(id),
            }
        }
    }
}
