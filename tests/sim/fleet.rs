//! All processes of one simulation.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use pilcrow::Time;
use pilcrow::distributor::Config;
use pilcrow::reactor::Limits;
use pilcrow::testing::sim::{Faults, HostId, Link, ProcessId, Random, World};

use crate::calls::Calls;
use crate::distributor::DistributorProcess;
use crate::model::{ActorId, Model};
use crate::nodes::{DISTRIBUTOR, NodeProcess, Shared};
use crate::raw::{Kind, Raw};
use crate::state_file::StateFile;
use crate::troubles::Trouble;

/// One peer, running or not.
pub struct Actor {
    pub host: HostId,
    pub kind: ActorKind,
    pub running: Running,
    /// It is not turned before: a process does not run all the time.
    pub rests_until: Time,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ActorKind {
    Node,
    Raw(Kind, Option<String>),
}

pub enum Running {
    Node(Box<NodeProcess>),
    Raw(Box<Raw>),
    Not,
}

/// The scheduled end of a trouble.
#[derive(Clone, Debug)]
pub enum Later {
    Resume(ProcessId),
    Power(HostId),
    StartDistributor,
    StartActor(ActorId),
    Unblock(HostId, HostId),
    Unclog(Link),
    Window(Link, usize),
    Fds(ProcessId),
    DiskRoom,
}

pub struct Fleet {
    pub shared: Shared,
    pub distributor_host: HostId,
    pub addr: SocketAddr,
    pub distributor: Option<DistributorProcess>,
    pub distributor_rests_until: Time,
    /// True if the Distributor has a state file.
    pub keeps_state: bool,
    pub actors: Vec<Actor>,
    pub paused: BTreeMap<ProcessId, Time>,
    pub dark: BTreeSet<HostId>,
    pub later: BTreeMap<(Time, u64), Later>,
    laters: u64,
    pub limits: Limits,
    pub config: Config,
    pub turns: u64,
    /// Number of troubles of each kind.
    pub troubles: BTreeMap<Trouble, u64>,
    pub random: Random,
}

impl Fleet {
    pub fn new(mut random: Random, faults: Faults, limits: Limits) -> Fleet {
        let world = World::new(Random::new(random.bits()), faults).expect("/dev/null opens");
        let distributor_host = world.add_host(Ipv4Addr::new(10, 0, 0, 1).into());
        let shared = Shared {
            world,
            model: Rc::new(RefCell::new(Model::default())),
            calls: Rc::new(RefCell::new(Calls::default())),
            random: Rc::new(RefCell::new(Random::new(random.bits()))),
        };
        let addr = ([10, 0, 0, 1], 9000).into();
        shared.world.set_name(DISTRIBUTOR, &[addr]);
        Fleet {
            shared,
            distributor_host,
            addr,
            distributor: None,
            distributor_rests_until: Time::ZERO,
            keeps_state: false,
            actors: Vec::new(),
            paused: BTreeMap::new(),
            dark: BTreeSet::new(),
            later: BTreeMap::new(),
            laters: 0,
            limits,
            config: Config::default(),
            turns: 0,
            troubles: BTreeMap::new(),
            random,
        }
    }

    pub fn world(&self) -> &World {
        &self.shared.world
    }

    pub fn now(&self) -> Time {
        self.shared.world.now()
    }

    pub fn is_broken(&self) -> bool {
        self.shared.model.borrow().broken.is_some()
    }

    pub fn broken(&self, promise: u8, what: impl Into<String>) {
        self.shared.model.borrow_mut().break_promise(promise, what);
    }

    /// Adds a line to the trace.
    pub fn log(&self, line: &str) {
        self.shared.world.log(line);
    }

    pub fn later(&mut self, wait: Duration, what: Later) {
        self.laters += 1;
        self.later.insert((self.now() + wait, self.laters), what);
    }

    /// Starts a Distributor, unless one runs.
    pub fn start_distributor(&mut self) {
        if self.distributor.is_some() || self.dark.contains(&self.distributor_host) {
            return;
        }
        let world = self.world().clone();
        let process = world.start(self.distributor_host);
        let (config, limits) = (self.config.clone(), self.limits.clone());
        let model = Rc::clone(&self.shared.model);
        let state_file = self
            .keeps_state
            .then(|| StateFile::new(&world, self.distributor_host, &model));
        let addr = self.addr;
        match DistributorProcess::start(process, addr, config, limits, &world, &model, state_file) {
            Ok(started) => self.distributor = Some(started),
            Err(error) => self.broken(8, format!("a Distributor did not start: {error}")),
        }
        self.log("a Distributor starts");
    }

    /// Adds a peer and starts it, on a host of its own or on that of another peer.
    pub fn add(&mut self, kind: ActorKind, host_of: Option<ActorId>) -> ActorId {
        let actor = self.actors.len();
        let host = match host_of {
            Some(other) => self.actors[other].host,
            None => {
                let number = u32::try_from(actor).expect("few actors") + 2;
                let addr = Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 0).to_bits() + number);
                self.world().add_host(addr.into())
            }
        };
        self.actors.push(Actor {
            host,
            kind,
            running: Running::Not,
            rests_until: Time::ZERO,
        });
        self.start(actor);
        actor
    }

    pub fn start(&mut self, id: ActorId) {
        let actor = &self.actors[id];
        if !matches!(actor.running, Running::Not) || self.dark.contains(&actor.host) {
            return;
        }
        let (host, kind) = (actor.host, actor.kind.clone());
        let process = self.world().start(host);
        let is_honest;
        let running = match kind {
            ActorKind::Node => {
                is_honest = true;
                let addr = self.node_addr(id);
                let limits = Limits {
                    max_connections: 1000,
                    max_frame_bytes: 64 << 10,
                    ..self.limits.clone()
                };
                let node = NodeProcess::start(id, process, addr, self.addr, limits, &self.shared);
                match node {
                    Ok(node) => Running::Node(Box::new(node)),
                    Err(error) => {
                        return self.broken(8, format!("node {id} did not start: {error}"));
                    }
                }
            }
            ActorKind::Raw(kind, instance) => {
                let mut raw = Raw::new(id, kind, process, self.addr, instance);
                if kind == Kind::Forger && raw.be_called(self.node_addr(id)).is_err() {
                    return self.broken(8, format!("forger {id} cannot listen"));
                }
                is_honest = raw.is_honest();
                Running::Raw(Box::new(raw))
            }
        };
        let mut model = self.shared.model.borrow_mut();
        if model.liars.len() <= id {
            model.liars.resize(id + 1, false);
        }
        model.liars[id] = !is_honest;
        model.views.remove(&id);
        drop(model);
        self.actors[id].running = running;
        self.log(&format!("actor {id} starts: {:?}", self.actors[id].kind));
    }

    pub fn node_addr(&self, id: ActorId) -> SocketAddr {
        let number = u32::try_from(id).expect("few actors") + 2;
        let addr = Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 0).to_bits() + number);
        SocketAddr::from((addr, 9000 + u16::try_from(id).expect("few actors")))
    }

    /// Kills a peer: its kernel closes its connections.
    pub fn kill(&mut self, id: ActorId) {
        if let Some(process) = self.process_of(id) {
            self.paused.remove(&process);
        }
        self.actors[id].running = Running::Not;
        self.shared.calls.borrow_mut().forget(id);
    }

    pub fn process_of(&self, id: ActorId) -> Option<ProcessId> {
        match &self.actors[id].running {
            Running::Node(node) => Some(node.id),
            Running::Raw(raw) => Some(raw.process.id()),
            Running::Not => None,
        }
    }

    /// Records that something kept `process` from running, or cut it off.
    pub fn disturb(&mut self, process: ProcessId) {
        let now = self.now();
        for actor in &mut self.actors {
            if let Running::Node(node) = &mut actor.running
                && node.id == process
            {
                node.undisturbed_since = now;
            }
        }
        if let Some(distributor) = &mut self.distributor
            && distributor.id == process
        {
            distributor.undisturbed_since = now;
        }
    }

    pub fn do_later(&mut self) {
        while let Some((at, what)) = self.later.first_key_value()
            && at.0 <= self.now()
        {
            let (at, what) = (*at, what.clone());
            self.later.remove(&at);
            self.log(&format!("{what:?}"));
            match what {
                Later::Resume(process) => {
                    self.paused.remove(&process);
                    self.disturb(process);
                }
                Later::Power(host) => {
                    self.dark.remove(&host);
                    self.world().power(host, true);
                }
                Later::StartDistributor => self.start_distributor(),
                Later::StartActor(actor) => self.start(actor),
                Later::Unblock(from, to) => self.world().unblock(from, to),
                Later::Unclog(link) => self.world().clog(&link, false),
                Later::Window(link, bytes) => self.world().set_window(&link, bytes),
                Later::Fds(process) => self.world().limit_fds(process, usize::MAX / 2),
                Later::DiskRoom => self.world().fill_disk(self.distributor_host, false),
            }
        }
    }

    /// Ends all trouble now.
    pub fn end_all_trouble(&mut self) {
        self.log("all trouble ends");
        self.world()
            .change_faults(|faults, _| faults.are_on = false);
        for host in std::mem::take(&mut self.dark) {
            self.world().power(host, true);
        }
        for (process, _) in std::mem::take(&mut self.paused) {
            self.disturb(process);
        }
        for (_, what) in std::mem::take(&mut self.later) {
            match what {
                Later::StartActor(actor) => self.start(actor),
                // Its host was off.
                Later::Resume(process) => self.disturb(process),
                Later::Fds(process) => self.world().limit_fds(process, usize::MAX / 2),
                _ => {}
            }
        }
        self.world().heal();
        if self
            .distributor
            .as_ref()
            .is_some_and(|known| known.is_stopping)
        {
            self.distributor = None;
        }
        self.start_distributor();
    }

    pub fn nodes(&mut self) -> impl Iterator<Item = &mut NodeProcess> {
        self.actors
            .iter_mut()
            .filter_map(|actor| match &mut actor.running {
                Running::Node(node) => Some(&mut **node),
                _ => None,
            })
    }

    pub fn raws(&self) -> impl Iterator<Item = &Raw> {
        self.actors.iter().filter_map(|actor| match &actor.running {
            Running::Raw(raw) => Some(&**raw),
            _ => None,
        })
    }
}
