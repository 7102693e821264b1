//! How what was queued is written, and how connections end.

use std::io::{ErrorKind, IoSlice};
use std::time::Duration;

use super::Handler;
use super::buffer_pool::BufferPool;
use super::connection::{Farewell, State};
use super::ids::{ConnId, Owner};
use super::input::failure;
use super::net::{Due, Net, live};
use crate::time::Time;

/// Blocks that one `writev` takes. A queue rarely has more than two.
const SLICES_PER_WRITE: usize = 16;
/// Bytes that one `writev` takes: a long list for one peer must not hold up short answers to others.
const BYTES_PER_WRITE: usize = 128 << 10;
/// How much is written between two looks at the clock: reading it is cheap but not free.
const CONNECTIONS_PER_CLOCK: usize = 16;
const BYTES_PER_CLOCK: usize = 256 << 10;

impl Net {
    /// Writes what is queued, until all is written or the turn's time for it is over.
    pub(super) fn flush(&mut self, handler: &mut dyn Handler) {
        self.was_flush_cut = false;
        if self.dirty.is_empty() {
            return;
        }
        let started = self.system.now();
        let until = started + self.limits.max_flush_per_turn;
        let (mut connections, mut bytes) = (0, 0);
        let mut now = started;
        // Whose connections are being written, and since when.
        let mut whose: Option<(Owner, Time)> = None;
        while let Some(id) = self.dirty.pop_front() {
            let owner = live(&mut self.connections, id).map(|connection| connection.owner);
            match (whose, owner) {
                (Some((before, since)), Some(owner)) if before != owner => {
                    now = self.system.now();
                    self.note_flush_time(before, now.saturating_since(since));
                    whose = Some((owner, now));
                }
                (None, Some(owner)) => whose = Some((owner, started)),
                _ => {}
            }
            bytes += self.write_to(id, handler);
            connections += 1;
            if connections >= CONNECTIONS_PER_CLOCK || bytes >= BYTES_PER_CLOCK {
                (connections, bytes) = (0, 0);
                now = self.system.now();
                if now >= until {
                    break;
                }
            }
        }
        if connections > 0 {
            now = self.system.now();
        }
        if let Some((owner, since)) = whose {
            self.note_flush_time(owner, now.saturating_since(since));
        }
        self.counters.flush_time += now.saturating_since(started);

        self.was_flush_cut = !self.dirty.is_empty();
        // Those whose turn did not come have left bytes too: their handler hears when it is done.
        for index in 0..self.dirty.len() {
            if let Some(id) = self.dirty.get(index).copied() {
                self.set_backlogged(id);
            }
        }
    }

    fn note_flush_time(&mut self, owner: Owner, took: Duration) {
        if let Some(so_far) = self.flush_times.get_mut(owner.index()) {
            *so_far += took;
        }
    }

    /// One write to one connection. Returns how many bytes it took.
    fn write_to(&mut self, id: ConnId, handler: &mut dyn Handler) -> usize {
        let Some(connection) = live(&mut self.connections, id) else {
            return 0;
        };
        connection.in_dirty_list = false;
        if !matches!(connection.state, State::Open | State::Flushing { .. }) || !connection.writable
        {
            return 0;
        }
        let Some(socket) = connection.socket else {
            return 0;
        };
        let mut slices = [IoSlice::new(&[]); SLICES_PER_WRITE];
        let used = connection.output.fill(&mut slices, BYTES_PER_WRITE);
        let slices = slices.get(..used).unwrap_or_default();
        if slices.is_empty() {
            return 0;
        }
        let offered: usize = slices.iter().map(|slice| slice.len()).sum();

        match self.system.write(socket, slices) {
            Ok(written) => {
                connection.output.advance(written, &mut self.output_pool);
                connection.written_bytes += written as u64;
                if connection.state == State::Open {
                    // A farewell has its time as a whole.
                    connection.write_progress_at = self.now;
                }
                self.counters.writes += 1;
                self.counters.bytes_written += written as u64;
                if connection.output.is_empty() {
                    self.drained(id, handler);
                } else if written < offered {
                    connection.writable = false;
                    self.set_backlogged(id);
                } else {
                    self.make_dirty(id);
                }
                written
            }
            Err(error) => {
                match error.kind() {
                    ErrorKind::WouldBlock => {
                        connection.writable = false;
                        self.set_backlogged(id);
                    }
                    ErrorKind::Interrupted => self.make_dirty(id),
                    kind => self.mark(id, failure(kind), Farewell::Drop),
                }
                0
            }
        }
    }

    fn set_backlogged(&mut self, id: ConnId) {
        let (now, write_timeout) = (self.now, self.limits.write_timeout);
        let Some(connection) = self.connection_mut(id) else {
            return;
        };
        if !connection.backlogged {
            connection.backlogged = true;
            connection.write_progress_at = now;
        }
        if connection.output_timer.is_none() {
            let timer = self.timers.arm(now + write_timeout, Due::Output(id));
            if let Some(connection) = self.connection_mut(id) {
                connection.output_timer = Some(timer);
            }
        }
    }

    fn drained(&mut self, id: ConnId, handler: &mut dyn Handler) {
        let Some(connection) = self.connection_mut(id) else {
            return;
        };
        let was_backlogged = std::mem::take(&mut connection.backlogged);
        match connection.state {
            State::Flushing { .. } => self.go_on_with_farewell(id),
            State::Open if was_backlogged => {
                self.call_as_owner_of(id, |net| handler.on_drained(net, id));
            }
            _ => {}
        }
    }

    /// The output timer rang: cut the connection if its peer has taken nothing for too long.
    pub(super) fn output_due(&mut self, id: ConnId) {
        let (now, write_timeout) = (self.now, self.limits.write_timeout);
        let Some(connection) = self.connection_mut(id) else {
            return;
        };
        connection.output_timer = None;
        if !connection.backlogged {
            return;
        }
        let deadline = connection.write_progress_at + write_timeout;
        // One that can be written to is, later in this turn.
        if now < deadline || connection.writable {
            let timer = self.timers.arm(deadline, Due::Output(id));
            if let Some(connection) = self.connection_mut(id) {
                connection.output_timer = Some(timer);
            }
            return;
        }
        self.counters.limits_broken += 1;
        self.mark(id, super::CloseReason::WriteTimeout, Farewell::Drop);
    }

    /// The next step of a connection in [`State::Flushing`]: write the rest, or see it out.
    pub(super) fn go_on_with_farewell(&mut self, id: ConnId) {
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
            return self.die(id);
        };
        connection.state = State::Lingering { discarded_bytes: 0 };
        if self.system.shutdown_write(socket).is_err() {
            return self.die(id);
        }
        self.disarm_input(id);
        self.arm_input(id, deadline);
        if self
            .connection(id)
            .is_some_and(|connection| connection.readable)
        {
            self.make_ready(id);
        }
    }

    pub(super) fn die(&mut self, id: ConnId) {
        if let Some(connection) = self.connection_mut(id)
            && connection.state != State::Dead
        {
            connection.state = State::Dead;
            self.dead.push(id);
        }
    }

    pub(super) fn free(&mut self, id: ConnId, input_pool: &mut BufferPool) {
        if self.connection(id).is_none() {
            return;
        }
        let mut connection = self.connections.remove(id.slot());
        let timers = [connection.input_timer, connection.output_timer];
        for timer in timers.into_iter().flatten() {
            self.timers.disarm(timer);
        }
        connection.input.release(input_pool);
        connection.output.clear(&mut self.output_pool);
        if connection.refused {
            self.refused_connections -= 1;
        }
        if let Some(socket) = connection.socket {
            self.system.close(socket);
        }
    }
}
