//! Outgoing connections.

use std::io;
use std::net::{IpAddr, SocketAddr};

use super::connection::{Close, CloseReason, Connection, Origin, State};
use super::framing::Framing;
use super::handler::Handler;
use super::ids::{ConnId, Owner, Token};
use super::net::{Net, live};

/// Options of an outgoing connection.
#[derive(Clone, Debug, Default)]
pub struct ConnectOptions {
    /// Owner of the connection, if several handlers share the reactor.
    pub owner: Owner,
    /// Framing of the input.
    pub framing: Framing,
    /// Replaces [`Limits::max_frame_bytes`](super::Limits::max_frame_bytes).
    pub max_frame_bytes: Option<usize>,
    /// Local address to connect from, instead of the kernel's choice. One local address has about
    /// 28,000 ports for connections to one remote address.
    pub source: Option<IpAddr>,
}

impl Net {
    /// Connects to an address.
    ///
    /// The result is reported by exactly one `on_open` or `on_close`, after this has returned.
    /// Frames that are sent earlier are queued.
    pub fn connect(&mut self, addr: SocketAddr, options: ConnectOptions) -> ConnId {
        let id = self.next_conn_id();
        let token = Token::Connection(id).pack();
        let tcp = &self.limits.tcp;
        let socket = self.system.connect(addr, options.source, tcp, token);
        let max_frame_bytes = options.max_frame_bytes;
        self.insert(Connection {
            owner: options.owner,
            framing: options.framing,
            max_frame_bytes: max_frame_bytes.unwrap_or(self.limits.max_frame_bytes),
            socket: socket.as_ref().ok().copied(),
            ..Connection::new(id, addr, State::Connecting)
        });
        match socket {
            Ok(_) => self.arm_input(id, self.now + self.limits.connect_timeout),
            Err(error) => self.fail_connect(id, &error),
        }
        id
    }

    /// Opens a connection in [`State::Connecting`] if it is established, or closes it if it failed.
    /// Returns whether it is open.
    pub(super) fn finish_connect(&mut self, id: ConnId, handler: &mut dyn Handler) -> bool {
        let Some(connection) = live(&mut self.connections, id) else {
            return false;
        };
        let Some(socket) = connection.socket else {
            return false;
        };
        match self.system.is_connected(socket) {
            Ok(false) => return false,
            Ok(_) => {}
            Err(error) => {
                self.fail_connect(id, &error);
                return false;
            }
        }
        connection.move_to(State::Open);
        connection.writable = true;
        self.owner = connection.owner;
        if let Some(timer) = connection.input_timer.take() {
            self.timers.disarm(timer);
        }
        self.counters.connected += 1;
        handler.on_open(self, id, Origin::Connected);
        true
    }

    fn fail_connect(&mut self, id: ConnId, error: &io::Error) {
        let why = CloseReason::ConnectFailed(error.kind());
        self.begin_close(id, why, Close::Now);
    }
}
