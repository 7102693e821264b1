//! Writing the queues of connections.

use std::io::{ErrorKind, IoSlice};
use std::time::Duration;

use super::connection::{Close, CloseReason, State};
use super::handler::Handler;
use super::ids::{ConnId, Owner};
use super::net::{Net, live};

/// Maximum number of blocks of one `writev`. A queue rarely has more than two.
const SLICES_PER_WRITE: usize = 16;
/// Maximum number of bytes of one `writev`: a long list for one peer must not delay short replies
/// to others.
const BYTES_PER_WRITE: usize = 128 << 10;
/// Number of connections written to between two readings of the clock.
const CONNECTIONS_PER_CLOCK: usize = 16;
const BYTES_PER_CLOCK: usize = 256 << 10;

impl Net {
    /// Writes the queues until they are empty or the time of the turn for writing is over.
    pub(super) fn flush(&mut self, handler: &mut dyn Handler) {
        for totals in &mut self.owners {
            totals.was_flush_cut = false;
        }
        let Some(first) = self.dirty.front().copied() else {
            return;
        };
        let started = self.system.now();
        let until = started + self.limits.max_flush_per_turn;
        let (mut connections, mut bytes) = (0, 0);
        // The owner of the connections that are being written, and since when.
        let (mut owner, mut since) = (self.owner_of(first), started);
        let mut now = started;
        while let Some(id) = self.dirty.pop_front() {
            let next_owner = self.owner_of(id);
            if next_owner != owner {
                now = self.system.now();
                self.charge(owner, now.saturating_since(since));
                (owner, since) = (next_owner, now);
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
        self.charge(owner, now.saturating_since(since));
        self.counters.flush_time += now.saturating_since(started);

        // The remaining connections have unwritten bytes too: `on_drained` follows for them.
        for index in 0..self.dirty.len() {
            if let Some(id) = self.dirty.get(index).copied() {
                self.set_backlogged(id);
                let owner = self.owner_of(id);
                if let Some(totals) = self.owners.get_mut(owner.index()) {
                    totals.was_flush_cut = true;
                }
            }
        }
    }

    fn charge(&mut self, owner: Owner, took: Duration) {
        if let Some(totals) = self.owners.get_mut(owner.index()) {
            totals.flush_time += took;
        }
    }

    /// Writes once to a connection. Returns the number of bytes written.
    fn write_to(&mut self, id: ConnId, handler: &mut dyn Handler) -> usize {
        let Some(connection) = live(&mut self.connections, id) else {
            return 0;
        };
        connection.in_dirty_list = false;
        let has_output = matches!(connection.state, State::Open | State::Flushing { .. });
        let (true, Some(socket)) = (has_output && connection.writable, connection.socket) else {
            return 0;
        };
        let mut slices = [IoSlice::new(&[]); SLICES_PER_WRITE];
        let used = connection.output.fill(&mut slices, BYTES_PER_WRITE);
        let slices = slices.get(..used).unwrap_or_default();
        let offered: usize = slices.iter().map(|slice| slice.len()).sum();

        match self.system.write(socket, slices) {
            Ok(written) => {
                connection.output.advance(written, &mut self.output_pool);
                connection.written_bytes += written as u64;
                if connection.state == State::Open {
                    // The flush of a closing connection has a single deadline.
                    connection.write_progress_at = self.now;
                }
                self.counters.writes += 1;
                self.counters.bytes_written += written as u64;
                if connection.output.is_empty() {
                    let was_backlogged = std::mem::take(&mut connection.backlogged);
                    match connection.state {
                        State::Flushing { .. } => self.continue_close(id),
                        _ if was_backlogged => {
                            self.owner = connection.owner;
                            handler.on_drained(self, id);
                        }
                        _ => {}
                    }
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
                    kind => self.begin_close(id, CloseReason::of_failure(kind), Close::Now),
                }
                0
            }
        }
    }
}
