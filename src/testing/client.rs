//! The peers of a scripted system: they connect, send packets, and read what they were sent.

use std::time::Duration;

use serde_json::{Value, json};

use super::scripted::{Accept, Scripted, World};
use crate::reactor::{Handler, Reactor};
use crate::sys::SocketId;

impl Scripted {
    /// Lets virtual time pass, in as many turns as the reactor wants. At least one.
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
    /// A peer connects. Its socket is [`World::last_accepted`] after the next turn.
    pub(crate) fn connect(&mut self, listener: SocketId) {
        self.accepts.push_back(Accept::Connection);
        self.event(listener, true, false, false);
    }

    pub(crate) fn last_accepted(&self) -> SocketId {
        *self.accepted.last().expect("a connection was accepted")
    }

    /// The peer sends a packet.
    pub(crate) fn send(&mut self, id: SocketId, packet: &Value) {
        self.arrive(id, format!("{packet}¶").as_bytes());
    }

    /// The peer registers as a node, with a session if that is not null.
    pub(crate) fn register(&mut self, id: SocketId, name: &str, session: &Value) {
        let packet = json!({"uri": "/distributes", "method": "POST", "key": 1,
            "params": {"port": 1, "name": name}, "session": session});
        self.send(id, &packet);
    }

    /// The peer sends a heartbeat that acknowledges `revision`.
    pub(crate) fn beat(&mut self, id: SocketId, revision: u64) {
        let packet = json!({"uri": "/distributes/heartbeat", "method": "POST", "key": null,
            "session": {"rev": revision}});
        self.send(id, &packet);
    }

    /// The whole packets that the peer was sent since this was last called.
    pub(crate) fn take_sent(&mut self, id: SocketId) -> Vec<Value> {
        let socket = self.socket(id);
        let text = std::str::from_utf8(&socket.written[socket.taken..]).unwrap_or_default();
        let whole = text.rfind('¶').map_or(0, |at| at + "¶".len());
        let frames = text[..whole].split_terminator('¶');
        let packets = frames.map(|frame| serde_json::from_str(frame).unwrap());
        let packets = packets.collect();
        socket.taken += whole;
        packets
    }
}
