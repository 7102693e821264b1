//! Listening, accepting connections, and refusing those beyond the limits.

use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use super::connection::{Connection, Origin, State};
use super::handler::Handler;
use super::ids::{ConnId, ListenerId, Token};
use super::listener::{FIRST_RETRY_PAUSE, LONGEST_RETRY_PAUSE, ListenOptions, Listener};
use super::net::{Due, Net, live};
use crate::sys::SocketId;

/// Maximum number of refused connections that are being sent their refusal. They use the fds that
/// are kept free above the limit.
const MAX_REFUSED_CONNECTIONS: usize = 32;

impl Net {
    /// Listens on an address. Port 0 means any free port: see [`Net::local_addr`].
    ///
    /// # Errors
    ///
    /// Returns an error of the system: the address is in use, not one of this host, or not
    /// permitted.
    pub fn listen(&mut self, addr: SocketAddr, options: ListenOptions) -> io::Result<ListenerId> {
        let (token, limits) = (self.listener_token(), &self.limits);
        let backlog = limits.listen_backlog;
        let bound = self.system.listen(addr, backlog, &limits.tcp, token)?;
        Ok(self.add_listener(bound, options))
    }

    /// Serves a TCP socket that already listens. It may be from a service manager, or a
    /// [`std::net::TcpListener`].
    ///
    /// If another process holds the socket too, waiting connections survive the end of this
    /// process, and the next one accepts them. The backlog is not changed.
    ///
    /// # Errors
    ///
    /// Returns an error of the system, or [`InvalidInput`](ErrorKind::InvalidInput) if it is not a
    /// listening TCP socket.
    pub fn listen_on(&mut self, socket: OwnedFd, options: ListenOptions) -> io::Result<ListenerId> {
        let token = self.listener_token();
        let bound = self.system.listen_on(socket, &self.limits.tcp, token)?;
        Ok(self.add_listener(bound, options))
    }

    /// Returns the token of the listener that is added next.
    fn listener_token(&self) -> u64 {
        Token::Listener(ListenerId(self.next_listener)).pack()
    }

    fn add_listener(
        &mut self,
        (socket, addr): (SocketId, SocketAddr),
        options: ListenOptions,
    ) -> ListenerId {
        let id = ListenerId(self.next_listener);
        self.next_listener += 1;
        let listener = Listener {
            socket,
            addr,
            options,
            in_ready_list: false,
            retry_timer: None,
            next_retry_pause: FIRST_RETRY_PAUSE,
        };
        self.listeners.insert(id, listener);
        id
    }

    /// Returns the address of a listener, with the port in use.
    pub fn local_addr(&self, listener: ListenerId) -> Option<SocketAddr> {
        self.listeners.get(&listener).map(|listener| listener.addr)
    }

    /// Closes a listener.
    ///
    /// Accepted connections stay. Waiting ones are reset, unless another process holds the socket
    /// ([`Net::listen_on`]).
    pub fn close_listener(&mut self, id: ListenerId) {
        let Some(listener) = self.listeners.remove(&id) else {
            self.counters.stale += 1;
            return;
        };
        if let Some(timer) = listener.retry_timer {
            self.timers.disarm(timer);
        }
        self.system.close(listener.socket);
    }

    pub(super) fn listener_ready(&mut self, id: ListenerId) {
        let Some(listener) = self.listeners.get_mut(&id) else {
            self.counters.stale += 1;
            return;
        };
        if !std::mem::replace(&mut listener.in_ready_list, true) {
            self.ready.push_back(Token::Listener(id));
        }
    }

    /// Accepts waiting connections, within the budget of a turn.
    pub(super) fn accept(&mut self, id: ListenerId, handler: &mut dyn Handler) {
        for _ in 0..self.limits.max_accepts_per_turn {
            // Looked up for each connection, since the handler may have closed the listener.
            let Some(listener) = self.listeners.get_mut(&id) else {
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
        let is_full = self.is_full(listener_id);
        if is_full && self.refused_connections >= MAX_REFUSED_CONNECTIONS {
            self.counters.refused += 1;
            self.system.close(socket);
            return;
        }
        let Some(listener) = self.listeners.get_mut(&listener_id) else {
            self.system.close(socket);
            return;
        };
        listener.next_retry_pause = FIRST_RETRY_PAUSE;
        let ListenOptions {
            owner,
            framing,
            max_frame_bytes,
            ..
        } = listener.options;
        let state = if is_full {
            State::Flushing { linger: true }
        } else {
            State::Open
        };
        let id = self.next_conn_id();
        let token = Token::Connection(id).pack();
        if self.system.watch(socket, token).is_err() {
            // The kernel has no memory to watch another socket.
            self.system.close(socket);
            self.counters.accept_failures += 1;
            return;
        }
        self.insert(Connection {
            owner,
            framing,
            max_frame_bytes: max_frame_bytes.unwrap_or(self.limits.max_frame_bytes),
            socket: Some(socket),
            writable: true,
            refused: is_full,
            waiting_since: Some(self.now),
            ..Connection::new(id, peer, state)
        });
        if is_full {
            self.refuse(listener_id, id);
            return;
        }
        self.counters.accepted += 1;
        self.arm_input(id, self.now + self.limits.first_byte_timeout);
        self.owner = owner;
        handler.on_open(self, id, Origin::Accepted(listener_id));
    }

    /// Returns whether there are as many connections as the loop or the listener allows.
    fn is_full(&self, listener: ListenerId) -> bool {
        let open = self.connections.len() - self.refused_connections;
        let options = self.listeners.get(&listener).map(|found| &found.options);
        let max_of_owner =
            options.and_then(|options| Some((options.owner, options.max_connections?)));
        open >= self.limits.max_connections
            || max_of_owner.is_some_and(|(owner, max)| self.totals_of(owner).connections >= max)
    }

    /// Sends the refusal of the listener to a connection without a handler.
    fn refuse(&mut self, listener: ListenerId, id: ConnId) {
        self.counters.refused += 1;
        self.refused_connections += 1;
        if let Some(connection) = live(&mut self.connections, id)
            && let Some(listener) = self.listeners.get(&listener)
        {
            connection.output.push_shared(&listener.options.refusal, 0);
        }
        self.continue_close(id);
    }

    /// Closes one waiting connection when the process is out of fds. Returns `false` if that fails
    /// too.
    fn shed(&mut self, id: ListenerId) -> bool {
        let Some(listener) = self.listeners.get(&id) else {
            return false;
        };
        self.system.release_reserve();
        let accepted = self.system.accept(listener.socket);
        if let Ok((socket, _)) = accepted {
            // The send buffer is empty, so this rarely fails; if it does, nothing is lost.
            let refusal = IoSlice::new(listener.options.refusal.as_bytes());
            let _ = self.system.write(socket, &[refusal]);
            self.system.close(socket);
            self.counters.shed += 1;
        }
        self.system.keep_reserve();
        accepted.is_ok()
    }

    /// Retries after a pause: the system reports no event for connections that already wait.
    fn retry_accept_later(&mut self, id: ListenerId) {
        if let Some(listener) = self.listeners.get_mut(&id)
            && listener.retry_timer.is_none()
        {
            let deadline = self.now + listener.next_retry_pause;
            listener.next_retry_pause = (listener.next_retry_pause * 2).min(LONGEST_RETRY_PAUSE);
            listener.retry_timer = Some(self.timers.arm(deadline, Due::Accept(id)));
        }
    }

    pub(super) fn retry_accept(&mut self, id: ListenerId) {
        if let Some(listener) = self.listeners.get_mut(&id) {
            listener.retry_timer = None;
            self.listener_ready(id);
        }
    }

    /// Retries at once, since an fd was freed.
    pub(super) fn retry_starved_listeners(&mut self) {
        self.system.keep_reserve();
        for (id, listener) in &mut self.listeners {
            if let Some(timer) = listener.retry_timer.take() {
                self.timers.disarm(timer);
                if !std::mem::replace(&mut listener.in_ready_list, true) {
                    self.ready.push_back(Token::Listener(*id));
                }
            }
        }
    }
}

/// Returns whether accepting failed for lack of fds or memory. `std` has no kinds for these errors.
fn is_want_of_resources(error: &io::Error) -> bool {
    const ENOMEM: i32 = 12;
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    const ENOBUFS: i32 = if cfg!(target_os = "linux") { 105 } else { 55 };
    let code = error.raw_os_error();
    code.is_some_and(|code| [ENOMEM, ENFILE, EMFILE, ENOBUFS].contains(&code))
}
