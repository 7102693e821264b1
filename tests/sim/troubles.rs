//! Troubles: faults above the network, and the usual activity of a fleet.

use std::time::Duration;

use pilcrow::reactor::Limits;
use pilcrow::testing::sim::{Link, ProcessId, Random};

use crate::fleet::{ActorKind, Fleet, Later, Running};
use crate::model::ActorId;
use crate::raw::Kind;
use crate::state_file::FILE;

macro_rules! troubles {
    ($($name:ident,)*) => {
        /// Trouble of one step.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum Trouble { $($name,)* }

        impl Trouble {
            pub const ALL: &[Trouble] = &[$(Trouble::$name,)*];
        }
    };
}

troubles! {
    // Activity.
    Calls,
    Change,
    RequestList,
    Resubscribe,
    Join,
    Leave,
    DrainNode,
    // Faults.
    MassJoin,
    MassLeave,
    NodeKill,
    NodePause,
    NodeFlap,
    HostCrash,
    HostFreeze,
    OneWayPartition,
    FullPartition,
    ClogSome,
    ZeroWindow,
    ResetLink,
    DistributorKill,
    DistributorPause,
    DistributorStop,
    DistributorCrash,
    DistributorFreeze,
    ClockJump,
    TimeOfDayJump,
    StateSpoiled,
    StateDiskFull,
    FewFds,
    Garbage,
    SlowReader,
    NeverReader,
    HalfCloser,
    SilentConnection,
    Twins,
    OldEpoch,
    ForgedAnswers,
}

/// Frequency of each trouble, for one seed.
pub struct Weights(Vec<(Trouble, u64)>);

impl Weights {
    /// Each seed leaves some out, so that rare ones meet.
    pub fn drawn(random: &mut Random) -> Weights {
        let share = [2_000, 5_000, 8_000][random.index(3)];
        let weight = |random: &mut Random, trouble: &Trouble| match trouble {
            Trouble::Calls | Trouble::Change | Trouble::Join => random.between(1, 8),
            _ if random.chance(share) => random.between(1, 8),
            _ => 0,
        };
        let all = Trouble::ALL.iter();
        Weights(
            all.map(|trouble| (*trouble, weight(random, trouble)))
                .collect(),
        )
    }

    pub fn draw(&self, random: &mut Random) -> Trouble {
        let total = self.0.iter().map(|(_, weight)| weight).sum();
        let mut left = random.below(total);
        for (trouble, weight) in &self.0 {
            match left.checked_sub(*weight) {
                Some(rest) => left = rest,
                None => return *trouble,
            }
        }
        Trouble::Calls
    }
}

/// Draws limits that a Distributor reaches now and then.
pub fn limits(random: &mut Random) -> Limits {
    Limits {
        max_read_bytes_per_turn: [64, 600, 64 << 10][random.index(3)],
        max_frames_per_turn: [1, 3, 64][random.index(3)],
        max_accepts_per_turn: [1, 3, 64][random.index(3)],
        max_frame_bytes: [4 << 10, 64 << 10][random.index(2)],
        max_connections: [40, 10_000][random.index(2)],
        max_flush_per_turn: Duration::from_micros([50, 10_000][random.index(2)]),
        listen_backlog: [3, 4096][random.index(2)],
        ..Limits::default()
    }
}

const MAX_ACTORS: usize = 26;
const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

impl Fleet {
    fn some_time(&mut self) -> Duration {
        self.random.duration(20 * MILLI, 25 * SECOND)
    }

    fn some_actor(&mut self, is_wanted: impl Fn(&Running) -> bool) -> Option<ActorId> {
        let ids: Vec<ActorId> = (0..self.actors.len())
            .filter(|id| is_wanted(&self.actors[*id].running))
            .collect();
        (!ids.is_empty()).then(|| ids[self.random.index(ids.len())])
    }

    fn some_running(&mut self) -> Option<ActorId> {
        self.some_actor(|running| !matches!(running, Running::Not))
    }

    fn some_subscriber(&mut self) -> Option<ActorId> {
        self.some_actor(
            |running| matches!(running, Running::Raw(raw) if raw.kind == Kind::Subscriber),
        )
    }

    fn some_node(&mut self) -> Option<ActorId> {
        self.some_actor(|running| matches!(running, Running::Node(_)))
    }

    fn add_some(&mut self, kind: ActorKind, host_of: Option<ActorId>) {
        if self.actors.len() < MAX_ACTORS {
            self.add(kind, host_of);
            return;
        }
        // A killed one of this kind is started again instead of a new one.
        let gone = (0..self.actors.len()).find(|id| {
            self.actors[*id].kind == kind && matches!(self.actors[*id].running, Running::Not)
        });
        if let Some(id) = gone {
            self.start(id);
        }
    }

    fn distributor_id(&self) -> Option<ProcessId> {
        self.distributor.as_ref().map(|distributor| distributor.id)
    }

    fn pause(&mut self, process: ProcessId) {
        if self.paused.contains_key(&process) {
            return;
        }
        let (now, time) = (self.now(), self.some_time());
        self.paused.insert(process, now);
        self.disturb(process);
        self.later(time, Later::Resume(process));
    }

    fn some_link(&mut self) -> Option<Link> {
        let process = match (self.random.index(2), self.distributor_id()) {
            (0, Some(distributor)) => distributor,
            _ => {
                let actor = self.some_running()?;
                self.process_of(actor)?
            }
        };
        let links = self.world().links(process);
        (!links.is_empty()).then(|| links[self.random.index(links.len())])
    }

    /// Starts this trouble. Its end is scheduled.
    pub fn make(&mut self, trouble: Trouble) {
        self.log(&format!("{trouble:?}"));
        *self.troubles.entry(trouble).or_default() += 1;
        match trouble {
            Trouble::Calls => self.make_calls(),
            Trouble::Change => {
                if let Some(id) = self.some_running()
                    && let Running::Raw(raw) = &mut self.actors[id].running
                {
                    raw.change();
                    raw.due = Some(self.shared.world.now());
                }
            }
            Trouble::Resubscribe => {
                if let Some(id) = self.some_subscriber()
                    && let Running::Raw(raw) = &mut self.actors[id].running
                {
                    raw.resubscribe(&self.shared.model.borrow(), &mut self.random);
                    raw.due = Some(self.shared.world.now());
                }
            }
            Trouble::RequestList => {
                if let Some(id) = self.some_running()
                    && let Running::Raw(raw) = &mut self.actors[id].running
                {
                    raw.request_list();
                    raw.due = Some(self.shared.world.now());
                }
            }
            Trouble::Join => self.join(),
            Trouble::MassJoin => (0..6).for_each(|_| self.join()),
            Trouble::Leave | Trouble::NodeKill => {
                if let Some(id) = self.some_running() {
                    let time = self.some_time();
                    self.kill(id);
                    self.later(time, Later::StartActor(id));
                }
            }
            Trouble::MassLeave => {
                for id in 0..self.actors.len() {
                    if self.random.chance(6_000) {
                        let time = self.some_time();
                        self.kill(id);
                        self.later(time, Later::StartActor(id));
                    }
                }
            }
            Trouble::DrainNode => {
                if let Some(id) = self.some_node()
                    && let Running::Node(node) = &mut self.actors[id].running
                    && !node.is_draining
                {
                    node.is_draining = true;
                    let net = node.reactor.net();
                    node.node.context(net).drain(2 * SECOND);
                }
            }
            Trouble::NodePause => {
                if let Some(process) = self.some_running().and_then(|id| self.process_of(id)) {
                    self.pause(process);
                }
            }
            Trouble::NodeFlap => {
                if let Some(id) = self.some_node() {
                    self.kill(id);
                    self.start(id);
                }
            }
            Trouble::HostCrash => {
                if let Some(id) = self.some_running() {
                    self.crash_host_of(id);
                }
            }
            Trouble::HostFreeze => {
                if let Some(id) = self.some_running() {
                    let host = self.actors[id].host;
                    let time = self.some_time();
                    self.dark.insert(host);
                    self.world().power(host, false);
                    for other in 0..self.actors.len() {
                        if self.actors[other].host == host
                            && let Some(process) = self.process_of(other)
                        {
                            self.disturb(process);
                            self.later(time, Later::Resume(process));
                        }
                    }
                    self.later(time, Later::Power(host));
                }
            }
            Trouble::OneWayPartition | Trouble::FullPartition => self.partition(trouble),
            Trouble::ClogSome => {
                for _ in 0..self.random.between(1, 6) {
                    if let Some(link) = self.some_link() {
                        let time = self.some_time();
                        self.world().clog(&link, true);
                        self.later(time, Later::Unclog(link));
                    }
                }
            }
            Trouble::ZeroWindow => {
                if let Some(link) = self.some_link() {
                    let time = self.some_time();
                    let bytes = self
                        .world()
                        .change_faults(|faults, _| faults.receive_buffer_bytes);
                    self.world().set_window(&link, 0);
                    self.later(time, Later::Window(link, bytes));
                }
            }
            Trouble::ResetLink => {
                if let Some(link) = self.some_link() {
                    self.world().reset(&link);
                }
            }
            Trouble::DistributorKill => {
                self.forget_distributor();
                let time = self.some_time();
                self.later(time, Later::StartDistributor);
            }
            Trouble::DistributorCrash => {
                let host = self.distributor_host;
                if !self.dark.contains(&host) {
                    self.world().crash(host);
                    self.forget_distributor();
                    self.dark.insert(host);
                    let time = self.some_time();
                    self.later(time, Later::Power(host));
                    self.later(time, Later::StartDistributor);
                }
            }
            Trouble::DistributorPause => {
                if let Some(process) = self.distributor_id() {
                    self.pause(process);
                }
            }
            Trouble::DistributorFreeze => {
                let host = self.distributor_host;
                if let Some(process) = self.distributor_id()
                    && self.dark.insert(host)
                {
                    self.world().power(host, false);
                    let time = self.some_time();
                    self.disturb(process);
                    self.later(time, Later::Power(host));
                    self.later(time, Later::Resume(process));
                }
            }
            Trouble::DistributorStop => {
                if let Some(distributor) = &mut self.distributor
                    && !distributor.is_stopping
                {
                    distributor.stop();
                    let time = self.some_time() + 12 * SECOND;
                    self.later(time, Later::StartDistributor);
                }
            }
            Trouble::ClockJump => {
                let ahead = self.some_time();
                let process = match self.random.index(3) {
                    0 => self.distributor_id(),
                    _ => self.some_node().and_then(|id| self.process_of(id)),
                };
                if let Some(process) = process {
                    self.world().jump(process, ahead, ahead);
                    self.disturb(process);
                }
            }
            Trouble::TimeOfDayJump => {
                if let Some(process) = self.distributor_id() {
                    let to = Duration::from_secs(self.random.below(4_000_000_000));
                    self.world().jump(process, Duration::ZERO, to);
                }
            }
            Trouble::StateSpoiled => {
                let file = std::path::Path::new(FILE);
                if self.world().spoil(self.distributor_host, file) {
                    self.shared.model.borrow_mut().shelf.is_spoiled = true;
                }
            }
            Trouble::StateDiskFull => {
                let time = self.some_time();
                self.world().fill_disk(self.distributor_host, true);
                self.later(time, Later::DiskRoom);
            }
            Trouble::FewFds => {
                if let Some(process) = self.distributor_id() {
                    let time = self.some_time();
                    let more = self.random.index(3);
                    self.world().limit_fds(process, more);
                    self.later(time, Later::Fds(process));
                }
            }
            Trouble::Garbage => self.add_some(ActorKind::Raw(Kind::Liar, None), None),
            Trouble::SlowReader => self.add_some(ActorKind::Raw(Kind::SlowReader, None), None),
            Trouble::NeverReader => self.add_some(ActorKind::Raw(Kind::NeverReader, None), None),
            Trouble::HalfCloser => self.add_some(ActorKind::Raw(Kind::HalfCloser, None), None),
            Trouble::SilentConnection => self.add_some(ActorKind::Raw(Kind::Silent, None), None),
            Trouble::ForgedAnswers => self.add_some(ActorKind::Raw(Kind::Forger, None), None),
            Trouble::OldEpoch => self.add_some(ActorKind::Raw(Kind::Replayer, None), None),
            Trouble::Twins => {
                let kind = ActorKind::Raw(Kind::Twin, Some("twin0twin0twin".to_owned()));
                let first = self.actors.iter().position(|actor| actor.kind == kind);
                let host_of = first.filter(|_| self.random.chance(7_000));
                self.add_some(kind, host_of);
            }
        }
    }

    fn join(&mut self) {
        let kind = match self.random.index(5) {
            0 | 1 => ActorKind::Node,
            2 => ActorKind::Raw(Kind::Subscriber, None),
            3 => ActorKind::Raw(Kind::Plain, None),
            _ => ActorKind::Raw(Kind::Watcher, None),
        };
        self.add_some(kind, None);
    }

    fn make_calls(&mut self) {
        for _ in 0..self.random.between(1, 6) {
            let deadline = self.random.duration(5 * MILLI, 6 * SECOND);
            let is_idempotent = self.random.chance(3_000);
            let of = self.some_node().filter(|_| self.random.chance(3_000));
            if let Some(id) = self.some_node()
                && let Some(process) = self.process_of(id)
                && !self.paused.contains_key(&process)
                && let Running::Node(node) = &mut self.actors[id].running
            {
                node.call(of, deadline, is_idempotent);
            }
        }
    }

    fn crash_host_of(&mut self, id: ActorId) {
        let host = self.actors[id].host;
        self.world().crash(host);
        self.dark.insert(host);
        let time = self.some_time();
        self.later(time, Later::Power(host));
        for other in 0..self.actors.len() {
            if self.actors[other].host == host {
                self.kill(other);
                self.later(time, Later::StartActor(other));
            }
        }
    }

    fn partition(&mut self, trouble: Trouble) {
        let Some(id) = self.some_running() else {
            return;
        };
        let here = self.actors[id].host;
        let other = self.random.index(self.actors.len());
        let there = match self.random.index(3) {
            0 => self.actors[other].host,
            _ => self.distributor_host,
        };
        let (from, to) = if self.random.chance(5_000) {
            (here, there)
        } else {
            (there, here)
        };
        let time = self.some_time();
        self.world().block(from, to);
        self.later(time, Later::Unblock(from, to));
        if trouble == Trouble::FullPartition {
            self.world().block(to, from);
            self.later(time, Later::Unblock(to, from));
        }
    }

    fn forget_distributor(&mut self) {
        if let Some(process) = self.distributor_id() {
            self.paused.remove(&process);
        }
        self.distributor = None;
    }
}
