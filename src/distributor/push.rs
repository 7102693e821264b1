//! Who gets which list when.
//!
//! The list is state, not a log: whoever can't take it now gets the newest one when it can. A
//! connection never holds more than one list that is not written.

use std::time::Duration;

use super::Distributor;
use super::events::{Event, MAX_NAMES, Pushed};
use super::pacing::{Pacing, Sent};
use super::peer::Peer;
use crate::protocol::{
    LIST_HEAD_BYTES, Stamp, Watch, write_delta, write_list, write_list_head, write_session_list,
};
use crate::reactor::{Close, ConnId, Net, Owner, SharedFrame, TimerId};
use crate::registry::Registry;
use crate::time::Time;

/// Existing peers read this much at a time, and lose what a list has beyond it.
const LEGACY_READ_BYTES: usize = 64 << 10;

#[derive(Debug, Default)]
pub(super) struct Push {
    frames: Frames,
    /// The last revision that went to all who watch, but for those who were backlogged.
    pushed_revision: u64,
    /// Connections that get a list at the end of this turn, or were to: each is looked at again.
    owed: Vec<ConnId>,
    pacing: Pacing,
}

impl Push {
    /// Says under whom the connections are that it goes to.
    pub(super) fn set_owner(&mut self, owner: Owner) {
        self.pacing.set_owner(owner);
    }

    pub(super) fn owe(&mut self, conn: ConnId) {
        self.owed.push(conn);
    }

    /// The last revision that went to all who watch.
    pub(super) fn pushed_revision(&self) -> u64 {
        self.pushed_revision
    }

    pub(super) fn owed(&self) -> usize {
        self.owed.len()
    }

    pub(super) fn deltas(&self) -> usize {
        self.frames.deltas.len()
    }

    /// Lists and deltas that somebody has not taken yet though they are old, and their bytes.
    pub(super) fn old_lists(&self) -> (usize, usize) {
        let old = self.frames.old_lists.iter();
        let bytes = old.map(|(_, list)| list.as_bytes().len()).sum();
        (self.frames.old_lists.len(), bytes)
    }

    pub(super) fn timer_rang(&mut self, timer: TimerId) {
        self.pacing.timer_rang(timer);
    }
}

/// What a list is made of.
#[derive(Clone, Copy)]
struct Source<'a> {
    registry: &'a Registry,
    epoch: &'a str,
    is_complete: bool,
}

impl<'a> Source<'a> {
    fn stamp(&self, ack: bool) -> Stamp<'a> {
        Stamp {
            epoch: self.epoch,
            rev: self.registry.revision(),
            ack,
        }
    }

    fn write(&self, out: &mut Vec<u8>, has_session: bool, ack: bool) {
        let entries = |out: &mut Vec<u8>| self.registry.write_entries(out);
        if has_session {
            let ids = |out: &mut Vec<u8>| self.registry.write_ids(out);
            write_session_list(out, "0", self.stamp(ack), self.is_complete, entries, ids);
        } else {
            write_list(out, "0", entries);
        }
    }
}

/// What peers that don't read may cost together. Each holds one list, and those who stopped at the
/// same revision share it; with a long list and many revisions it would still be too much.
const MAX_OLD_LIST_BYTES: usize = 128 << 20;

/// What the deltas of one revision may take together. Each resuming session names the revision it
/// comes from, so one could have thousands made, each nearly as long as the list.
const MAX_DELTA_BYTES: usize = 16 << 20;

/// What goes to many, each encoded at most once a revision.
#[derive(Debug, Default)]
struct Frames {
    /// Lists and deltas of earlier revisions that somebody has not taken yet, the oldest first.
    old_lists: Vec<(u64, SharedFrame)>,
    revision: Option<u64>,
    plain_list: Encoded,
    session_list: Encoded,
    deltas: Vec<(u64, Option<SharedFrame>)>,
    delta_bytes: usize,
    asks_for_ack: bool,
    asked_for_ack_at: Option<Time>,
}

/// A frame, and whether it is of the current revision. Kept when it is not, so that the next one
/// can be made in its memory.
#[derive(Debug, Default)]
struct Encoded {
    frame: SharedFrame,
    is_current: bool,
}

impl Encoded {
    fn get(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> &SharedFrame {
        if !std::mem::replace(&mut self.is_current, true) {
            self.frame.rebuild(encode);
        }
        &self.frame
    }
}

/// How often a change is to be acknowledged at once though nobody waits for it: a sample of how
/// long news take.
const ACK_SAMPLE: Duration = Duration::from_secs(1);

impl Frames {
    /// Makes everything anew that is not of `revision`.
    fn turn_to(&mut self, revision: u64, now: Time, somebody_drains: bool) {
        let before = self.revision.replace(revision);
        if before == Some(revision) {
            return;
        }
        self.old_lists.retain(|(_, list)| list.is_shared());
        for list in [&mut self.plain_list, &mut self.session_list] {
            if list.is_current && list.frame.is_shared() {
                self.old_lists
                    .push((before.unwrap_or(0), list.frame.clone()));
            }
            list.is_current = false;
        }
        let made = self.deltas.drain(..).filter_map(|(_, delta)| delta);
        let held = made.filter(SharedFrame::is_shared);
        self.old_lists
            .extend(held.map(|delta| (before.unwrap_or(0), delta)));
        self.delta_bytes = 0;
        let is_due = |last| now.saturating_since(last) >= ACK_SAMPLE;
        self.asks_for_ack = somebody_drains || self.asked_for_ack_at.is_none_or(is_due);
        if self.asks_for_ack {
            self.asked_for_ack_at = Some(now);
        }
    }

    /// The revision whose holders cost too much: those who have taken none since. `None` while all
    /// the old lists together are within bounds.
    fn too_old(&mut self) -> Option<u64> {
        let old = self.old_lists.iter();
        let bytes: usize = old.map(|(_, list)| list.as_bytes().len()).sum();
        if bytes <= MAX_OLD_LIST_BYTES || self.old_lists.is_empty() {
            return None;
        }
        let (revision, _) = self.old_lists.remove(0);
        Some(revision)
    }

    /// What brings `session` to the current revision, and whether that is a whole list.
    fn for_session(&mut self, source: Source<'_>, peer: &Peer) -> (SharedFrame, bool) {
        let Some(session) = &peer.session else {
            return (self.list(source, false).clone(), true);
        };
        let must_hear_all = session.was_told_incomplete && source.is_complete;
        let from = peer
            .listed_revision
            .filter(|_| session.watch == Watch::Delta && !must_hear_all && !session.needs_list);
        match from.and_then(|from| self.delta(source, from)) {
            Some(delta) => (delta, false),
            None => (self.list(source, true).clone(), true),
        }
    }

    /// What leads from the revision `from` to the current one, if it is not too long ago and not
    /// too much. Most sessions are at the same one, so there are few.
    fn delta(&mut self, source: Source<'_>, from: u64) -> Option<SharedFrame> {
        if let Some((_, made)) = self.deltas.iter().find(|(other, _)| *other == from) {
            return made.clone();
        }
        if self.delta_bytes > MAX_DELTA_BYTES {
            return None;
        }
        let registry = source.registry;
        let frame = registry.delta_since(from).map(|delta| {
            let joined = |out: &mut Vec<u8>| registry.write_some(out, &delta.joined);
            let left = delta
                .left
                .iter()
                .map(|(id, cause)| (id.number(), cause.as_str()));
            let ids = |out: &mut Vec<u8>| crate::registry::write_ids(out, &delta.joined);
            let stamp = source.stamp(self.asks_for_ack);
            SharedFrame::new(|out| write_delta(out, stamp, from, joined, left, ids))
        });
        self.delta_bytes += frame.as_ref().map_or(0, |frame| frame.as_bytes().len());
        self.deltas.push((from, frame.clone()));
        frame
    }

    /// The whole list.
    fn list(&mut self, source: Source<'_>, has_session: bool) -> &SharedFrame {
        let list = match has_session {
            true => &mut self.session_list,
            false => &mut self.plain_list,
        };
        let ack = self.asks_for_ack;
        list.get(|out| source.write(out, has_session, ack))
    }
}

impl Distributor {
    /// Sends a list to those who get one by themselves, and not because it changed for all.
    pub(super) fn send_owed(&mut self, net: &mut Net) {
        let mut owed = std::mem::take(&mut self.push.owed);
        for conn in owed.drain(..) {
            self.send_owed_to(net, conn);
        }
        self.push.owed = owed;
    }

    /// A connection that was backlogged has taken all: now it gets what it missed.
    pub(super) fn catch_up(&mut self, net: &mut Net, conn: ConnId) {
        if self.is_stopping {
            return;
        }
        self.send_owed_to(net, conn);
        let pushed = self.push.pushed_revision;
        if let Some(peer) = self.peers.get(conn)
            && peer.is_watching()
            && peer.listed_revision.is_none_or(|listed| listed < pushed)
        {
            self.send_update(net, conn);
        }
    }

    fn send_owed_to(&mut self, net: &mut Net, conn: ConnId) {
        if net.is_backlogged(conn) {
            return;
        }
        let Some(peer) = self.peers.get_mut(conn) else {
            return;
        };
        if let Some(key) = peer.get_key.take() {
            self.answer_get(net, conn, &key);
            return;
        }
        let revision = self.registry.revision();
        let push_follows = revision != self.push.pushed_revision && peer.is_behind(revision);
        if peer.owes_list && !push_follows {
            self.send_update(net, conn);
        }
    }

    fn answer_get(&mut self, net: &mut Net, conn: ConnId, key: &str) {
        let revision = self.registry.revision();
        let somebody_drains = !self.drains.is_empty();
        self.push
            .frames
            .turn_to(revision, net.now(), somebody_drains);
        let source = Source {
            registry: &self.registry,
            epoch: &self.epoch,
            is_complete: self.is_complete,
        };
        let Some(peer) = self.peers.get_mut(conn) else {
            return;
        };
        let list = self.push.frames.list(source, peer.session.is_some());
        let mut is_sent = false;
        if let Some(mut answer) = net.send(conn) {
            // Writing to a queue does not fail.
            let _ = write_list_head(&mut answer, key);
            answer.finish_with(list, LIST_HEAD_BYTES);
            is_sent = true;
        }
        // To a session it is as good as one that is sent by itself. A plain peer is sent its own
        // all the same; if it is in this turn, it shares the memory.
        if let Some(session) = &mut peer.session {
            session.heard_at = net.now();
            peer.was_sent(revision, self.is_complete);
        }
        net.resume(conn);
        self.emit(net, Some(conn), Event::ListsSent(u64::from(is_sent)));
    }

    /// Brings one connection to the current revision.
    fn send_update(&mut self, net: &mut Net, conn: ConnId) {
        let revision = self.registry.revision();
        self.push
            .frames
            .turn_to(revision, net.now(), !self.drains.is_empty());
        let source = Source {
            registry: &self.registry,
            epoch: &self.epoch,
            is_complete: self.is_complete,
        };
        let Some(peer) = self.peers.get_mut(conn) else {
            return;
        };
        let (frame, _) = self.push.frames.for_session(source, peer);
        let is_sent = net.send_shared(conn, &frame);
        peer.was_sent(revision, self.is_complete);
        self.emit(net, Some(conn), Event::ListsSent(u64::from(is_sent)));
    }

    /// Cuts those who hold the oldest lists, while all old ones together are too much.
    pub(super) fn cut_the_farthest_behind(&mut self, net: &mut Net) {
        while let Some(revision) = self.push.frames.too_old() {
            let holders: Vec<ConnId> = self
                .peers
                .iter()
                .filter(|(_, peer)| peer.listed_revision == Some(revision))
                .map(|(conn, _)| conn)
                .collect();
            for conn in holders {
                if net.is_backlogged(conn) {
                    self.emit(net, Some(conn), Event::OldListsCut);
                    net.close(conn, Close::Now);
                }
            }
        }
    }

    /// Sends the list to all who watch it, if it changed and it is time.
    pub(super) fn push_changes(&mut self, net: &mut Net) {
        if let Some(took) = self.push.pacing.settle(net) {
            self.emit(net, None, Event::PushWritten(took));
        }
        let revision = self.registry.revision();
        let entries = self.registry.len();
        if revision == self.push.pushed_revision || !self.push.pacing.allows(net, entries) {
            return;
        }
        self.push.pacing.began(net, entries);
        self.push.pushed_revision = revision;
        self.push
            .frames
            .turn_to(revision, net.now(), !self.drains.is_empty());
        let asks_for_ack = self.push.frames.asks_for_ack;
        let source = Source {
            registry: &self.registry,
            epoch: &self.epoch,
            is_complete: self.is_complete,
        };
        let has_journal = self.events.journal.is_some();
        let mut sent = Sent::default();
        let mut lists_sent = 0;
        let mut pushed = Pushed {
            revision,
            at: net.now(),
            sent: 0,
            backlogged: 0,
            backlogged_names: Vec::new(),
            total: 0,
            asks_for_ack,
            acked: 0,
            last_acked_at: None,
            untracked: 0,
        };
        for (conn, peer) in self.peers.iter_mut() {
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
                let entry = peer.entry.and_then(|id| self.registry.get(id));
                if let Some(entry) = entry
                    && has_journal
                    && pushed.backlogged_names.len() < MAX_NAMES
                {
                    pushed.backlogged_names.push(entry.name.clone());
                }
                continue;
            }
            pushed.sent += 1;
            if peer.is_behind(revision) {
                let (frame, is_list) = self.push.frames.for_session(source, peer);
                let is_sent = net.send_shared(conn, &frame);
                peer.was_sent(revision, self.is_complete);
                lists_sent += u64::from(is_sent);
                sent.existing_peers += u64::from(is_sent && peer.session.is_none());
                if is_list {
                    sent.bytes_of_lists += frame.as_bytes().len();
                } else {
                    sent.bytes_of_changes += frame.as_bytes().len();
                }
            }
        }
        self.push.pacing.sends(sent);
        self.emit(net, None, Event::Pushed(pushed));
        self.emit(net, None, Event::ListsSent(lists_sent));
        let bytes = self.push.frames.plain_list.frame.as_bytes().len();
        if bytes > LEGACY_READ_BYTES && sent.existing_peers > 0 {
            self.emit(net, None, Event::PushOversized { bytes });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deltas_that_are_not_taken_count_as_old_lists_do() {
        let mut frames = Frames::default();
        frames.turn_to(1, Time::ZERO, false);
        let delta = SharedFrame::new(|out| out.resize(MAX_OLD_LIST_BYTES / 8, b'x'));
        frames.deltas = (0..9).map(|from| (from, Some(delta.clone()))).collect();
        frames.turn_to(2, Time::ZERO, false);
        assert_eq!(frames.too_old(), Some(1));
        drop(frames);

        let mut frames = Frames::default();
        frames.deltas.push((0, Some(delta)));
        frames.turn_to(2, Time::ZERO, false);
        assert!(frames.old_lists.is_empty(), "nobody waits for it");
    }
}
