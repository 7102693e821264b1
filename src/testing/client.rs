//! The peers of a scripted system: they connect, send packets, and read packets.

use std::time::Duration;

use pilcrow_test_client::{Frames, frame, heartbeat, registration};
use serde_json::{Value, json};

use super::scripted::{Accept, Scripted, World};
use crate::reactor::{Handler, Reactor};
use crate::sys::SocketId;

impl Scripted {
    /// Advances virtual time, in as many turns as the reactor needs, at least one.
    pub(crate) fn pass(&self, reactor: &mut Reactor, handler: &mut dyn Handler, time: Duration) {
        let until = self.world().now + time;
        loop {
            let left = until.saturating_since(self.world().now);
            reactor.turn(Some(left), handler).unwrap();
            if self.world().now >= until {
                return;
            }
        }
    }
}

impl World {
    /// Connects a peer. Its socket is [`World::last_accepted`] after the next turn.
    pub(crate) fn connect(&mut self, listener: SocketId) {
        self.accepts.push_back(Accept::Connection);
        self.event(listener, true, false, false);
    }

    pub(crate) fn last_accepted(&self) -> SocketId {
        *self.accepted.last().expect("a connection was accepted")
    }

    /// Sends a packet of the peer.
    pub(crate) fn send(&mut self, id: SocketId, packet: &Value) {
        self.arrive(id, frame(packet).as_bytes());
    }

    /// Registers the peer as a node, with a session if that is not null.
    pub(crate) fn register(&mut self, id: SocketId, name: &str, session: &Value) {
        let params = json!({"port": 1, "name": name});
        self.arrive(id, registration(1, params, session).as_bytes());
    }

    /// Sends a heartbeat of the peer that acknowledges `revision`.
    pub(crate) fn beat(&mut self, id: SocketId, revision: u64) {
        self.arrive(id, heartbeat(Value::Null, revision).as_bytes());
    }

    /// Returns the whole packets that the peer received since the last call.
    pub(crate) fn take_sent(&mut self, id: SocketId) -> Vec<Value> {
        let socket = self.socket(id);
        let mut frames = Frames::default();
        frames.push(&socket.written[socket.taken..]);
        let mut packets = Vec::new();
        while let Some(frame) = frames.next_frame() {
            packets.push(serde_json::from_slice(&frame).unwrap());
        }
        socket.taken = socket.written.len() - frames.unfinished().len();
        packets
    }
}
