//! Pushes: which peer is sent which list, and when.
//!
//! The list is state, not a log: a backlogged peer is skipped, and sent the newest list once it has
//! read what it was sent before. A connection never holds more than one unwritten list.

mod frames;
mod pacing;

pub(super) use frames::Source;
pub(super) use pacing::TAG;

use super::events::{Event, Events, MAX_NAMES, Pushed, Subject};
use super::peer::Peer;
use crate::protocol::{LIST_HEAD_BYTES, write_list_head};
use crate::reactor::conn_map::ConnMap;
use crate::reactor::{Close, ConnId, Net, Owner, TimerId};
use frames::Frames;
use pacing::{Pacing, Sent};

/// Plain Node.js peers read this much at a time, and lose what a list has beyond it.
const PLAIN_READ_BYTES: usize = 64 << 10;

#[derive(Debug, Default)]
pub(super) struct Pushes {
    frames: Frames,
    /// The last revision that was pushed to all watching peers, except backlogged ones.
    pushed_revision: u64,
    /// Connections that are sent a list at the end of this turn, even if it has not changed.
    scheduled: Vec<ConnId>,
    pacing: Pacing,
}

impl Pushes {
    /// Sets the owner of the connections that are pushed to.
    pub(super) fn set_owner(&mut self, owner: Owner) {
        self.pacing.set_owner(owner);
    }

    /// Schedules the list that `conn` requested or has not been sent yet for the end of this turn.
    pub(super) fn schedule(&mut self, conn: ConnId) {
        self.scheduled.push(conn);
    }

    /// Returns the last revision that was pushed to all watching peers.
    pub(super) fn pushed_revision(&self) -> u64 {
        self.pushed_revision
    }

    pub(super) fn timer_fired(&mut self, timer: TimerId) {
        self.pacing.timer_fired(timer);
    }

    /// Sends scheduled lists, pushes the list if it changed and pacing allows it, and disconnects
    /// peers that hold up too many old lists. Call it at the end of each turn.
    pub(super) fn on_turn_end(
        &mut self,
        net: &mut Net,
        peers: &mut ConnMap<Peer>,
        source: Source<'_>,
        events: &mut Events,
    ) {
        let mut scheduled = std::mem::take(&mut self.scheduled);
        let mut lists_sent = 0;
        for conn in scheduled.drain(..) {
            lists_sent += self.send_scheduled(net, peers, source, conn);
        }
        self.scheduled = scheduled;
        lists_sent += self.push(net, peers, source, events);
        count_sent(net, source, events, lists_sent);
        self.cut_old_lists(net, peers, source, events);
    }

    /// Sends a connection that is no longer backlogged what it was not sent meanwhile.
    pub(super) fn catch_up(
        &mut self,
        net: &mut Net,
        peers: &mut ConnMap<Peer>,
        source: Source<'_>,
        events: &mut Events,
        conn: ConnId,
    ) {
        let mut lists_sent = self.send_scheduled(net, peers, source, conn);
        let pushed = self.pushed_revision;
        if let Some(peer) = peers.get_mut(conn)
            && peer.is_watching()
            && peer.listed_revision.is_none_or(|listed| listed < pushed)
        {
            lists_sent += self.send_update(net, source, conn, peer);
        }
        count_sent(net, source, events, lists_sent);
    }

    /// Returns how many lists or changes it queued, as all of the following.
    fn send_scheduled(
        &mut self,
        net: &mut Net,
        peers: &mut ConnMap<Peer>,
        source: Source<'_>,
        conn: ConnId,
    ) -> u64 {
        let Some(peer) = peers.get_mut(conn) else {
            return 0;
        };
        if net.is_backlogged(conn) {
            return 0;
        }
        if let Some(key) = peer.get_key.take() {
            return self.answer_get(net, source, conn, peer, &key);
        }
        let revision = source.registry.revision();
        let push_follows = revision != self.pushed_revision && peer.is_behind(revision);
        if peer.owes_list && !push_follows {
            self.send_update(net, source, conn, peer)
        } else {
            0
        }
    }

    fn answer_get(
        &mut self,
        net: &mut Net,
        source: Source<'_>,
        conn: ConnId,
        peer: &mut Peer,
        key: &str,
    ) -> u64 {
        self.frames.set_revision(source, net.now());
        let list = self.frames.list(source, peer.session.is_some());
        let mut lists_sent = 0;
        if let Some(mut answer) = net.send(conn)
            && write_list_head(&mut answer, key).is_ok()
        {
            answer.finish_with(list, LIST_HEAD_BYTES);
            lists_sent = 1;
        }
        // For a session it is as good as a push. A plain peer is pushed its own list all the same;
        // if that is in this turn, both share the memory.
        if let Some(session) = &mut peer.session {
            session.heard_at = net.now();
            peer.was_sent(source.registry.revision(), source.is_complete);
        }
        net.resume(conn);
        lists_sent
    }

    /// Brings one connection to the current revision.
    fn send_update(
        &mut self,
        net: &mut Net,
        source: Source<'_>,
        conn: ConnId,
        peer: &mut Peer,
    ) -> u64 {
        self.frames.set_revision(source, net.now());
        let (frame, _) = self.frames.for_peer(source, peer);
        peer.was_sent(source.registry.revision(), source.is_complete);
        u64::from(net.send_shared(conn, &frame))
    }

    /// Pushes the list to all watching peers, if it changed and pacing allows it.
    fn push(
        &mut self,
        net: &mut Net,
        peers: &mut ConnMap<Peer>,
        source: Source<'_>,
        events: &mut Events,
    ) -> u64 {
        let registry = source.registry;
        let emit = |net: &Net, events: &mut Events, event| {
            events.emit(net.now(), registry, Subject::default(), event);
        };
        if let Some(took) = self.pacing.settle(net) {
            emit(net, events, Event::PushWritten(took));
        }
        let (revision, entries) = (registry.revision(), registry.len());
        if revision == self.pushed_revision || !self.pacing.allows(net, entries) {
            return 0;
        }
        self.pacing.begin(net, entries);
        self.pushed_revision = revision;
        self.frames.set_revision(source, net.now());
        let names_backlogged = events.journal.is_some();
        let mut lists_sent = 0;
        let mut sent = Sent::default();
        let mut pushed = Pushed {
            revision,
            at: net.now(),
            sent: 0,
            backlogged: 0,
            backlogged_names: Vec::new(),
            total: 0,
            asks_for_ack: self.frames.asks_for_ack(),
            acked: 0,
            last_acked_at: None,
            untracked: 0,
        };
        for (conn, peer) in peers.iter_mut() {
            if !peer.is_watching() {
                continue;
            }
            if peer.session.is_some() {
                pushed.total += 1;
            } else {
                pushed.untracked += 1;
            }
            let is_backlogged = net.is_backlogged(conn);
            if is_backlogged {
                pushed.backlogged += 1;
                let entry = peer.entry.and_then(|id| registry.get(id));
                if let Some(entry) = entry
                    && names_backlogged
                    && pushed.backlogged_names.len() < MAX_NAMES
                {
                    pushed.backlogged_names.push(entry.name.clone());
                }
                continue;
            }
            pushed.sent += 1;
            if peer.is_behind(revision) {
                let (frame, is_list) = self.frames.for_peer(source, peer);
                let is_sent = net.send_shared(conn, &frame);
                peer.was_sent(revision, source.is_complete);
                lists_sent += u64::from(is_sent);
                sent.plain_peers += u64::from(is_sent && peer.session.is_none());
                if is_list {
                    sent.bytes_of_lists += frame.as_bytes().len();
                } else {
                    sent.bytes_of_changes += frame.as_bytes().len();
                }
            }
        }
        self.pacing.set_sent(sent);
        emit(net, events, Event::Pushed(pushed));
        let bytes = self.frames.plain_list_bytes();
        if bytes > PLAIN_READ_BYTES && sent.plain_peers > 0 {
            emit(net, events, Event::PushOversized { bytes });
        }
        lists_sent
    }

    /// Disconnects the peers that hold the oldest lists, while all old lists together are too large.
    fn cut_old_lists(
        &mut self,
        net: &mut Net,
        peers: &ConnMap<Peer>,
        source: Source<'_>,
        events: &mut Events,
    ) {
        while let Some(revision) = self.frames.too_old() {
            let holders = peers
                .iter()
                .filter(|(_, peer)| peer.listed_revision == Some(revision));
            for (conn, peer) in holders {
                if net.is_backlogged(conn) {
                    let subject = peer.subject(source.registry);
                    events.emit(net.now(), source.registry, subject, Event::OldListsCut);
                    net.close(conn, Close::Now);
                }
            }
        }
    }

    /// Returns how many connections a list is scheduled for.
    pub(super) fn scheduled(&self) -> usize {
        self.scheduled.len()
    }

    pub(super) fn deltas(&self) -> usize {
        self.frames.deltas()
    }

    /// Returns the number of old lists and changes that some peer has not read yet, and their
    /// bytes.
    pub(super) fn old_lists(&self) -> (usize, usize) {
        self.frames.old_lists()
    }
}

fn count_sent(net: &Net, source: Source<'_>, events: &mut Events, lists: u64) {
    if lists > 0 {
        let sent = Event::ListsSent(lists);
        events.emit(net.now(), source.registry, Subject::default(), sent);
    }
}
