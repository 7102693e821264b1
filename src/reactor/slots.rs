//! Connections and listeners by their ids, and the lists of those with work to do.

use std::io;
use std::net::SocketAddr;

use slab::Slab;

use super::connection::{Connection, Received, State};
use super::framing::{FrameBuffer, Framing};
use super::ids::{ConnId, ListenerId, Owner, Token};
use super::listener::{FIRST_RETRY_PAUSE, ListenOptions, Listener};
use super::net::Net;
use super::write_queue::WriteQueue;
use crate::sys::{SocketId, System, TcpOptions};
use crate::time::Time;

impl Net {
    pub(super) fn insert_connection(
        &mut self,
        owner: Owner,
        framing: Framing,
        max_frame_bytes: Option<usize>,
        peer: SocketAddr,
        state: State,
    ) -> ConnId {
        let generation = self.generation();
        let entry = self.connections.vacant_entry();
        let id = ConnId::new(entry.key(), generation);
        entry.insert(Connection {
            id,
            owner,
            framing,
            state,
            is_paused: false,
            socket: None,
            peer,
            max_frame_bytes: max_frame_bytes.unwrap_or(self.limits.max_frame_bytes),
            refused: false,
            input: FrameBuffer::default(),
            readable: false,
            closed_hint: false,
            frames_kept: false,
            in_ready_list: false,
            received: Received::Nothing,
            frame_since: None,
            input_timer: None,
            output: WriteQueue::default(),
            writable: false,
            in_dirty_list: false,
            backlogged: false,
            written_bytes: 0,
            read_bytes: 0,
            write_progress_at: Time::ZERO,
            output_timer: None,
        });
        id
    }

    /// Adds a listener on the socket that `listen` returns, which is registered under a token.
    pub(super) fn add_listener(
        &mut self,
        options: ListenOptions,
        listen: impl FnOnce(&mut dyn System, &TcpOptions, u64) -> io::Result<(SocketId, SocketAddr)>,
    ) -> io::Result<ListenerId> {
        let generation = self.generation();
        let entry = self.listeners.vacant_entry();
        let id = ListenerId::new(entry.key(), generation);
        let token = Token::Listener(id).pack();
        let (socket, addr) = listen(&mut *self.system, &self.limits.tcp, token)?;
        entry.insert(Listener {
            id,
            socket,
            addr,
            options,
            in_ready_list: false,
            retry_timer: None,
            next_retry_pause: FIRST_RETRY_PAUSE,
        });
        Ok(id)
    }

    fn generation(&mut self) -> u32 {
        self.next_generation = self.next_generation.wrapping_add(1);
        self.next_generation
    }

    pub(super) fn connection(&self, id: ConnId) -> Option<&Connection> {
        let found = self.connections.get(id.slot());
        found.filter(|connection| connection.id == id)
    }

    pub(super) fn connection_mut(&mut self, id: ConnId) -> Option<&mut Connection> {
        live(&mut self.connections, id)
    }

    pub(super) fn listener(&self, id: ListenerId) -> Option<&Listener> {
        let found = self.listeners.get(id.slot())?;
        (found.id == id).then_some(found)
    }

    pub(super) fn listener_mut(&mut self, id: ListenerId) -> Option<&mut Listener> {
        let found = self.listeners.get_mut(id.slot())?;
        (found.id == id).then_some(found)
    }

    pub(super) fn call_as_owner_of(&mut self, id: ConnId, call: impl FnOnce(&mut Net)) {
        if let Some(connection) = self.connection(id) {
            self.owner = connection.owner;
        }
        call(self);
    }

    pub(super) fn is_delivering(&self, id: ConnId) -> bool {
        self.connection(id)
            .is_some_and(|connection| connection.is_delivering())
    }

    pub(super) fn make_ready(&mut self, id: ConnId) {
        if let Some(connection) = live(&mut self.connections, id)
            && !connection.in_ready_list
        {
            connection.in_ready_list = true;
            self.ready.push_back(Token::Connection(id));
        }
    }

    pub(super) fn make_dirty(&mut self, id: ConnId) {
        if let Some(connection) = live(&mut self.connections, id)
            && connection.writable
            && !connection.in_dirty_list
            && !connection.output.is_empty()
        {
            connection.in_dirty_list = true;
            self.dirty.push_back(id);
        }
    }
}

/// As [`Net::connection_mut`], where the other parts of `Net` are needed at the same time.
pub(super) fn live(connections: &mut Slab<Connection>, id: ConnId) -> Option<&mut Connection> {
    let found = connections.get_mut(id.slot())?;
    (found.id == id).then_some(found)
}
