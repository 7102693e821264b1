//! The Distributor: nodes register with it, and it pushes the list of all nodes to them.
//!
//! A [`Distributor`] is a [`Handler`](crate::reactor::Handler): pass it to each
//! [`Reactor::turn`](crate::reactor::Reactor::turn).

mod admission;
mod config;
mod drains;
mod events;
mod handler;
mod heartbeats;
mod identities;
mod liveness;
mod membership;
mod peer;
mod peers;
mod persistence;
mod pushes;
mod retry_after;
mod self_preservation;
mod subscriptions;
mod view;
mod warm_up;

#[cfg(test)]
mod tests;

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::protocol::{Drained, ErrorCode, Packet, Refusal, write_draining, write_error};
use crate::reactor::{Close, ListenOptions, ListenerId, Net, Owner, SharedFrame};
use crate::registry::{EntryId, Registry};
use crate::time::Time;
use admission::{Admission, Salt};
use drains::Drains;
use events::Events;
use identities::Identities;
use peers::Peers;
use persistence::Persistence;
use pushes::Pushes;
use retry_after::retry_after;
use self_preservation::SelfPreservation;
use warm_up::WarmUp;

pub use crate::histogram::Histogram;
pub use admission::{Access, AddressRange, Tokens};
pub use config::Config;
pub use drains::{DrainId, MAX_DRAIN_WAIT};
pub use events::{Event, Journal, Pushed, Record, Stats};
#[cfg(fuzzing)]
pub(crate) use events::{escaped, escaped_frame};
pub use persistence::{Restored, Snapshot, SnapshotCounts, SnapshotSink, Unreadable};
pub use view::{NodeState, NodeView, SessionKind, UnacknowledgedSessions, View};

/// Serves the Distributor's side of the protocol, for all its connections.
///
/// If the list is to survive a restart, first call [`restore`](Distributor::restore) and
/// [`persist_to`](Distributor::persist_to). Then call [`listen`](Distributor::listen). After
/// [`stop`](Distributor::stop), turn the reactor until [`Net::connections`] is zero.
#[derive(Debug, Default)]
pub struct Distributor {
    /// Allocated on first use.
    owner: Option<Owner>,
    config: Config,
    registry: Registry,
    peers: Peers,
    identities: Identities,
    admission: Admission,
    drains: Drains,
    self_preservation: SelfPreservation,
    persistence: Persistence,
    /// Random; distinguishes the revisions of this run from those of others.
    epoch: String,
    warm_up: WarmUp,
    pushes: Pushes,
    events: Events,
    listeners: Vec<ListenerId>,
    /// Time at which the last turn ended.
    turned_at: Time,
    reported_refusals: u64,
    reported_accept_failures: u64,
    is_stopping: bool,
}

impl Distributor {
    /// Creates a Distributor without nodes that does not listen yet.
    pub fn new(config: Config) -> Distributor {
        Distributor {
            registry: Registry::new(config.capacity.clone()),
            admission: Admission::new(config.access.clone()),
            config,
            ..Distributor::default()
        }
    }

    /// Listens, and returns the address with the port in use. Returns the errors of
    /// [`Net::listen`].
    pub fn listen(&mut self, net: &mut Net, addr: SocketAddr) -> io::Result<SocketAddr> {
        let options = self.listen_options(net);
        let listener = net.listen(addr, options)?;
        self.serve_on(net, listener)
    }

    /// Serves a socket that already listens, and returns its address. Returns the errors of
    /// [`Net::listen_on`].
    pub fn listen_on(&mut self, net: &mut Net, socket: OwnedFd) -> io::Result<SocketAddr> {
        let options = self.listen_options(net);
        let listener = net.listen_on(socket, options)?;
        self.serve_on(net, listener)
    }

    fn listen_options(&mut self, net: &mut Net) -> ListenOptions {
        let busy = Refusal::new(ErrorCode::Busy, "too many connections: try again later");
        ListenOptions {
            owner: self.claim_owner(net),
            max_connections: self.config.max_connections,
            refusal: SharedFrame::new(|out| {
                // Writing to memory does not fail.
                let _ = write_error(out, &Packet::default(), &busy);
            }),
            ..ListenOptions::default()
        }
    }

    /// Returns the maximum number of connections.
    fn max_connections(&self, net: &Net) -> usize {
        let of_loop = net.limits().max_connections;
        self.config
            .max_connections
            .map_or(of_loop, |own| own.min(of_loop))
    }

    fn claim_owner(&mut self, net: &mut Net) -> Owner {
        *self.owner.get_or_insert_with(|| net.new_owner())
    }

    fn serve_on(&mut self, net: &mut Net, listener: ListenerId) -> io::Result<SocketAddr> {
        let owner = self.claim_owner(net);
        if self.listeners.is_empty() {
            if self.config.loopback_host.is_none() && !net.has_ipv4_loopback() {
                self.config.loopback_host = Some(Ipv6Addr::LOCALHOST.to_string());
            }
            self.epoch = format!("{:016x}", net.random());
            let salt = &mut self.admission.salt;
            salt.get_or_insert_with(|| Salt::new(net.random(), net.random()));
            self.turned_at = net.now();
            self.begin_warm_up(net);
            net.arm(owner, net.now() + liveness::CHECK_INTERVAL, liveness::TAG);
        }
        self.listeners.push(listener);
        net.local_addr(listener)
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Begins to stop: closes the listeners, and each connection once its queue is written.
    ///
    /// Each session receives a different time after which to reconnect. Peers do not see the list
    /// shrink. The stop is complete when [`Net::connections`] is zero.
    pub fn stop(&mut self, net: &mut Net) {
        self.is_stopping = true;
        for listener in self.listeners.drain(..) {
            net.close_listener(listener);
        }
        let sessions = self.peers.iter().filter(|(_, peer)| peer.session.is_some());
        let mut retries = retry_after(sessions.count());
        for (conn, peer) in self.peers.iter_mut() {
            if peer.session.is_some() {
                let after = millis(retries.next().unwrap_or_default());
                net.send_with(conn, |out| write_draining(out, after));
            }
            net.close(conn, Close::AfterFlush);
        }
        let snapshot = self.snapshot();
        self.persistence.persist(snapshot);
    }

    /// Lists the entries of an earlier run until their nodes reconnect, and begins a warm-up. Nodes
    /// that have not reconnected when it ends are removed with
    /// [`Cause::Absent`](crate::registry::Cause).
    ///
    /// Call it before the first turn. Returns the number of entries that are left out because they
    /// exceed a limit. [`Distributor::persist_to`] has an example.
    pub fn restore(&mut self, net: &mut Net, restored: Restored) -> usize {
        let mut left_out = restored.left_out();
        self.admission.salt = Some(restored.salt);
        self.begin_warm_up(net);
        for (entry, identity) in restored.entries {
            match self.registry.join(entry) {
                Ok(id) => {
                    self.identities.restore(id, identity, &self.registry);
                    self.persistence.changed(id);
                }
                Err(_) => left_out += 1,
            }
        }
        let entries = self.registry.len();
        self.emit(net, None, Event::Restored(entries));
        left_out
    }

    /// Passes the list to `sink` from now on: at the end of turns in which it changed, at most
    /// every 50 ms, and in [`Distributor::stop`].
    ///
    /// Call it after [`Distributor::restore`], so that a crash between the two loses nothing.
    ///
    /// ```
    /// use std::fs::{self, File};
    /// use std::io::Write;
    /// # use std::{sync::mpsc, thread};
    /// use pilcrow::distributor::{Config, Distributor, Restored, Snapshot, SnapshotSink};
    /// use pilcrow::reactor::{Limits, Reactor};
    ///
    /// struct Writer(mpsc::Sender<Snapshot>);
    ///
    /// impl SnapshotSink for Writer {
    ///     fn persist(&mut self, snapshot: Snapshot) {
    ///         let _ = self.0.send(snapshot);
    ///     }
    /// }
    ///
    /// # let path = std::env::temp_dir().join(format!("pilcrow-doc-{}", std::process::id()));
    /// # let file = path.clone();
    /// let config = Config::default();
    /// let mut reactor = Reactor::new(Limits::default())?;
    /// let mut distributor = Distributor::new(config.clone());
    /// if let Ok(bytes) = fs::read(&path)
    ///     && let Ok(restored) = Restored::decode(&bytes, &config.registration)
    /// {
    ///     distributor.restore(reactor.net(), restored);
    /// }
    /// let (sender, snapshots) = mpsc::channel::<Snapshot>();
    /// let writer = thread::spawn(move || {
    ///     snapshots.into_iter().try_for_each(|snapshot| {
    ///         // In this order, a crash leaves the old file or the new one.
    ///         let new = path.with_extension("new");
    ///         let mut file = File::create(&new)?;
    ///         file.write_all(&snapshot.into_bytes())?;
    ///         file.sync_all()?;
    ///         fs::rename(&new, &path)
    ///     })
    /// });
    /// distributor.persist_to(reactor.net(), Writer(sender));
    /// distributor.listen(reactor.net(), ([127, 0, 0, 1], 0).into())?;
    /// // Turn the reactor here, until the program ends.
    /// distributor.stop(reactor.net());
    /// while reactor.net().connections() > 0 {
    ///     reactor.turn(None, &mut distributor)?;
    /// }
    /// drop(distributor);
    /// writer.join().expect("the last snapshot is written")?;
    /// # assert!(Restored::decode(&fs::read(&file)?, &config.registration).is_ok());
    /// # fs::remove_file(file)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn persist_to(&mut self, net: &mut Net, sink: impl SnapshotSink + 'static) {
        let owner = self.claim_owner(net);
        let list = self.snapshot();
        self.persistence.start(net, owner, Box::new(sink), list);
    }

    /// Returns a snapshot of the list, as the sink would receive it now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(self.admission.salt(), &self.registry, &self.identities)
    }

    /// Returns the counters of the sink.
    pub fn snapshot_counts(&self) -> SnapshotCounts {
        self.persistence.counts()
    }

    /// Replaces the tokens. Admitted connections stay admitted.
    pub fn set_tokens(&mut self, tokens: Tokens) {
        self.admission.set_tokens(tokens);
    }

    /// Removes these entries from the list. Their nodes stay connected and continue to serve; a
    /// node that registers again is listed again.
    ///
    /// [`Distributor::take_drained`] returns the result once all sessions have acknowledged the
    /// removal, or after `wait`, which is capped at [`MAX_DRAIN_WAIT`].
    pub fn drain_entries(&mut self, net: &mut Net, ids: &[EntryId], wait: Duration) -> DrainId {
        self.begin_drain(net, ids, wait, None, "drained by the admin API")
    }

    /// Returns the results of completed drains, once each. Call it after turns while a drain of
    /// [`Distributor::drain_entries`] is pending.
    pub fn take_drained(&mut self) -> Vec<(DrainId, Drained)> {
        self.drains.take_finished()
    }

    /// Returns the registered entries.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Returns the addresses of its listeners.
    pub fn local_addrs(&self, net: &Net) -> impl Iterator<Item = SocketAddr> {
        let listeners = self.listeners.iter();
        listeners.filter_map(|listener| net.local_addr(*listener))
    }

    /// Returns the counters.
    pub fn stats(&self) -> &Stats {
        &self.events.stats
    }

    /// Keeps a [`Journal`] from now on. Call it before [`Distributor::listen`], so that it has the
    /// first events.
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

    /// Returns a view of the nodes and sessions.
    pub fn view(&self) -> View<'_> {
        View {
            registry: &self.registry,
            identities: &self.identities,
            peers: &self.peers,
            journal: self.journal(),
        }
    }

    /// Returns the sizes of its collections besides the registry and the peers, by name. All are
    /// bounded. For metrics.
    pub fn sizes(&self) -> impl Iterator<Item = (&'static str, usize)> {
        let [identities, instances, unclaimed] = self.identities.sizes();
        let journal = self.journal().map(Journal::sizes);
        let [events, pushes, samples, joined] = journal.unwrap_or_default();
        let [suspects, recently_silent] = self.self_preservation.sizes();
        let [drains, drains_awaited] = self.drains.sizes();
        let [scheduled, deltas, old_lists, _] = self.pushes.sizes();
        [
            ("history", self.registry.history_len()),
            ("identities", identities),
            ("instances", instances),
            ("unclaimed", unclaimed),
            ("suspects", suspects),
            ("recently_silent", recently_silent),
            ("subscriptions", self.peers.subscriptions.len()),
            ("drains", drains),
            ("drains_awaited", drains_awaited),
            ("lists_owed", scheduled),
            ("deltas", deltas),
            ("old_lists", old_lists),
            ("events", events),
            ("pushes", pushes),
            ("ack_samples", samples),
            ("joined_times", joined),
        ]
        .into_iter()
    }

    /// Returns the bytes of old lists that peers have not read yet, with their name. For metrics.
    pub fn bytes_kept(&self) -> [(&'static str, usize); 1] {
        let [.., old_list_bytes] = self.pushes.sizes();
        [("old_lists", old_list_bytes)]
    }

    /// Returns how long the list may still be incomplete; zero if it is complete.
    pub fn warms_up_for(&self, now: Time) -> Duration {
        self.warm_up.remaining(now)
    }

    /// Returns whether [`Distributor::stop`] was called.
    pub fn is_stopping(&self) -> bool {
        self.is_stopping
    }

    /// Returns the epoch, which distinguishes the revisions of this run from those of others.
    pub fn epoch(&self) -> &str {
        &self.epoch
    }

    /// Returns whether a client with this address, or with this token, may see the list.
    pub fn may_see(&self, address: IpAddr, token: Option<&str>) -> bool {
        self.admission.may_see(address, token)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
