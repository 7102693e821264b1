//! The Distributor: everybody tells it who they are, and it tells everybody who is there.
//!
//! It is a [`Handler`]: lend it to a [`Reactor`](crate::reactor::Reactor) that listens.

mod admission;
mod drain;
mod foreign;
mod liveness;
mod log;
mod observer;
mod orphans;
mod pacing;
mod peer;
mod push;
mod register;
mod saving;
mod self_preservation;
mod state;
mod stats;
mod view;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use tracing::{debug, info, warn};

use crate::protocol::{
    DISTRIBUTES, ErrorCode, HEARTBEAT, Packet, Refusal, RegistrationLimits, write_draining,
    write_error,
};
use crate::reactor::conn_map::ConnMap;
use crate::reactor::{
    Close, CloseReason, ConnId, Handler, ListenOptions, ListenerId, Net, Origin, Owner,
    SharedFrame, TimerId,
};
use crate::registry::{Capacity, Cause, EntryId, Registry};
use crate::time::Time;
use admission::{Instances, Salt, not_admitted};
use drain::{Drain, OperatorDrains};
use foreign::foreign_protocol;
use log::{Escaped, LogLimiter, Subject};
use observer::About;
use orphans::Orphans;
use peer::Peer;
use push::Push;
use saving::Saving;
use self_preservation::SelfPreservation;
use state::Identity;

pub use admission::{Access, AddressRange, Tokens};
pub use drain::DrainId;
#[cfg(feature = "fuzzing")]
pub(crate) use log::Escaped as LoggedText;
pub use observer::{Event, Histogram, LateSessions, Observed, Pushed, What};
pub use orphans::Restored;
pub use state::{State, Unreadable, UnsavedState};
pub use stats::Stats;
pub use view::{NodeState, NodeView, SessionKind};

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
    instances: Instances,
    drains: Vec<Drain>,
    operator_drains: OperatorDrains,
    /// Whose each entry of the registry is.
    identities: BTreeMap<EntryId, Identity>,
    orphans: Orphans,
    self_preservation: SelfPreservation,
    saving: Saving,
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
    push: Push,
    log: LogLimiter,
    observed: Option<Box<Observed>>,
    stats: Stats,
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
            instances: Instances::default(),
            drains: Vec::new(),
            operator_drains: OperatorDrains::default(),
            identities: BTreeMap::new(),
            orphans: Orphans::default(),
            self_preservation: SelfPreservation::default(),
            saving: Saving::default(),
            salt: Salt::default(),
            epoch: String::new(),
            is_complete: false,
            incomplete_revision: 0,
            warms_up_until: Time::ZERO,
            warm_up_timer: None,
            turned_at: Time::ZERO,
            push: Push::default(),
            log: LogLimiter::default(),
            observed: None,
            stats: Stats::default(),
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
            self.push.set_owner(owner);
            self.epoch = format!("{:016x}", net.random());
            if self.salt == Salt::default() {
                self.salt = Salt::new(net.random(), net.random());
            }
            // Even if it is empty: then it is known early whether it can be kept.
            self.saving.changed();
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
    }

    /// Who is registered.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// What was done so far.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    fn refuse(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        packet: &Packet<'_>,
        frame: &[u8],
        why: &Refusal,
    ) {
        self.stats.refused_packets += 1;
        let addr = self.addr_of(conn);
        self.note_conn(net.now(), What::Refused(why.code), conn);
        self.log.say(net.now(), Subject::Refused(why.code), |more| {
            let frame = Escaped::frame(frame);
            warn!(peer = %addr, errorcode = why.code as u8, why = &*why.message, frame = frame.to_string(), more, "refused a packet");
        });
        if let Some(mut reply) = net.send(conn) {
            // Writing to a queue does not fail.
            let _ = write_error(&mut reply, packet, why);
            reply.finish();
        }
        // Who is over a limit is closed, so that it tries again and somebody notices. Who is
        // registered keeps what it has.
        let Some(peer) = self.peers.get(conn) else {
            return;
        };
        let is_over = why.code == ErrorCode::TooMuch && peer.entry.is_none();
        // Whoever tries tokens needs a connection for each.
        let is_outside = why.code == ErrorCode::NotAllowed && !peer.is_inside();
        self.stats.not_admitted += u64::from(is_outside);
        if is_over || is_outside {
            net.close(conn, Close::AfterFlush);
        }
    }

    fn close_foreign(&mut self, net: &mut Net, conn: ConnId, what: &'static str, bytes: &[u8]) {
        self.stats.foreign_connections += 1;
        let addr = self.addr_of(conn);
        self.note_conn(net.now(), What::Foreign(what), conn);
        self.log.say(net.now(), Subject::Foreign, |more| {
            let bytes = Escaped::frame(bytes);
            warn!(peer = %addr, bytes = bytes.to_string(), more, "closed: what came is {what}");
        });
        net.close(conn, Close::AfterFlush);
    }

    fn addr_of(&self, conn: ConnId) -> SocketAddr {
        let unknown = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        self.peers.get(conn).map_or(unknown, |peer| peer.addr)
    }

    fn report_limits(&mut self, net: &Net) {
        let counters = net.counters();
        if counters.refused + counters.shed > self.refused_before {
            self.refused_before = counters.refused + counters.shed;
            let limit = net.limits().max_connections;
            let (refused, shed) = (counters.refused, counters.shed);
            self.log.say(net.now(), Subject::Connections, |_| {
                warn!(
                    limit,
                    refused, shed, "refused connections: there are as many as allowed"
                );
            });
        }
        if counters.accept_failures > self.accept_failures_before {
            self.accept_failures_before = counters.accept_failures;
            let failures = counters.accept_failures;
            self.log.say(net.now(), Subject::Accept, |_| {
                warn!(
                    failures,
                    "could not accept: out of file descriptors or memory; trying on"
                );
            });
        }
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

impl Handler for Distributor {
    fn owns(&self, owner: Owner) -> bool {
        self.owner == Some(owner)
    }

    fn on_open(&mut self, net: &mut Net, conn: ConnId, _origin: Origin) {
        let Some(addr) = net.peer_addr(conn) else {
            return;
        };
        let addr = SocketAddr::new(addr.ip().to_canonical(), addr.port());
        debug!(peer = %addr, "connected");
        let admission = self.config.access.of_address(addr.ip());
        let (is_admitted, needs_token) = (admission.is_some(), self.config.access.tokens.is_some());
        let peer = Peer::new(addr, net.now(), admission);
        self.peers.insert(conn, peer);
        if is_admitted {
            self.push.owe(conn);
        } else if !needs_token {
            let why = not_admitted("this address is not admitted");
            self.refuse(net, conn, &Packet::default(), b"", &why);
        }
    }

    fn on_frame(&mut self, net: &mut Net, conn: ConnId, frame: &[u8]) {
        self.hear(net, conn);
        let packet = match Packet::parse(frame) {
            Ok(packet) => packet,
            Err(why) => {
                return match foreign_protocol(frame) {
                    Some(what) => self.close_foreign(net, conn, what, frame),
                    None => self.refuse(net, conn, &Packet::default(), frame, &why),
                };
            }
        };
        if packet.is_reply() {
            return;
        }
        let uri = packet.uri();
        let method = packet.method();
        let is_admitted = self
            .peers
            .get(conn)
            .is_some_and(|peer| peer.admission.is_some());
        let done = match (uri.as_deref(), method.as_deref()) {
            (Some(DISTRIBUTES), Some("POST")) => self
                .register(net, conn, &packet)
                .map(|()| self.push.owe(conn)),
            _ if !is_admitted => Err(not_admitted("a token is needed here: register with it")),
            (Some(DISTRIBUTES), Some("GET")) => {
                if let Some(peer) = self.peers.get_mut(conn) {
                    peer.get_key = Some(packet.key().map_or("null", |key| key.get()).into());
                    // One list at a time: what it asks next is read when this one was sent.
                    net.pause(conn);
                    self.push.owe(conn);
                }
                Ok(())
            }
            (Some(DISTRIBUTES), Some("DELETE")) => self.drain(net, conn, &packet),
            (Some(HEARTBEAT), Some("POST")) => self.heartbeat(net, conn, &packet),
            _ => Err(Refusal {
                code: ErrorCode::NotFound,
                message: "here is /distributes with GET, POST and DELETE, and \
                          /distributes/heartbeat with POST"
                    .into(),
            }),
        };
        if let Err(why) = done {
            self.refuse(net, conn, &packet, frame, &why);
        }
    }

    fn on_first_bytes(&mut self, net: &mut Net, conn: ConnId, bytes: &[u8]) {
        if let Some(what) = foreign_protocol(bytes) {
            self.close_foreign(net, conn, what, bytes);
        }
    }

    fn on_limit(&mut self, net: &mut Net, conn: ConnId, why: CloseReason) {
        let limits = net.limits();
        let (code, message) = match why {
            CloseReason::FrameTooLarge => (
                ErrorCode::TooMuch,
                format!("a frame has at most {} bytes", limits.max_frame_bytes),
            ),
            CloseReason::FrameTimeout => (
                ErrorCode::DeadlinePassed,
                format!("a frame must end within {:?}", limits.frame_timeout),
            ),
            CloseReason::NoFirstByte => (
                ErrorCode::DeadlinePassed,
                format!("nothing came within {:?}", limits.first_byte_timeout),
            ),
            _ => return,
        };
        let refusal = Refusal {
            code,
            message: message.into(),
        };
        if let Some(mut reply) = net.send(conn) {
            // Writing to a queue does not fail.
            let _ = write_error(&mut reply, &Packet::default(), &refusal);
            reply.finish();
        }
    }

    fn on_drained(&mut self, net: &mut Net, conn: ConnId) {
        self.catch_up(net, conn);
    }

    fn on_close(&mut self, net: &mut Net, conn: ConnId, why: CloseReason) {
        self.note_lost(net.now(), conn);
        if Subject::of_limit(why).is_some() {
            self.note_conn(net.now(), What::LimitHit(log::in_words(why)), conn);
        }
        let Some(peer) = self.peers.remove(conn) else {
            return;
        };
        let addr = peer.addr;
        self.stats.count_limit(why);
        if let Some(subject) = Subject::of_limit(why) {
            self.log.say(net.now(), subject, |more| {
                warn!(peer = %addr, more, "closed: {}", log::in_words(why));
            });
        }
        if self.is_stopping {
            return;
        }
        if let Some(instance) = peer
            .session
            .as_ref()
            .and_then(|session| session.instance.as_deref())
        {
            self.instances.release(instance, conn);
        }
        self.forget_drains_of(net, conn);
        let cause = self.cause_of(net.now(), &peer, why);
        if let Some(id) = peer.entry
            && cause == Cause::Silent
            && !peer.is_silent
            && (peer.is_suspect || self.holds_silent(net, 1))
        {
            return self.hold_orphan(net, id, peer.is_suspect);
        }
        let left = peer.entry.and_then(|id| self.let_go(id, cause));
        match left {
            Some(entry) => {
                let about = About {
                    addr: Some(addr),
                    name: &entry.name,
                    entry: peer.entry,
                };
                let what = What::Left(cause, log::in_words(why));
                self.note(net.now(), what, about);
                let name = Escaped::text(&entry.name);
                let (entries, revision) = (self.registry.len(), self.registry.revision());
                let reason = log::in_words(why);
                self.log.say(net.now(), Subject::Left, |more| {
                    info!(peer = %addr, name = name.to_string(), %cause, reason, entries, revision, more, "left");
                });
            }
            None => debug!(peer = %addr, reason = log::in_words(why), "disconnected"),
        }
    }

    fn on_timer(&mut self, net: &mut Net, timer: TimerId, tag: u64) {
        match tag {
            TAG_WARM_UP_ENDS => self.warm_up_is_over(net),
            TAG_SILENCE if !self.is_stopping => {
                self.drop_unadmitted(net);
                self.drop_silent(net);
            }
            TAG_DRAIN => self.finish_drains(net),
            TAG_SAVING => self.saving.timer_rang(),
            _ => self.push.timer_rang(timer),
        }
    }

    fn on_turn_end(&mut self, net: &mut Net) {
        self.report_limits(net);
        self.note_turn(net);
        if !self.is_stopping {
            self.look_for_standstill(net);
            self.send_owed(net);
            self.push_changes(net);
            self.cut_the_farthest_behind(net);
        }
    }
}

/// What the Distributor's timers are for. The pacing of pushes has [`pacing::TAG`].
const TAG_WARM_UP_ENDS: u64 = 1;
const TAG_SILENCE: u64 = 2;
const TAG_DRAIN: u64 = 3;
const TAG_SAVING: u64 = 4;

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
