//! Looking things up, and putting them on the agenda.

use std::cmp::Reverse;
use std::time::Duration;

use super::faults::Fault;
use super::host::HostId;
use super::process::{ProcessId, ProcessState};
use super::socket::{Facts, Kind, Phase, SocketRef, SocketState, Stream};
use super::world::{Entry, Inner, Step};
use crate::time::Time;

impl Inner {
    pub(super) fn process(&self, id: ProcessId) -> &ProcessState {
        &self.processes[id.0]
    }

    pub(super) fn process_mut(&mut self, id: ProcessId) -> &mut ProcessState {
        &mut self.processes[id.0]
    }

    pub(super) fn socket(&self, id: SocketRef) -> Option<&SocketState> {
        let found = self.sockets.get(id.key)?;
        (found.serial == id.serial).then_some(found)
    }

    pub(super) fn socket_mut(&mut self, id: SocketRef) -> Option<&mut SocketState> {
        let found = self.sockets.get_mut(id.key)?;
        (found.serial == id.serial).then_some(found)
    }

    pub(super) fn stream(&self, id: SocketRef) -> Option<&Stream> {
        match &self.socket(id)?.kind {
            Kind::Stream(stream) => Some(stream),
            Kind::Listener { .. } => None,
        }
    }

    pub(super) fn stream_mut(&mut self, id: SocketRef) -> Option<&mut Stream> {
        match &mut self.socket_mut(id)?.kind {
            Kind::Stream(stream) => Some(stream),
            Kind::Listener { .. } => None,
        }
    }

    pub(super) fn stream_refs(&self) -> Vec<SocketRef> {
        let sockets = self.sockets.iter();
        let streams = sockets.filter(|(_, socket)| matches!(socket.kind, Kind::Stream(_)));
        let refs = streams.map(|(key, socket)| SocketRef {
            key,
            serial: socket.serial,
        });
        refs.collect()
    }

    pub(super) fn insert(&mut self, mut socket: SocketState) -> SocketRef {
        self.next_serial += 1;
        socket.serial = self.next_serial;
        let serial = socket.serial;
        let key = self.sockets.insert(socket);
        SocketRef { key, serial }
    }

    pub(super) fn at(&mut self, at: Time, step: Step) {
        self.entries += 1;
        let number = self.entries;
        self.agenda.push(Reverse(Entry { at, number, step }));
    }

    pub(super) fn after(&mut self, wait: Duration, step: Step) {
        self.at(self.now + wait, step);
    }

    /// How long one packet takes.
    pub(super) fn latency(&mut self, from: HostId, to: HostId) -> Duration {
        if from == to {
            return Duration::from_micros(self.random.between(10, 60));
        }
        let jitter = u64::try_from(self.faults.jitter.as_nanos()).unwrap_or(0);
        self.faults.latency + Duration::from_nanos(self.random.below(jitter + 1))
    }

    pub(super) fn can_reach(&self, from: HostId, to: HostId) -> bool {
        self.hosts[from.0].is_up && self.hosts[to.0].is_up && self.paths.is_open(from, to)
    }

    pub(super) fn strikes(&mut self, fault: Fault) -> bool {
        let strikes = self.faults.strikes(fault, &mut self.random);
        if strikes {
            self.trace_note("fault", [fault as u64, 0, 0]);
        }
        strikes
    }

    pub(super) fn trace_note(&mut self, what: &'static str, numbers: [u64; 3]) {
        self.trace.note(self.now, what, numbers);
    }

    pub(super) fn facts(&self, end: SocketRef) -> Option<Facts> {
        let socket = self.socket(end)?;
        let stream = self.stream(end)?;
        let peer = stream.peer.and_then(|peer| self.socket(peer));
        let far_host = self.host_of.get(&stream.remote.ip()).copied();
        Some(Facts {
            has_far_end: peer.is_some_and(|peer| peer.process.is_some())
                && stream
                    .peer
                    .and_then(|peer| self.stream(peer))
                    .is_some_and(|far| far.phase != Phase::Failed),
            has_ended: stream.peer_ended || stream.phase == Phase::Failed,
            is_connected: far_host.is_some_and(|far| {
                self.can_reach(socket.host, far) && self.can_reach(far, socket.host)
            }),
            heard_at: stream.heard_at,
            wrote_at: stream.wrote_at,
            unread_bytes: stream.inbox.len(),
            unacknowledged_bytes: stream.out.len(),
        })
    }
}
