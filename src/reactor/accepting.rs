//! Accepting connections, and refusing those beyond the limits.

use std::io::{ErrorKind, IoSlice};
use std::net::SocketAddr;

use super::connection::{Origin, State};
use super::handler::Handler;
use super::ids::{ConnId, ListenerId, Token};
use super::listener::{FIRST_RETRY_PAUSE, LONGEST_RETRY_PAUSE};
use super::net::{Due, Net};
use crate::sys::SocketId;

/// Refused connections that may receive their refusal at a time. They use the fds that are kept
/// free above the limit.
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

    /// Accepts waiting connections, within the budget of a turn.
    pub(super) fn accept(&mut self, id: ListenerId, handler: &mut dyn Handler) {
        for _ in 0..self.limits.max_accepts_per_turn {
            // Looked up each time, since the handler may have closed it.
            let Some(listener) = self.listener_mut(id) else {
                return;
            };
            listener.in_ready_list = false;
            let socket = listener.socket;
            match self.system.accept(socket) {
                Ok((accepted, peer)) => self.admit(id, accepted, peer, handler),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return,
                    // The connection ended before it was accepted. Others may wait.
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
        listener.next_retry_pause = FIRST_RETRY_PAUSE;
        let owner = listener.options.owner;
        let (framing, max_frame_bytes) =
            (listener.options.framing, listener.options.max_frame_bytes);
        let state = if is_full {
            State::Flushing { linger: true }
        } else {
            State::Open
        };
        let id = self.insert_connection(owner, framing, max_frame_bytes, peer, state);
        if self
            .system
            .watch(socket, Token::Connection(id).pack())
            .is_err()
        {
            // The kernel has no memory to watch one more. The handler does not know it yet.
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

    /// Sends the refusal of the listener to a connection that no handler knows.
    fn refuse(&mut self, listener: ListenerId, id: ConnId) {
        self.counters.refused += 1;
        self.refused_connections += 1;
        let refusal = self
            .listener(listener)
            .map(|listener| listener.options.refusal.clone());
        if let Some(connection) = self.connection_mut(id) {
            connection.refused = true;
            connection
                .output
                .push_shared(&refusal.unwrap_or_default(), 0);
        }
        self.continue_close(id);
    }

    /// Closes one waiting connection where there is no fd to serve it with. Returns `false` if that
    /// fails too.
    fn shed(&mut self, id: ListenerId) -> bool {
        let Some(listener) = self.listener(id) else {
            return false;
        };
        let (socket, refusal) = (listener.socket, listener.options.refusal.clone());
        self.system.release_reserve();
        let accepted = self.system.accept(socket);
        if let Ok((socket, _)) = accepted {
            // The send buffer is empty, so this rarely fails; if it does, nothing is lost.
            let _ = self
                .system
                .write(socket, &[IoSlice::new(refusal.as_bytes())]);
            self.system.close(socket);
            self.counters.shed += 1;
        }
        self.system.keep_reserve();
        accepted.is_ok()
    }

    /// Retries after a while: no event comes for the connections that wait already.
    fn retry_accept_later(&mut self, id: ListenerId) {
        if let Some(listener) = self.listeners.get_mut(id.slot())
            && listener.id == id
            && listener.retry_timer.is_none()
        {
            let deadline = self.now + listener.next_retry_pause;
            listener.next_retry_pause = (listener.next_retry_pause * 2).min(LONGEST_RETRY_PAUSE);
            listener.retry_timer = Some(self.timers.arm(deadline, Due::Accept(id)));
        }
    }

    pub(super) fn retry_accept(&mut self, id: ListenerId) {
        if let Some(listener) = self.listener_mut(id) {
            listener.retry_timer = None;
            self.listener_ready(id);
        }
    }

    /// Retries now that an fd was freed, instead of at the timer.
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
}

/// Returns whether accepting failed for want of fds or memory. `std` has no kinds for these.
fn is_want_of_resources(error: &std::io::Error) -> bool {
    const ENOMEM: i32 = 12;
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    const ENOBUFS: i32 = if cfg!(target_os = "linux") { 105 } else { 55 };
    let code = error.raw_os_error();
    code.is_some_and(|code| [ENOMEM, ENFILE, EMFILE, ENOBUFS].contains(&code))
}
