//! The model: what must be true, computed without the production code.
//!
//! It receives the events of a Distributor in the order in which its handler does, and the frames
//! that peers received. From the events it computes every possible list, and checks the frames
//! against them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::run::{Conn, Packet, Run, Saved};
use crate::shelf::Shelf;
use crate::views::View;
use pilcrow::Time;
use pilcrow::reactor::CloseReason;
use pilcrow::testing::sim::{ProcessId, World};

/// A broken promise.
#[derive(Clone, Debug)]
pub struct Broken {
    pub promise: u8,
    pub what: String,
}

/// Number of pushes that waited, by the reason.
#[derive(Clone, Copy, Default)]
pub struct Folds {
    pub by_budget: u64,
    pub by_debt: u64,
    pub by_plain_pause: u64,
}

pub type List = Rc<[Rc<str>]>;

/// Identifies a peer through all its connections and restarts.
pub type ActorId = usize;

#[derive(Default)]
pub struct Model {
    pub broken: Option<Broken>,
    pub runs: Vec<Run>,
    /// The peer of each connection, by the address of the peer.
    pub actor_of: BTreeMap<SocketAddr, ActorId>,
    pub views: BTreeMap<ActorId, View>,
    /// Nodes that subscribe to what they call.
    pub subscribers: BTreeSet<ActorId>,
    /// Peers whose connections may be closed for what they send or do not read.
    pub liars: Vec<bool>,
    pub longest_list_bytes: usize,
    pub folds: Folds,
    pub shelf: Shelf,
    /// Entries that each list of a later run than this must have.
    pub kept: Vec<(ProcessId, Rc<str>)>,
}

impl Model {
    /// Records a broken promise, if it is the first.
    pub fn break_promise(&mut self, promise: u8, what: impl Into<String>) {
        if self.broken.is_none() {
            let what = what.into();
            self.broken = Some(Broken { promise, what });
        }
    }

    /// Records that a Distributor started, with the snapshot of an earlier one.
    pub fn begin_run(&mut self, process: ProcessId, saved: Option<Saved>, world: &World) {
        let mut run = Run::new(process);
        if let Some(saved) = saved {
            run.restore(saved, world.now(), world.now() + world.ahead(process));
        }
        self.runs.push(run);
    }

    pub fn run_of(&mut self, process: ProcessId) -> &mut Run {
        let run = self.runs.iter_mut().rev();
        run.into_iter()
            .find(|run| run.process == process)
            .expect("the Distributor is known")
    }

    /// Returns the run that has this connection.
    pub fn run_with(&mut self, peer: SocketAddr) -> Option<&mut Run> {
        let mut runs = self.runs.iter_mut().rev();
        runs.find(|run| run.conns.contains_key(&peer) || run.gone.contains_key(&peer))
    }

    pub fn is_liar(&self, peer: SocketAddr) -> bool {
        let actor = self.actor_of.get(&peer);
        actor.is_none_or(|actor| self.liars.get(*actor).copied().unwrap_or(true))
    }

    pub fn opened(&mut self, process: ProcessId, peer: SocketAddr, now: Time) {
        let run = self.run_of(process);
        let conn = Conn {
            last_frame_at: now,
            last_list: run.lists.len() - 1,
            ..Conn::default()
        };
        if run.conns.insert(peer, conn).is_some() {
            self.break_promise(8, format!("{peer} was opened twice"));
        }
    }

    /// Records a frame that a Distributor received.
    pub fn frame_received(
        &mut self,
        process: ProcessId,
        peer: SocketAddr,
        frame: &[u8],
        now: Time,
        was_taken: bool,
    ) {
        let is_liar = self.is_liar(peer);
        let run = self.run_of(process);
        let Some(conn) = run.conns.get_mut(&peer) else {
            return self.break_promise(8, format!("a frame of {peer}, which is not open"));
        };
        conn.last_frame_at = now;
        let packet: Packet<'_> = match serde_json::from_slice(frame) {
            Ok(packet) => packet,
            Err(error) if is_liar => {
                conn.is_refused = true;
                drop(error);
                return;
            }
            Err(error) => {
                let frame = String::from_utf8_lossy(frame).into_owned();
                return self.break_promise(
                    7,
                    format!("the frame of {peer} was split wrongly: {error}: {frame}"),
                );
            }
        };
        match (packet.uri.as_str(), packet.method.as_str()) {
            ("/distributes", "POST") => run.register(peer, &packet, now, was_taken),
            ("/distributes", "DELETE") => run.drain(peer),
            ("/distributes/heartbeat", "POST") => run.heartbeat(peer, &packet),
            _ => {}
        }
        run.note_list_within_turn();
    }

    /// Records and checks the end of a connection of a Distributor.
    pub fn closed(
        &mut self,
        world: &World,
        process: ProcessId,
        peer: SocketAddr,
        why: CloseReason,
        silence: Duration,
    ) {
        let facts = world.facts(process, peer);
        let now = world.now() + world.ahead(process);
        let is_liar = self.is_liar(peer);
        let run = self.run_of(process);
        let Some(conn) = run.conns.remove(&peer) else {
            return self.break_promise(8, format!("{peer} was closed twice"));
        };
        let is_silent = conn.has_session && now.saturating_since(conn.last_frame_at) >= silence;
        let is_justified = match why {
            CloseReason::PeerClosed | CloseReason::Failed(_) | CloseReason::PeerVanished => {
                facts.is_some_and(|facts| facts.has_ended)
            }
            CloseReason::WriteTimeout => facts.is_some_and(|facts| {
                now.saturating_since(facts.wrote_at) >= Duration::from_millis(9_900)
            }),
            CloseReason::Local => {
                conn.is_superseded || conn.is_refused || is_silent || run.is_stopping
            }
            CloseReason::FrameTimeout | CloseReason::NoFirstByte => true,
            _ => is_liar,
        };
        let must_read_first = matches!(why, CloseReason::FrameTimeout | CloseReason::NoFirstByte)
            || why == CloseReason::Local && is_silent && !run.is_stopping && !conn.is_superseded;
        let has_sent = facts.is_some_and(|facts| {
            facts.unread_bytes > 0
                && world.now().saturating_since(facts.heard_at) > Duration::from_millis(20)
        });
        if !run.is_stopping {
            match why {
                CloseReason::PeerVanished | CloseReason::WriteTimeout => {
                    run.doubt(&conn, world.now());
                }
                _ => run.leave(&conn),
            }
            run.release(&conn, peer);
            run.note_list_within_turn();
        }
        run.gone.insert(peer, conn);
        if !is_justified && !is_liar {
            self.break_promise(
                3,
                format!("{peer} was closed without a reason: {why:?} {facts:?}"),
            );
        }
        if must_read_first && has_sent && !is_liar {
            let what = format!("{peer} was closed for silence with unread bytes: {why:?}");
            self.break_promise(3, what);
        }
    }

    /// Records a turn of a Distributor, and checks the connections that it saw end.
    pub fn turned(&mut self, process: ProcessId, world: &World) {
        let run = self.run_of(process);
        run.note_list(world.now());
        let entries = run.entries.iter();
        let bytes: usize = entries.map(|entry| entry.text.len() + 14).sum();
        for peer in world.take_ends_seen(process) {
            if run.conns.contains_key(&peer) && world.facts(process, peer).is_some() {
                let what = format!("{peer} is kept although its end was seen");
                return self.break_promise(3, what);
            }
        }
        self.longest_list_bytes = self.longest_list_bytes.max(bytes);
    }
}
