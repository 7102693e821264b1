//! How connections are made to others.

use std::net::{IpAddr, SocketAddr};

use super::connection::{CloseMode, CloseReason, State};
use super::framing::Framing;
use super::ids::{ConnId, Owner, Token};
use super::net::{Due, Net};

/// Options of an outgoing connection.
#[derive(Clone, Debug, Default)]
pub struct ConnectOptions {
    /// Whose it is, where several handlers share the reactor.
    pub owner: Owner,
    /// How the peer's bytes are cut.
    pub framing: Framing,
    /// Instead of [`Limits::max_frame_bytes`].
    pub max_frame_bytes: Option<usize>,
    /// The address of this host to connect from, where the kernel's choice won't do: one address
    /// has about 28,000 ports to connect from to one other.
    pub source: Option<IpAddr>,
}

impl Net {
    /// Connects. The outcome comes as exactly one `on_open` or `on_close`, never before this
    /// returns; what is sent before waits for it.
    pub fn connect(&mut self, addr: SocketAddr, options: ConnectOptions) -> ConnId {
        let id = self.insert_connection(
            options.owner,
            options.framing,
            options.max_frame_bytes,
            addr,
            State::Connecting,
        );
        let token = Token::Connection(id).pack();
        let connected = self
            .system
            .connect(addr, options.source, &self.limits.tcp, token);
        match connected {
            Ok(socket) => {
                let deadline = self.now + self.limits.connect_timeout;
                let timer = self.timers.arm(deadline, Due::Input(id));
                if let Some(connection) = self.connection_mut(id) {
                    connection.socket = Some(socket);
                    connection.input_timer = Some(timer);
                }
            }
            Err(error) => {
                if let Some(connection) = self.connection_mut(id) {
                    let why = CloseReason::ConnectFailed(error.kind());
                    connection.move_to(State::Closing(why, CloseMode::Abort));
                    self.closing_next_turn.push(id);
                }
            }
        }
        id
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
                    connection.move_to(State::Open);
                    connection.writable = true;
                }
                true
            }
            Err(error) => {
                self.begin_close(
                    id,
                    CloseReason::ConnectFailed(error.kind()),
                    CloseMode::Abort,
                );
                false
            }
        }
    }
}
