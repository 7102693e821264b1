//! A process with a Distributor, which reports its events to the model.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use pilcrow::Time;
use pilcrow::distributor::{Config, Distributor, Snapshot, SnapshotSink};
use pilcrow::reactor::{CloseReason, ConnId, Handler, Limits, Net, Origin, Reactor, TimerId};
use pilcrow::registry::Cause;
use pilcrow::testing::sim::{Process, ProcessId, World};

use crate::model::Model;
use crate::state_file::StateFile;

pub struct DistributorProcess {
    pub id: ProcessId,
    pub reactor: Reactor,
    pub distributor: Distributor,
    pub silence: Duration,
    /// The last time that something kept it from running.
    pub undisturbed_since: Time,
    pub is_stopping: bool,
    pub state_file: Option<StateFile>,
    newest: Newest,
    conns: BTreeMap<ConnId, SocketAddr>,
    world: World,
    model: Rc<RefCell<Model>>,
}

impl DistributorProcess {
    pub fn start(
        process: Process,
        addr: SocketAddr,
        config: Config,
        limits: Limits,
        world: &World,
        model: &Rc<RefCell<Model>>,
        mut state_file: Option<StateFile>,
    ) -> io::Result<DistributorProcess> {
        let id = process.id();
        let silence = config.silence;
        let registration = config.registration.clone();
        let mut reactor = Reactor::simulated(process, limits);
        let mut distributor = Distributor::new(config);
        distributor.listen(reactor.net(), addr)?;
        let (restored, saved) = match &mut state_file {
            Some(file) => file.load(&registration),
            None => (None, None),
        };
        model.borrow_mut().begin_run(id, saved, world);
        let newest = Newest::default();
        if state_file.is_some() {
            distributor.persist_to(reactor.net(), newest.clone());
        }
        if let Some(restored) = restored {
            let left_out = distributor.restore(reactor.net(), restored);
            if left_out > 0 {
                let what = format!("{left_out} entries of the snapshot were not restored");
                model.borrow_mut().break_promise(5, what);
            }
        }
        Ok(DistributorProcess {
            id,
            reactor,
            distributor,
            silence,
            undisturbed_since: world.now(),
            is_stopping: false,
            state_file,
            newest,
            conns: BTreeMap::new(),
            world: world.clone(),
            model: Rc::clone(model),
        })
    }

    pub fn turn(&mut self) -> io::Result<()> {
        let mut watched = Watched {
            distributor: &mut self.distributor,
            id: self.id,
            silence: self.silence,
            conns: &mut self.conns,
            world: &self.world,
            model: &self.model,
        };
        let before = *watched.distributor.stats();
        self.reactor.turn(Some(Duration::ZERO), &mut watched)?;
        let after = self.distributor.stats();
        let mut model = self.model.borrow_mut();
        model.folds.by_budget += after.folds_by_budget - before.folds_by_budget;
        model.folds.by_debt += after.folds_by_debt - before.folds_by_debt;
        model.folds.by_plain_pause += after.folds_by_plain_pause - before.folds_by_plain_pause;
        model.turned(self.id, &self.world);
        drop(model);
        self.persist();
        Ok(())
    }

    /// Writes the newest snapshot, after the model has recorded the turn.
    fn persist(&mut self) {
        let snapshot = self.newest.0.borrow_mut().take();
        if let (Some(file), Some(snapshot)) = (&mut self.state_file, snapshot) {
            file.save(self.id, snapshot);
        }
    }

    /// Starts a planned stop.
    pub fn stop(&mut self) {
        self.is_stopping = true;
        self.model.borrow_mut().run_of(self.id).is_stopping = true;
        self.distributor.stop(self.reactor.net());
        self.persist();
    }

    /// Returns whether a planned stop is complete: all connections are closed, and the list is on
    /// disk.
    pub fn has_stopped(&mut self, now: Time) -> bool {
        let is_left = self.is_stopping && self.reactor.net().connections() == 0;
        let file = self.state_file.as_mut();
        is_left && file.is_none_or(|file| file.is_done(now))
    }

    /// Returns the connections that its handler knows.
    pub fn conns(&self) -> impl Iterator<Item = (ConnId, SocketAddr)> {
        self.conns.iter().map(|(conn, peer)| (*conn, *peer))
    }
}

/// The newest snapshot that the Distributor has handed over.
#[derive(Clone, Default)]
struct Newest(Rc<RefCell<Option<Snapshot>>>);

impl SnapshotSink for Newest {
    fn persist(&mut self, snapshot: Snapshot) {
        *self.0.borrow_mut() = Some(snapshot);
    }
}

struct Watched<'a> {
    distributor: &'a mut Distributor,
    id: ProcessId,
    silence: Duration,
    conns: &'a mut BTreeMap<ConnId, SocketAddr>,
    world: &'a World,
    model: &'a RefCell<Model>,
}

impl Handler for Watched<'_> {
    fn on_open(&mut self, net: &mut Net, conn: ConnId, origin: Origin) {
        if let Some(peer) = net.peer_addr(conn) {
            self.conns.insert(conn, peer);
            self.model.borrow_mut().opened(self.id, peer, net.now());
        }
        self.distributor.on_open(net, conn, origin);
    }

    fn on_frame(&mut self, net: &mut Net, conn: ConnId, frame: &[u8]) {
        let before = self.distributor.stats().registrations;
        self.distributor.on_frame(net, conn, frame);
        let was_taken = self.distributor.stats().registrations > before;
        if let Some(peer) = self.conns.get(&conn) {
            let mut model = self.model.borrow_mut();
            model.frame_received(self.id, *peer, frame, net.now(), was_taken);
        }
    }

    fn on_first_bytes(&mut self, net: &mut Net, conn: ConnId, bytes: &[u8]) {
        self.distributor.on_first_bytes(net, conn, bytes);
    }

    fn on_limit(&mut self, net: &mut Net, conn: ConnId, why: CloseReason) {
        self.distributor.on_limit(net, conn, why);
    }

    fn on_drained(&mut self, net: &mut Net, conn: ConnId) {
        self.distributor.on_drained(net, conn);
    }

    fn on_close(&mut self, net: &mut Net, conn: ConnId, why: CloseReason) {
        let mut model = self.model.borrow_mut();
        match self.conns.remove(&conn) {
            Some(peer) => {
                model.closed(self.world, self.id, peer, why, self.silence);
            }
            None => model.break_promise(8, format!("{conn:?} was closed twice")),
        }
        drop(model);
        self.distributor.on_close(net, conn, why);
    }

    fn on_timer(&mut self, net: &mut Net, timer: TimerId, tag: u64) {
        let absent = |distributor: &Distributor| distributor.registry().departures(Cause::Absent);
        let before = absent(self.distributor);
        self.distributor.on_timer(net, timer, tag);
        let gone = absent(self.distributor) - before;
        if gone > 0 {
            self.model
                .borrow_mut()
                .absent_removed(self.id, gone, net.now());
        }
    }

    fn on_wake(&mut self, net: &mut Net) {
        self.distributor.on_wake(net);
    }

    fn on_turn_end(&mut self, net: &mut Net) {
        self.distributor.on_turn_end(net);
    }
}
