//! A node that is embedded in the loop of a service, while others join and leave, beside a loop
//! that does nothing. Each has a thread of its own.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::pool::Pool;
use super::record::Merge::Most;
use super::record::{Record, Times};
use super::run::Run;
use crate::cli::failure::{Failure, failed};
use crate::node::{Config, LinkState, Node};
use crate::reactor::{ConnId, Handler, Limits, Net, Reactor};

/// Time that a turn waits for events. A service does its own work between two turns.
const WAIT: Duration = Duration::from_millis(1);
/// Time without an update after which the first lists are complete: one may come before the
/// session begins, and one after.
const SETTLED: Duration = Duration::from_millis(200);
/// Maximum length of a list that nodes accept.
const MAX_LIST_BYTES: usize = 16 << 20;

/// Both loops, until they are stopped.
pub(crate) struct Probe {
    node: Loop,
    idle: Loop,
}

impl Probe {
    /// Starts both loops. Returns when the node has received the list.
    pub(crate) fn start(run: &mut Run, pool: &mut Pool) -> Result<Probe, Failure> {
        let to = run.server().addr;
        let start = |turns: fn(SocketAddr, &Progress) -> io::Result<Turns>| {
            Loop::start(move |progress| turns(to, progress))
                .map_err(failed("cannot start a thread"))
        };
        let probe = Probe {
            node: start(turn_node)?,
            idle: start(|_, progress| turn_idle(progress))?,
        };
        let is_waiting = |probe: &Probe| {
            let loops = [&probe.node, &probe.idle];
            loops.iter().all(|one| one.progress.is_ready()) || probe.has_ended()
        };
        run.run_for(run.timeout, pool, |_, _| is_waiting(&probe))?;
        if probe.node.progress.is_ready() {
            return Ok(probe);
        }
        let timeout = run.timeout;
        probe.stop()?;
        Err(Failure::failed(format!(
            "the embedded node has not received the list within {timeout:?} (--timeout)"
        )))
    }

    fn has_ended(&self) -> bool {
        [&self.node, &self.idle]
            .iter()
            .any(|one| one.thread.is_finished())
    }

    /// Stops both loops, and returns the turns of the node and those of the idle loop.
    fn stop(self) -> Result<[Turns; 2], Failure> {
        Ok([self.node.stop()?, self.idle.stop()?])
    }

    /// Stops both loops, and records how long their turns took.
    pub(crate) fn report(self, record: &mut Record) -> Result<(), Failure> {
        let [node, idle] = self.stop()?;
        record.time("longest turn of an embedded node", Most, node.longest);
        record.time(
            "longest turn of a loop that does nothing",
            Most,
            idle.longest,
        );
        record.times("turn of an embedded node", &node.times);
        record.times("turn of a loop that does nothing", &idle.times);
        Ok(())
    }
}

/// A loop in a thread of its own.
struct Loop {
    progress: Arc<Progress>,
    thread: JoinHandle<io::Result<Turns>>,
}

#[derive(Default)]
struct Progress {
    is_ready: AtomicBool,
    is_stopped: AtomicBool,
}

impl Progress {
    fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Relaxed)
    }

    fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }
}

impl Loop {
    fn start(
        turns: impl FnOnce(&Progress) -> io::Result<Turns> + Send + 'static,
    ) -> io::Result<Loop> {
        let progress = Arc::new(Progress::default());
        let own = Arc::clone(&progress);
        let thread = thread::Builder::new().spawn(move || turns(&own))?;
        Ok(Loop { progress, thread })
    }

    fn stop(self) -> Result<Turns, Failure> {
        self.progress.is_stopped.store(true, Ordering::Relaxed);
        let ended = self.thread.join();
        let ended = ended.map_err(|_| Failure::failed("a thread of the probe panicked"))?;
        ended.map_err(failed("an embedded loop has ended"))
    }
}

/// Times that turns took, without waiting for events.
#[derive(Default)]
struct Turns {
    times: Times,
    longest: Option<Duration>,
}

impl Turns {
    /// Turns once, and records the time of the turn.
    fn turn(&mut self, reactor: &mut Reactor, handler: &mut dyn Handler) -> io::Result<()> {
        let before = reactor.net().counters().turn_time;
        reactor.turn(Some(WAIT), handler)?;
        let took = reactor.net().counters().turn_time.saturating_sub(before);
        self.times.record(took);
        self.longest = self.longest.max(Some(took));
        Ok(())
    }
}

/// Turns a node that watches. Its turns count from when it has the list.
fn turn_node(to: SocketAddr, progress: &Progress) -> io::Result<Turns> {
    let mut reactor = Reactor::new(Limits {
        max_frame_bytes: MAX_LIST_BYTES,
        ..Limits::default()
    })?;
    // Without a port: it is not in the list, so the other nodes receive nothing about it.
    let config = Config {
        name: "flood".to_owned(),
        distributor: Some(to.into()),
        ..Config::default()
    };
    let mut node = Node::new(config, ());
    node.start(reactor.net())?;
    let mut turns = Turns::default();
    while !progress.is_stopped() {
        turns.turn(&mut reactor, &mut node)?;
        if !progress.is_ready() {
            turns = Turns::default();
            let now = reactor.net().now();
            let cx = node.context(reactor.net());
            let has_list = cx
                .roster()
                .updated_at()
                .is_some_and(|at| at + SETTLED <= now);
            let is_ready = cx.link() == LinkState::Registered && has_list;
            progress.is_ready.store(is_ready, Ordering::Relaxed);
        }
    }
    Ok(turns)
}

/// Turns a reactor without connections or timers.
fn turn_idle(progress: &Progress) -> io::Result<Turns> {
    let mut reactor = Reactor::new(Limits::default())?;
    let mut turns = Turns::default();
    progress.is_ready.store(true, Ordering::Relaxed);
    while !progress.is_stopped() {
        turns.turn(&mut reactor, &mut Nothing)?;
    }
    Ok(turns)
}

struct Nothing;

impl Handler for Nothing {
    fn on_frame(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
}
