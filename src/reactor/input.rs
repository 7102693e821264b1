//! How connections come and how their bytes are read.

use std::io::{ErrorKind, IoSlice};
use std::net::SocketAddr;

use super::buffer_pool::BufferPool;
use super::connection::{CloseReason, Farewell, Origin, Reading, State};
use super::framing::{Fed, Flow, Framing};
use super::ids::{ConnId, ListenerId, Token};
use super::net::{Due, Net, live};
use super::{Handler, Reactor};
use crate::sys::SocketId;
use crate::time::Time;

/// Refused connections that may be read their refusal at a time. They live on the fds that are
/// kept free above the limit.
const MAX_REFUSED_CONNECTIONS: usize = 32;

impl Net {
    pub(super) fn listener_ready(&mut self, id: ListenerId) {
        match self.listener_mut(id) {
            Some(listener) if listener.in_ready_list => {}
            Some(listener) => {
                listener.in_ready_list = true;
                self.ready.push_back(Token::Listener(id));
            }
            None => self.counters.stale += 1,
        }
    }

    /// Accepts what waits, within the budget of a turn.
    pub(super) fn accept(&mut self, id: ListenerId, handler: &mut dyn Handler) {
        for _ in 0..self.limits.max_accepts_per_turn {
            // Looked up each time: the handler may have closed it.
            let Some(listener) = self.listener_mut(id) else {
                return;
            };
            listener.in_ready_list = false;
            let socket = listener.socket;
            match self.system.accept(socket) {
                Ok((accepted, peer)) => self.admit(id, accepted, peer, handler),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return,
                    // The connection went before it was accepted. Others may wait.
                    ErrorKind::Interrupted
                    | ErrorKind::ConnectionAborted
                    | ErrorKind::ConnectionReset
                    | ErrorKind::TimedOut
                    | ErrorKind::HostUnreachable
                    | ErrorKind::NetworkUnreachable
                    | ErrorKind::NetworkDown => {}
                    _ => {
                        self.counters.accept_failures += 1;
                        let goes_on = is_want_of_resources(&error) && self.shed(id);
                        if !goes_on {
                            self.retry_accept_later(id);
                            return;
                        }
                    }
                },
            }
        }
        self.listener_ready(id);
    }

    fn admit(
        &mut self,
        listener_id: ListenerId,
        socket: SocketId,
        peer: SocketAddr,
        handler: &mut dyn Handler,
    ) {
        let is_full =
            self.connections.len() - self.refused_connections >= self.limits.max_connections;
        if is_full && self.refused_connections >= MAX_REFUSED_CONNECTIONS {
            self.counters.refused += 1;
            self.system.close(socket);
            return;
        }
        let Some(listener) = self.listener_mut(listener_id) else {
            self.system.close(socket);
            return;
        };
        listener.accepted_again();
        let owner = listener.options.owner;
        let (framing, max_frame_bytes) =
            (listener.options.framing, listener.options.max_frame_bytes);
        let id = self.insert_connection(owner, framing, max_frame_bytes, peer, State::Open);
        if self
            .system
            .watch(socket, Token::Connection(id).pack())
            .is_err()
        {
            // The kernel has no memory to watch one more. Nobody was told of it yet.
            self.connections.try_remove(id.slot());
            self.system.close(socket);
            self.counters.accept_failures += 1;
            return;
        }
        if let Some(connection) = self.connection_mut(id) {
            connection.socket = Some(socket);
            connection.writable = true;
        }
        if is_full {
            self.refuse(listener_id, id);
            return;
        }
        self.counters.accepted += 1;
        self.arm_input(id, self.now + self.limits.first_byte_timeout);
        self.call_as_owner_of(id, |net| {
            handler.on_open(net, id, Origin::Accepted(listener_id));
        });
    }

    /// Says goodbye to a connection that no handler was told of.
    fn refuse(&mut self, listener: ListenerId, id: ConnId) {
        self.counters.refused += 1;
        self.refused_connections += 1;
        let refusal = self
            .listener(listener)
            .map(|listener| listener.options.refusal.clone());
        if let Some(connection) = self.connection_mut(id) {
            connection.refused = true;
            connection.state = State::Flushing { linger: true };
            connection
                .output
                .push_shared(&refusal.unwrap_or_default(), 0);
        }
        self.go_on_with_farewell(id);
    }

    /// Closes one waiting connection where there is no fd to serve it with, so that it need not
    /// wait in vain. `false` if that fails too.
    fn shed(&mut self, id: ListenerId) -> bool {
        let Some(listener) = self.listener(id) else {
            return false;
        };
        let (socket, refusal) = (listener.socket, listener.options.refusal.clone());
        self.system.release_reserve();
        let accepted = self.system.accept(socket);
        if let Ok((socket, _)) = accepted {
            // A courtesy: its buffer is empty, and if this fails so be it.
            let _ = self
                .system
                .write(socket, &[IoSlice::new(refusal.as_bytes())]);
            self.system.close(socket);
            self.counters.shed += 1;
        }
        self.system.keep_reserve();
        accepted.is_ok()
    }

    /// Tries again after a while: no event comes for the connections that wait already.
    fn retry_accept_later(&mut self, id: ListenerId) {
        let now = self.now;
        let Some(listener) = self.listener_mut(id) else {
            return;
        };
        if listener.retry_timer.is_none() {
            let deadline = now + listener.take_retry_pause();
            let timer = self.timers.arm(deadline, Due::Accept(id));
            if let Some(listener) = self.listener_mut(id) {
                listener.retry_timer = Some(timer);
            }
        }
    }

    pub(super) fn retry_accept(&mut self, id: ListenerId) {
        if let Some(listener) = self.listener_mut(id) {
            listener.retry_timer = None;
            self.listener_ready(id);
        }
    }

    /// An fd was freed: those who wait for one need not wait for the timer.
    pub(super) fn retry_starved_listeners(&mut self) {
        self.system.keep_reserve();
        let mut starved = Vec::new();
        for (_, listener) in &mut self.listeners {
            if let Some(timer) = listener.retry_timer.take() {
                self.timers.disarm(timer);
                starved.push(listener.id);
            }
        }
        for id in starved {
            self.listener_ready(id);
        }
    }

    /// Looks at how connecting went. `true`: the connection is open.
    pub(super) fn finish_connect(&mut self, id: ConnId) -> bool {
        let Some(connection) = self.connection_mut(id) else {
            return false;
        };
        let Some(socket) = connection.socket else {
            return false;
        };
        match self.system.connected(socket) {
            Ok(None) => false,
            Ok(_) => {
                self.disarm_input(id);
                if let Some(connection) = self.connection_mut(id) {
                    connection.state = State::Open;
                    connection.writable = true;
                }
                true
            }
            Err(error) => {
                self.mark(id, CloseReason::ConnectFailed(error.kind()), Farewell::Drop);
                false
            }
        }
    }

    pub(super) fn arm_input(&mut self, id: ConnId, deadline: Time) {
        let timer = self.timers.arm(deadline, Due::Input(id));
        if let Some(connection) = self.connection_mut(id) {
            connection.input_timer = Some(timer);
        }
    }

    pub(super) fn disarm_input(&mut self, id: ConnId) {
        let timer = self
            .connection_mut(id)
            .and_then(|connection| connection.input_timer.take());
        if let Some(timer) = timer {
            self.timers.disarm(timer);
        }
    }

    /// The input timer rang: the state tells what it was for, and whether it is too late.
    pub(super) fn input_due(&mut self, id: ConnId, handler: &mut dyn Handler) {
        let now = self.now;
        let frame_timeout = self.limits.frame_timeout;
        let Some(connection) = self.connection_mut(id) else {
            return;
        };
        connection.input_timer = None;
        match connection.state {
            State::Connecting => self.mark(id, CloseReason::ConnectTimeout, Farewell::Drop),
            State::Lingering { .. } => self.die(id),
            State::Open if !connection.has_spoken && connection.reading == Reading::Paused => {
                self.arm_input(id, now + self.limits.first_byte_timeout);
            }
            State::Open if !connection.has_spoken => {
                self.break_limit(id, CloseReason::NoFirstByte, handler);
            }
            State::Open => {
                let Some(since) = connection.frame_since else {
                    return;
                };
                if connection.reading == Reading::Paused {
                    self.arm_input(id, now + frame_timeout);
                } else if now >= since + frame_timeout {
                    self.break_limit(id, CloseReason::FrameTimeout, handler);
                } else {
                    self.arm_input(id, since + frame_timeout);
                }
            }
            State::Marked(..) | State::Flushing { .. } | State::Dead => {}
        }
    }

    /// Lets the handler say why, and closes.
    fn break_limit(&mut self, id: ConnId, why: CloseReason, handler: &mut dyn Handler) {
        self.counters.limits_broken += 1;
        self.call_as_owner_of(id, |net| handler.on_limit(net, id, why));
        self.mark(id, why, Farewell::FlushAndLinger);
    }

    pub(super) fn call_as_owner_of(&mut self, id: ConnId, call: impl FnOnce(&mut Net)) {
        if let Some(connection) = self.connection(id) {
            self.owner = connection.owner;
        }
        call(self);
    }

    fn is_delivering(&self, id: ConnId) -> bool {
        self.connection(id)
            .is_some_and(|connection| connection.is_delivering())
    }
}

impl Reactor {
    /// Serves one connection of the ready list: what was kept of it, then what can be read.
    pub(super) fn serve_input(&mut self, id: ConnId, handler: &mut dyn Handler) {
        let Some(connection) = self.net.connection_mut(id) else {
            return;
        };
        connection.in_ready_list = false;
        match connection.state {
            State::Open => {}
            State::Lingering { .. } => return self.discard_input(id),
            State::Connecting | State::Marked(..) | State::Flushing { .. } | State::Dead => return,
        }

        let resumes = connection.frames_kept && connection.reading == Reading::On;
        let mut frames_left = self.net.limits.max_frames_per_turn;
        let mut bytes_left = self.scratch.len();
        if resumes {
            let pool = &mut self.input_pool;
            deliver(&mut self.net, pool, handler, id, &[], &mut frames_left);
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
                Ok(0) => self.net.mark(id, CloseReason::PeerClosed, Farewell::Flush),
                Ok(count) => {
                    // A short read found the end of what there is, but for the peer's own end,
                    // of which edge-triggered readiness has told already.
                    if count < bytes_left && !connection.closed_hint {
                        connection.readable = false;
                    }
                    bytes_left -= count;
                    connection.read_bytes += count as u64;
                    self.net.counters.bytes_read += count as u64;
                    let bytes = self.scratch.get(..count).unwrap_or_default();
                    let pool = &mut self.input_pool;
                    deliver(&mut self.net, pool, handler, id, bytes, &mut frames_left);
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => {
                        connection.readable = false;
                        connection.closed_hint = false;
                    }
                    ErrorKind::Interrupted => {}
                    kind => self.net.mark(id, failure(kind), Farewell::Drop),
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

    /// Reads what nobody wants any more, so that closing does not reset what was written.
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
            Ok(0) => self.net.die(id),
            Ok(count) => {
                *discarded_bytes += count;
                if *discarded_bytes > limit {
                    self.net.die(id);
                } else {
                    self.net.make_ready(id);
                }
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => connection.readable = false,
                ErrorKind::Interrupted => self.net.make_ready(id),
                _ => self.net.die(id),
            },
        }
    }
}

/// Hands the frames that `bytes` complete to the handler, within what is left of its budget.
fn deliver(
    net: &mut Net,
    pool: &mut BufferPool,
    handler: &mut dyn Handler,
    id: ConnId,
    bytes: &[u8],
    frames_left: &mut usize,
) {
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
            Flow::Stop
        } else {
            Flow::Continue
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
                // It waits for more, which is not what the budget is for.
                return (0, Flow::Continue);
            }
            (consumed, flow(net, frames_left))
        }),
    };

    let now = net.now;
    let frame_timeout = net.limits.frame_timeout;
    let unfinished = fed != Fed::Stopped && !input.unfinished().is_empty();
    let Some(connection) = net.connection_mut(id) else {
        return;
    };
    connection.frames_kept = fed == Fed::Stopped && !input.unfinished().is_empty();
    if !unfinished {
        connection.frame_since = None;
    } else if any_frame || connection.frame_since.is_none() {
        connection.frame_since = Some(now);
    }
    let first_frame = !connection.first_frame_done && framing == Framing::Pilcrow;
    connection.first_frame_done |= any_frame;
    if !connection.has_spoken && (any_frame || !input.unfinished().is_empty()) {
        connection.has_spoken = true;
        // It was armed for the first byte; a frame's deadline is nearer.
        net.disarm_input(id);
    }
    let has_timer = net
        .connection(id)
        .is_some_and(|connection| connection.input_timer.is_some());
    if unfinished && !has_timer {
        net.arm_input(id, now + frame_timeout);
    }

    if fed == Fed::TooLarge {
        net.break_limit(id, CloseReason::FrameTooLarge, handler);
    } else if first_frame && !any_frame && unfinished {
        net.call_as_owner_of(id, |net| {
            handler.on_first_bytes(net, id, input.unfinished())
        });
    }
    match net.connection_mut(id) {
        Some(connection) if connection.state == State::Open => connection.input = input,
        _ => input.release(pool),
    }
}

/// Whether accepting failed for want of fds or memory. `std` has no kinds for these.
fn is_want_of_resources(error: &std::io::Error) -> bool {
    const ENOMEM: i32 = 12;
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    const ENOBUFS: i32 = if cfg!(target_os = "linux") { 105 } else { 55 };
    let code = error.raw_os_error();
    code.is_some_and(|code| [ENOMEM, ENFILE, EMFILE, ENOBUFS].contains(&code))
}

/// What an error of reading or writing says about the peer.
pub(super) fn failure(kind: ErrorKind) -> CloseReason {
    match kind {
        ErrorKind::TimedOut | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
            CloseReason::PeerVanished
        }
        kind => CloseReason::Failed(kind),
    }
}
