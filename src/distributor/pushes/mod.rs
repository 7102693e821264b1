//! Pushes: which peer receives which list, and when.
//!
//! The list is state, not a log: a backlogged peer is skipped, and receives the newest list after
//! it has read the previous one. A connection never holds more than one unwritten list.

mod budget;
mod delays;
mod frames;
mod matching;
mod pacing;

pub(super) use frames::Source;
pub(super) use pacing::TAG;

use tracing::warn;

use super::events::{Event, Events, Pushed};
use super::peer::Peer;
use super::peers::Peers;
use crate::protocol::{LIST_HEAD_BYTES, write_list_head};
use crate::reactor::{Close, ConnId, Net, Owner, SharedFrame, TimerId};
use crate::time::Time;
use delays::{Delay, Delays};
use frames::Frames;
use pacing::{Pacing, Sent};

/// Bytes that plain Node.js peers read at a time. They lose the rest of a longer list.
const PLAIN_READ_BYTES: usize = 64 << 10;

#[derive(Debug, Default)]
pub(super) struct Pushes {
    frames: Frames,
    /// Connections that receive a list at the end of this turn, even if it has not changed.
    scheduled: Vec<ConnId>,
    delays: Delays,
    /// The first list of the connections whose first frames arrive in this turn, and its revision.
    /// They share it, although each registration changes the list.
    first_list: Option<(u64, SharedFrame)>,
    pacing: Pacing,
}

/// The state of other parts of the Distributor that pushes need.
pub(super) struct Context<'a> {
    pub(super) net: &'a mut Net,
    /// Owner of the connections that are pushed to.
    pub(super) owner: Owner,
    pub(super) peers: &'a mut Peers,
    pub(super) source: Source<'a>,
    pub(super) events: &'a mut Events,
}

impl Context<'_> {
    fn reborrow(&mut self) -> Context<'_> {
        Context {
            net: self.net,
            owner: self.owner,
            peers: self.peers,
            source: self.source,
            events: self.events,
        }
    }
}

impl Pushes {
    /// Schedules the list that `conn` requested or has not received yet for the end of this turn.
    pub(super) fn schedule(&mut self, conn: ConnId) {
        self.scheduled.push(conn);
    }

    /// Schedules the first list of a connection that has just opened for the end of its wait.
    pub(super) fn await_first_frame(&mut self, now: Time, conn: ConnId) {
        // A list older than the connection is none for it.
        self.first_list = None;
        self.delays.begin(now, conn, Delay::FirstFrame);
    }

    /// Sends the first list of a connection, unless it was sent or replaced by that of a session.
    pub(super) fn send_first_list(&mut self, mut cx: Context<'_>, conn: ConnId) {
        let Some(peer) = cx.peers.get_mut(conn) else {
            return;
        };
        if !std::mem::take(&mut peer.awaits_first_list) {
            return;
        }
        let (revision, list) = self.first_list.get_or_insert_with(|| {
            self.frames.set_revision(cx.source, cx.net.now());
            let list = self.frames.list(cx.source, false).clone();
            (cx.source.registry.revision(), list)
        });
        peer.record_sent(*revision, cx.source.is_complete);
        cx.events.stats.lists_sent += u64::from(cx.net.send_shared(conn, list));
        self.begin_pause(&mut cx, conn);
    }

    /// Delays the next list to a plain peer.
    fn begin_pause(&mut self, cx: &mut Context<'_>, conn: ConnId) {
        if let Some(peer) = cx.peers.get_mut(conn)
            && peer.session.is_none()
            && !std::mem::replace(&mut peer.is_pausing, true)
        {
            self.delays.begin(cx.net.now(), conn, Delay::PlainPause);
        }
    }

    pub(super) fn timer_fired(&mut self, timer: TimerId) {
        self.pacing.timer_fired(timer);
        self.delays.timer_fired(timer);
    }

    /// Sends scheduled lists, and pushes the list if it changed and pacing allows it. Also
    /// disconnects peers that hold too many old lists. Call it at the end of each turn.
    pub(super) fn on_turn_end(&mut self, mut cx: Context<'_>) {
        cx.peers.subscriptions.match_changes(cx.source.registry);
        while let Some((conn, delay)) = self.delays.pop(cx.net.now()) {
            match delay {
                Delay::FirstFrame => self.send_first_list(cx.reborrow(), conn),
                Delay::PlainPause => self.end_pause(cx.reborrow(), conn),
            }
        }
        self.first_list = None;
        let mut scheduled = std::mem::take(&mut self.scheduled);
        for conn in scheduled.drain(..) {
            self.send_scheduled(&mut cx, conn);
        }
        self.scheduled = scheduled;
        self.push(&mut cx);
        self.cut_old_lists(&mut cx);
        self.delays.arm(cx.net, cx.owner);
    }

    /// Sends the list that a plain peer was not sent during its pause, if any.
    fn end_pause(&mut self, cx: Context<'_>, conn: ConnId) {
        if let Some(peer) = cx.peers.get_mut(conn) {
            peer.is_pausing = false;
            self.catch_up(cx, conn);
        }
    }

    /// Sends the newest list to a connection that is no longer backlogged, if it was skipped.
    pub(super) fn catch_up(&mut self, mut cx: Context<'_>, conn: ConnId) {
        self.send_scheduled(&mut cx, conn);
        let peer = cx.peers.get(conn);
        let shared = peer.and_then(|peer| cx.peers.shared_by(peer));
        let is_behind = |peer: &Peer| {
            let pushed = shared.map_or(self.pacing.changed_for(peer), |shared| shared.updated);
            peer.listed_revision.is_none_or(|listed| listed < pushed)
        };
        let is_due = |peer: &Peer| peer.is_watching() && is_behind(peer) && !peer.pauses();
        if peer.is_some_and(is_due) && !cx.net.is_backlogged(conn) {
            self.send_update(&mut cx, conn);
        }
    }

    fn send_scheduled(&mut self, cx: &mut Context<'_>, conn: ConnId) {
        if cx.net.is_backlogged(conn) {
            return;
        }
        let subscription = cx.peers.subscription_of(conn);
        let Some(peer) = cx.peers.get_mut(conn) else {
            return;
        };
        if let Some(key) = peer.get_key.take() {
            self.frames.set_revision(cx.source, cx.net.now());
            let list = match &subscription {
                Some((id, only)) => self.frames.matching_list(cx.source, *id, only),
                _ => self.frames.list(cx.source, peer.session.is_some()).clone(),
            };
            if let Some(mut answer) = cx.net.send(conn)
                && write_list_head(&mut answer, &key).is_ok()
            {
                answer.finish_with(&list, LIST_HEAD_BYTES);
                cx.events.stats.lists_sent += 1;
            }
            // For a session this replaces a push. A plain peer also receives a push; in the same
            // turn both share the memory.
            if let Some(session) = &mut peer.session {
                session.received_at = cx.net.now();
                peer.record_sent(cx.source.registry.revision(), cx.source.is_complete);
            }
            return cx.net.resume(conn);
        }
        if let Some(next) = peer
            .session
            .as_mut()
            .and_then(|session| session.next.take())
        {
            self.frames.set_revision(cx.source, cx.net.now());
            self.change_subscription(cx, conn, *next);
            return cx.net.resume(conn);
        }
        let revision = cx.source.registry.revision();
        let push_follows = revision != self.pacing.pushed_to(peer)
            && peer.is_behind(revision)
            && peer.subscription().is_none();
        if peer.is_list_due && !push_follows && !peer.pauses() {
            self.send_update(cx, conn);
        }
    }

    /// Sends the update to the current revision to one connection.
    fn send_update(&mut self, cx: &mut Context<'_>, conn: ConnId) {
        if let Some((id, only)) = cx.peers.subscription_of(conn) {
            return self.send_matching(cx, conn, id, &only);
        }
        let Some(peer) = cx.peers.get_mut(conn) else {
            return;
        };
        self.frames.set_revision(cx.source, cx.net.now());
        let (frame, _) = self.frames.for_peer(cx.source, peer);
        peer.record_sent(cx.source.registry.revision(), cx.source.is_complete);
        cx.events.stats.lists_sent += u64::from(cx.net.send_shared(conn, &frame));
        self.begin_pause(cx, conn);
    }

    /// Pushes the list to all watching peers, if it changed and pacing allows it.
    fn push(&mut self, cx: &mut Context<'_>) {
        let (registry, is_complete) = (cx.source.registry, cx.source.is_complete);
        let journal = &mut cx.events.journal;
        if let (Some(took), Some(journal)) = (self.pacing.settle(cx.net, cx.owner), journal) {
            journal.push_writing.record(took);
        }
        let revision = registry.revision();
        let stats = &mut cx.events.stats;
        let Some(due) = self.pacing.due(cx.net, cx.owner, revision, stats) else {
            return;
        };
        let began = cx.net.clock();
        self.frames.set_revision(cx.source, cx.net.now());
        let has_journal = cx.events.journal.is_some();
        let mut sent = Sent::default();
        let mut pushed = Pushed {
            revision,
            at: cx.net.now(),
            asks_for_ack: self.frames.asks_for_ack,
            ..Pushed::default()
        };
        cx.peers.for_each_watching(|conn, peer| {
            if peer.session.is_some() {
                pushed.total += 1;
            } else {
                pushed.untracked += 1;
            }
            if !due.includes(peer) {
                return;
            }
            let is_backlogged = cx.net.is_backlogged(conn);
            if is_backlogged {
                return pushed.add_backlogged(registry, peer, has_journal);
            }
            pushed.sent += 1;
            // It is sent the newest list at the end of its pause.
            if peer.is_behind(revision) && !peer.pauses() {
                let (frame, is_list) = self.frames.for_peer(cx.source, peer);
                let is_sent = cx.net.send_shared(conn, &frame);
                peer.record_sent(revision, is_complete);
                cx.events.stats.lists_sent += u64::from(is_sent);
                sent.plain_peers += u64::from(is_sent && peer.session.is_none());
                sent.add(&frame, is_list);
            }
        });
        if due.includes_sessions() {
            self.push_matching(cx, &mut pushed, &mut sent);
        }
        sent.watching_plain_peers = pushed.untracked;
        let encoding = cx.net.clock().saturating_since(began);
        let now = cx.net.now();
        self.pacing.begin(now, due, revision, encoding, sent);
        let stats = &mut cx.events.stats;
        stats.pushes += 1;
        let bytes = self.frames.plain_list_bytes();
        if bytes > PLAIN_READ_BYTES && sent.plain_peers > 0 {
            stats.oversized_pushes += 1;
            if stats.oversized_pushes == 1 {
                warn!(
                    bytes,
                    "list exceeds 64 KiB: plain Node.js peers may lose it"
                );
            }
        }
        if let Some(journal) = &mut cx.events.journal {
            journal.pushes.begin(pushed);
        }
    }

    /// Records that the current revision differs from the one before in nothing that is listed.
    pub(super) fn renewed(&mut self, revision: u64) {
        self.pacing.renewed(revision);
    }

    /// Disconnects the peers with the oldest lists while old lists are too large together.
    fn cut_old_lists(&mut self, cx: &mut Context<'_>) {
        let (registry, now) = (cx.source.registry, cx.net.now());
        while let Some(revision) = self.frames.too_old() {
            for (conn, peer) in cx.peers.iter() {
                if peer.listed_revision == Some(revision) && cx.net.is_backlogged(conn) {
                    let (subject, event) =
                        (peer.subject(registry), Event::LimitExceeded("old lists"));
                    cx.events.emit(now, registry, subject, event);
                    cx.events.stats.old_lists_cut += 1;
                    cx.net.close(conn, Close::Now);
                }
            }
        }
    }

    /// Returns the last revision that was pushed to all watching sessions, except backlogged ones.
    pub(super) fn pushed_to_sessions(&self) -> u64 {
        self.pacing.pushed_to_sessions()
    }

    /// Returns the sizes of its collections: connections with a scheduled list, deltas, old lists
    /// and changes that peers have not read yet, and the bytes of these.
    pub(super) fn sizes(&self) -> [usize; 4] {
        let (old_lists, bytes) = self.frames.old_lists();
        [
            self.scheduled.len() + self.delays.len(),
            self.frames.deltas.len(),
            old_lists,
            bytes,
        ]
    }
}
