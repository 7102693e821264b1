//! Reading: input is read and passed to the handler.

use std::io::ErrorKind;
use std::ops::ControlFlow;

use super::connection::{Close, CloseReason, Received, State};
use super::framing::{Fed, Framing};
use super::handler::Handler;
use super::ids::ConnId;
use super::net::{Net, live};
use super::turn::Reactor;

impl Reactor {
    /// Serves one connection of the ready list: first its kept input, then the socket.
    pub(super) fn serve_input(&mut self, id: ConnId, handler: &mut dyn Handler) {
        let Some(connection) = self.net.connection_mut(id) else {
            return;
        };
        connection.in_ready_list = false;
        if let State::Lingering { .. } = connection.state {
            return self.discard_input(id);
        }
        let resumes = connection.frames_kept && connection.is_delivering();
        let mut frames_left = self.net.limits.max_frames_per_turn;
        let mut bytes_left = self.scratch.len();
        if resumes {
            self.deliver(id, 0, handler, &mut frames_left);
        }
        while let Some(connection) = live(&mut self.net.connections, id)
            && connection.is_delivering()
            && connection.readable
            && !connection.frames_kept
            && bytes_left > 0
            && let Some(socket) = connection.socket
        {
            let into = self.scratch.get_mut(..bytes_left).unwrap_or_default();
            match self.net.system.read(socket, into) {
                Ok(0) => self
                    .net
                    .begin_close(id, CloseReason::PeerClosed, Close::AfterFlush),
                Ok(count) => {
                    // A short read has emptied the socket, except for the peer's end, which
                    // edge-triggered readiness has already reported.
                    if count < bytes_left && !connection.closed_hint {
                        connection.readable = false;
                    }
                    bytes_left -= count;
                    connection.read_bytes += count as u64;
                    self.net.counters.bytes_read += count as u64;
                    self.deliver(id, count, handler, &mut frames_left);
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => {
                        connection.readable = false;
                        connection.closed_hint = false;
                    }
                    ErrorKind::Interrupted => {}
                    kind => self
                        .net
                        .begin_close(id, CloseReason::of_failure(kind), Close::Now),
                },
            }
        }
        if let Some(connection) = self.net.connection(id)
            && connection.is_delivering()
            && (connection.readable || connection.frames_kept)
        {
            self.net.make_ready(id);
        }
    }

    /// Passes the frames in the first `count` bytes read to the handler. Stops at the end of the
    /// connection's budget.
    fn deliver(
        &mut self,
        id: ConnId,
        count: usize,
        handler: &mut dyn Handler,
        frames_left: &mut usize,
    ) {
        let (net, pool) = (&mut self.net, &mut self.input_pool);
        let bytes = self.scratch.get(..count).unwrap_or_default();
        let Some(connection) = net.connection_mut(id) else {
            return;
        };
        let mut input = std::mem::take(&mut connection.input);
        let (framing, max_frame_bytes) = (connection.framing, connection.max_frame_bytes);
        let owner = connection.owner;

        let mut any_frame = false;
        let flow = |net: &Net, frames_left: &mut usize| {
            *frames_left = frames_left.saturating_sub(1);
            if *frames_left == 0 || !net.is_delivering(id) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let fed = match framing {
            Framing::Pilcrow => input.feed(bytes, max_frame_bytes, pool, &mut |frame| {
                net.owner = owner;
                net.counters.frames_read += 1;
                any_frame = true;
                handler.on_frame(net, id, frame);
                flow(net, frames_left)
            }),
            Framing::Raw => input.feed_raw(bytes, max_frame_bytes, pool, &mut |bytes| {
                net.owner = owner;
                let consumed = handler.on_bytes(net, id, bytes);
                any_frame |= consumed > 0;
                if consumed == 0 && net.is_delivering(id) {
                    // The handler waits for more bytes, which costs no budget.
                    return (0, ControlFlow::Continue(()));
                }
                (consumed, flow(net, frames_left))
            }),
        };

        let is_kept = !input.unfinished().is_empty();
        let is_unfinished = is_kept && fed != Fed::Stopped;
        let Some(connection) = live(&mut net.connections, id) else {
            return;
        };
        connection.frames_kept = is_kept && fed == Fed::Stopped;
        let is_first_input = connection.received == Received::Nothing && (any_frame || is_kept);
        if is_first_input && let Some(timer) = connection.input_timer.take() {
            // The timer was armed for the first byte; the deadline of a frame is earlier.
            net.timers.disarm(timer);
        }
        if any_frame {
            connection.received = Received::First;
        } else if is_kept {
            connection.received = connection.received.max(Received::PartOfFirst);
        }
        let is_first = connection.received < Received::First;
        if is_unfinished {
            if any_frame || is_first_input || connection.waiting_since.is_none() {
                connection.waiting_since = Some(net.now);
            }
            if connection.input_timer.is_none() {
                net.arm_input(id, net.now + net.limits.frame_timeout);
            }
        } else if connection.received > Received::Nothing {
            connection.waiting_since = None;
        }

        if fed == Fed::TooLarge {
            net.break_limit(id, CloseReason::FrameTooLarge, handler);
        } else if framing == Framing::Pilcrow && is_first && is_unfinished {
            net.owner = owner;
            handler.on_first_bytes(net, id, input.unfinished());
        }
        match net.connection_mut(id) {
            Some(connection) if connection.state == State::Open => connection.input = input,
            _ => input.release(pool),
        }
    }

    /// Reads and drops input. Otherwise closing would reset the connection before written bytes
    /// arrive.
    fn discard_input(&mut self, id: ConnId) {
        let limit = self.net.limits.max_linger_bytes;
        let Some(connection) = live(&mut self.net.connections, id) else {
            return;
        };
        let (State::Lingering { discarded_bytes }, Some(socket)) =
            (&mut connection.state, connection.socket)
        else {
            return;
        };
        match self.net.system.read(socket, &mut self.scratch) {
            Ok(0) => self.net.finish_close(id),
            Ok(count) => {
                *discarded_bytes += count;
                if *discarded_bytes > limit {
                    self.net.finish_close(id);
                } else {
                    self.net.make_ready(id);
                }
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => connection.readable = false,
                ErrorKind::Interrupted => self.net.make_ready(id),
                _ => self.net.finish_close(id),
            },
        }
    }
}
