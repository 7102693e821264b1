//! The Distributor: everybody tells it who they are, and it tells everybody who is there.
//!
//! It is a [`Handler`]: lend it to a [`Reactor`](crate::reactor::Reactor) that listens.

mod admission;
mod drain;
mod events;
mod handler;
mod identities;
mod liveness;
mod peer;
mod persistence;
mod protocol_detection;
mod pushes;
mod register;
mod self_preservation;
mod view;

#[cfg(test)]
mod tests;

use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::protocol::{
    ErrorCode, Packet, Refusal, RegistrationLimits, write_draining, write_error,
};
use crate::reactor::conn_map::ConnMap;
use crate::reactor::{Close, ListenOptions, ListenerId, Net, Owner, SharedFrame, TimerId};
use crate::registry::{Capacity, Registry};
use crate::time::Time;
use admission::Salt;
use drain::{Drain, OperatorDrains};
use events::{Event, Events};
use identities::Identities;
use peer::Peer;
use persistence::{Persistence, RestoredEntry};
use pushes::Pushes;
use self_preservation::SelfPreservation;

pub use admission::{Access, AddressRange, Tokens};
pub use drain::DrainId;
#[cfg(fuzzing)]
pub(crate) use events::Escaped as LoggedText;
pub use events::{Histogram, Journal, Pushed, Record, RecordKind, Stats};
pub use persistence::{Restored, Snapshot, SnapshotCounts, SnapshotSink, Unreadable};
pub use view::{NodeState, NodeView, SessionKind, UnacknowledgedSessions};

/// What a Distributor can be told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// Who may register and is sent the list.
    pub access: Access,
    /// How much a node may say about itself.
    pub registration: RegistrationLimits,
    /// How much all of them together may.
    pub capacity: Capacity,
    /// Host under which peers on this machine are listed, where nodes on other machines must
    /// reach them. `None`: their loopback address, and for `::1` `127.0.0.1` if the machine has it.
    pub loopback_host: Option<String>,
    /// How often a node with a session sends a heartbeat.
    pub heartbeat: Duration,
    /// A node with a session that sends nothing for so long is gone.
    pub silence: Duration,
    /// After its start the Distributor does not know everybody yet; it says so for this long. So it
    /// does after it stood still for so long that nodes have given it up. Nodes of the last run that
    /// are not back by then leave.
    pub warm_up: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            access: Access::default(),
            registration: RegistrationLimits::default(),
            capacity: Capacity::default(),
            loopback_host: None,
            heartbeat: Duration::from_secs(5),
            silence: Duration::from_secs(15),
            warm_up: Duration::from_secs(10),
        }
    }
}

/// The Distributor's side of the protocol, for all its connections.
#[derive(Debug)]
pub struct Distributor {
    /// Allocated where it is first needed.
    owner: Option<Owner>,
    config: Config,
    registry: Registry,
    peers: ConnMap<Peer>,
    identities: Identities,
    drains: Vec<Drain>,
    operator_drains: OperatorDrains,
    self_preservation: SelfPreservation,
    persistence: Persistence,
    salt: Salt,
    /// Drawn at the start, so that nobody takes this run's revisions for another's.
    epoch: String,
    /// Everybody has had the time to register.
    is_complete: bool,
    /// Lists up to this revision may have been told as incomplete.
    incomplete_revision: u64,
    warms_up_until: Time,
    warm_up_timer: Option<TimerId>,
    turned_at: Time,
    pushes: Pushes,
    events: Events,
    listeners: Vec<ListenerId>,
    refused_before: u64,
    accept_failures_before: u64,
    is_stopping: bool,
}

impl Distributor {
    /// A Distributor that knows nobody yet.
    pub fn new(config: Config) -> Distributor {
        Distributor {
            owner: None,
            registry: Registry::new(config.capacity.clone()),
            config,
            peers: ConnMap::default(),
            identities: Identities::default(),
            drains: Vec::new(),
            operator_drains: OperatorDrains::default(),
            self_preservation: SelfPreservation::default(),
            persistence: Persistence::default(),
            salt: Salt::default(),
            epoch: String::new(),
            is_complete: false,
            incomplete_revision: 0,
            warms_up_until: Time::ZERO,
            warm_up_timer: None,
            turned_at: Time::ZERO,
            pushes: Pushes::default(),
            events: Events::default(),
            listeners: Vec::new(),
            refused_before: 0,
            accept_failures_before: 0,
            is_stopping: false,
        }
    }

    /// Listens, and returns the address with the port in use. Errors are those of [`Net::listen`].
    pub fn listen(&mut self, net: &mut Net, addr: SocketAddr) -> io::Result<SocketAddr> {
        let options = listen_options(self.claim_owner(net));
        let listener = net.listen(addr, options)?;
        self.serve_on(net, listener)
    }

    /// Listens on a socket that listens already, and returns its address. Errors are those of
    /// [`Net::listen_on`].
    pub fn listen_on(&mut self, net: &mut Net, socket: OwnedFd) -> io::Result<SocketAddr> {
        let options = listen_options(self.claim_owner(net));
        let listener = net.listen_on(socket, options)?;
        self.serve_on(net, listener)
    }

    fn claim_owner(&mut self, net: &mut Net) -> Owner {
        *self.owner.get_or_insert_with(|| net.new_owner())
    }

    fn arm(&mut self, net: &mut Net, deadline: Time, tag: u64) -> TimerId {
        let owner = self.claim_owner(net);
        net.arm(owner, deadline, tag)
    }

    fn serve_on(&mut self, net: &mut Net, listener: ListenerId) -> io::Result<SocketAddr> {
        let owner = self.claim_owner(net);
        if self.listeners.is_empty() {
            if self.config.loopback_host.is_none() && !net.has_ipv4_loopback() {
                self.config.loopback_host = Some(Ipv6Addr::LOCALHOST.to_string());
            }
            self.pushes.set_owner(owner);
            self.epoch = format!("{:016x}", net.random());
            if self.salt == Salt::default() {
                self.salt = Salt::new(net.random(), net.random());
            }
            self.turned_at = net.now();
            self.begin_warm_up(net);
            self.arm(net, net.now() + liveness::SILENCE_CHECK, TAG_SILENCE);
        }
        self.listeners.push(listener);
        net.local_addr(listener)
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Begins to stop: nothing more is accepted, and each connection is closed after what is
    /// queued for it. Nobody is told of the others' end: to whoever stays, everybody is still there.
    ///
    /// It is done when [`Net::connections`] is zero.
    pub fn stop(&mut self, net: &mut Net) {
        self.is_stopping = true;
        for listener in self.listeners.drain(..) {
            net.close_listener(listener);
        }
        let sessions = self
            .peers
            .iter_mut()
            .filter(|(_, peer)| peer.session.is_some());
        let step = retry_step(sessions.count());
        let mut retry_after = FIRST_RETRY;
        for (conn, peer) in self.peers.iter_mut() {
            if peer.session.is_some()
                && let Some(mut goodbye) = net.send(conn)
            {
                // Writing to a queue does not fail.
                let _ = write_draining(&mut goodbye, millis(retry_after));
                goodbye.finish();
                retry_after += step;
            }
            net.close(conn, Close::AfterFlush);
        }
        let (salt, registry, identities) = (self.salt, &self.registry, &self.identities);
        self.persistence
            .stop(|| Snapshot::new(salt, registry, identities));
    }

    /// Lists the entries of an earlier run, until their nodes reconnect, and begins a warm-up. Nodes
    /// that have not reconnected when it ends leave as [`Cause::Absent`](crate::registry::Cause).
    ///
    /// Call it before the first turn. Returns the number of entries that are left out, because they
    /// exceed a limit. See [`Distributor::persist_to`] for an example.
    pub fn restore(&mut self, net: &mut Net, restored: Restored) -> usize {
        let mut left_out = restored.left_out();
        self.salt = restored.salt;
        self.begin_warm_up(net);
        for RestoredEntry { entry, identity } in restored.entries {
            match self.registry.join(entry) {
                Ok(id) => self.identities.restore(id, identity, &self.registry),
                Err(_) => left_out += 1,
            }
        }
        let entries = self.registry.len();
        self.emit(net, None, Event::Restored { entries });
        left_out
    }

    /// Hands the list to `sink` from now on: at the end of turns in which it changed, at most every
    /// 50 ms, and in [`Distributor::stop`].
    ///
    /// Call it after [`Distributor::restore`], so that a crash between the two loses nothing.
    ///
    /// ```
    /// # use std::{fs, io, path::Path, sync::mpsc, thread, time::Duration};
    /// use pilcrow::distributor::{Config, Distributor, Restored, Snapshot, SnapshotSink};
    /// use pilcrow::reactor::{Limits, Reactor};
    /// use pilcrow::store::{self, OsDisk};
    ///
    /// /// Hands snapshots to the thread that writes them.
    /// struct Writer(mpsc::Sender<Snapshot>);
    ///
    /// impl SnapshotSink for Writer {
    ///     fn persist(&mut self, snapshot: Snapshot) {
    ///         let _ = self.0.send(snapshot);
    ///     }
    /// }
    ///
    /// # fn run(path: &'static Path) -> io::Result<()> {
    /// let config = Config::default();
    /// let mut reactor = Reactor::new(Limits::default())?;
    /// let mut distributor = Distributor::new(config.clone());
    /// if let Ok(bytes) = fs::read(path) {
    ///     match Restored::decode(&bytes, &config.registration) {
    ///         Ok(restored) => drop(distributor.restore(reactor.net(), restored)),
    ///         Err(why) => eprintln!("starting with an empty list: {why}"),
    ///     }
    /// }
    /// let (sender, snapshots) = mpsc::channel::<Snapshot>();
    /// let writer = thread::spawn(move || {
    ///     for snapshot in snapshots {
    ///         let bytes = snapshot.into_bytes();
    ///         if let Err(error) = store::replace(&mut OsDisk::default(), path, &bytes) {
    ///             eprintln!("{}: {error}", path.display());
    ///         }
    ///     }
    /// });
    /// distributor.persist_to(reactor.net(), Writer(sender));
    /// distributor.listen(reactor.net(), ([127, 0, 0, 1], 0).into())?;
    /// # let mut turns = 0;
    /// # let mut is_stop_requested = || { turns += 1; turns > 3 };
    /// while !is_stop_requested() {
    ///     reactor.turn(Some(Duration::from_millis(100)), &mut distributor)?;
    /// }
    /// distributor.stop(reactor.net());
    /// while reactor.net().connections() > 0 {
    ///     reactor.turn(Some(Duration::from_millis(100)), &mut distributor)?;
    /// }
    /// drop(distributor);
    /// writer.join().expect("the last snapshot is written");
    /// # Ok(())
    /// # }
    /// # let path = std::env::temp_dir().join(format!("pilcrow-doc-{}", std::process::id()));
    /// # let path: &'static Path = Box::leak(path.into_boxed_path());
    /// # run(path)?;
    /// # let written = fs::read(path)?;
    /// # assert!(Restored::decode(&written, &Config::default().registration).is_ok());
    /// # fs::remove_file(path)
    /// ```
    pub fn persist_to(&mut self, net: &mut Net, sink: impl SnapshotSink + 'static) {
        let owner = self.claim_owner(net);
        self.persistence.start(net, owner, Box::new(sink));
    }

    /// Returns the list as it would be handed to a sink now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(self.salt, &self.registry, &self.identities)
    }

    /// Returns what became of the snapshots that were handed to the sink.
    pub fn snapshot_counts(&self) -> SnapshotCounts {
        self.persistence.counts()
    }

    /// Who is registered.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Returns the counters.
    pub fn stats(&self) -> &Stats {
        &self.events.stats
    }

    /// Keeps a [`Journal`] from now on.
    pub fn keep_journal(&mut self, net: &mut Net) {
        let since_zero = net.now().saturating_since(Time::ZERO);
        let unix_time_at_zero = net.unix_time().saturating_sub(since_zero);
        self.events.journal.get_or_insert_with(|| {
            Box::new(Journal::new(unix_time_at_zero, net.counters().turn_time))
        });
    }

    /// Returns the journal, if [`Distributor::keep_journal`] was called.
    pub fn journal(&self) -> Option<&Journal> {
        self.events.journal.as_deref()
    }
}

fn listen_options(owner: Owner) -> ListenOptions {
    let busy = Refusal {
        code: ErrorCode::Busy,
        message: "as many connections as this Distributor takes: try later".into(),
    };
    ListenOptions {
        owner,
        refusal: SharedFrame::new(|out| {
            // Writing to memory does not fail.
            let _ = write_error(out, &Packet::default(), &busy);
        }),
        ..ListenOptions::default()
    }
}

/// What the Distributor's timers are for. The pacing of pushes has [`pushes::TAG`].
const TAG_WARM_UP_ENDS: u64 = 1;
const TAG_SILENCE: u64 = 2;
const TAG_DRAIN: u64 = 3;

/// When the first of those who are told to come back later may do so.
const FIRST_RETRY: Duration = Duration::from_millis(500);
/// How long after the first the last may, if they are not very many.
const USUAL_SPREAD: Duration = Duration::from_secs(5);
/// And if they are: whoever is not back when the next run's warm-up ends is absent.
const LONGEST_SPREAD: Duration = Duration::from_secs(8);
/// One node after another, as far apart as this if there are few, and never two at once if there is
/// the time.
const LONGEST_STEP: Duration = Duration::from_millis(20);
const SHORTEST_STEP: Duration = Duration::from_millis(1);

fn retry_step(nodes: usize) -> Duration {
    let nodes = u32::try_from(nodes).unwrap_or(u32::MAX).max(1);
    let step = (USUAL_SPREAD / nodes).clamp(SHORTEST_STEP, LONGEST_STEP);
    step.min(LONGEST_SPREAD / nodes)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
