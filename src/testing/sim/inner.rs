//! The state of the simulation: time, hosts, sockets, and the agenda.

use std::cell::RefCell;
use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use slab::Slab;

use super::faults::{Fault, Faults};
use super::host::{Host, Paths};
use super::ids::{HostId, ProcessId, SocketRef};
use super::pending_lookup::PendingLookup;
use super::process_state::ProcessState;
use super::random::Random;
use super::socket::{Edges, Facts, Kind, Phase, SocketState, Stream};
use super::trace::Trace;
use crate::time::Time;

/// The state of the simulation, shared by its processes.
pub(super) type Shared = Rc<RefCell<Inner>>;

pub(super) struct Inner {
    pub(super) now: Time,
    pub(super) random: Random,
    pub(super) faults: Faults,
    pub(super) hosts: Vec<Host>,
    pub(super) host_of: BTreeMap<IpAddr, HostId>,
    pub(super) paths: Paths,
    pub(super) processes: Vec<ProcessState>,
    pub(super) sockets: Slab<SocketState>,
    pub(super) listeners: BTreeMap<SocketAddr, SocketRef>,
    pub(super) next_serial: u64,
    pub(super) agenda: BinaryHeap<Reverse<Entry>>,
    pub(super) entries: u64,
    /// Addresses by name.
    pub(super) names: BTreeMap<String, Vec<SocketAddr>>,
    pub(super) lookups: Slab<PendingLookup>,
    pub(super) trace: Trace,
    pub(super) poll_fd: Rc<File>,
}

/// An entry of the agenda.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// A connect request arrives.
    Knock {
        from: SocketRef,
        tries: u32,
    },
    /// The response to a connect arrives.
    Answer {
        to: SocketRef,
        error: Option<ErrorKind>,
    },
    /// Written bytes are delivered.
    Deliver {
        from: SocketRef,
        tries: u32,
    },
    Acknowledge {
        to: SocketRef,
        delivered: u64,
        end: bool,
    },
    Reset {
        to: SocketRef,
        from: HostId,
    },
    /// Probes the other end.
    Probe {
        of: SocketRef,
        tries: u32,
    },
    /// Reports readiness late.
    Notify {
        of: SocketRef,
        edges: Edges,
    },
    /// Ends a lookup of a name.
    LookedUp {
        id: usize,
    },
}

pub(super) struct Entry {
    pub(super) at: Time,
    pub(super) number: u64,
    pub(super) step: Step,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Entry) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Entry) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl Inner {
    /// Creates an empty simulation. Returns the errors of opening the fd of every poll.
    pub(super) fn new(random: Random, faults: Faults) -> io::Result<Inner> {
        Ok(Inner {
            now: Time::ZERO,
            random,
            faults,
            hosts: Vec::new(),
            host_of: BTreeMap::new(),
            paths: Paths::default(),
            processes: Vec::new(),
            sockets: Slab::new(),
            listeners: BTreeMap::new(),
            next_serial: 0,
            agenda: BinaryHeap::new(),
            entries: 0,
            names: BTreeMap::new(),
            lookups: Slab::new(),
            trace: Trace::new(),
            poll_fd: Rc::new(File::open("/dev/null")?),
        })
    }

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

    /// Returns the time that one packet takes.
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
