//! Who gets which list when.
//!
//! The list is state, not a log: whoever can't take it now gets the newest one when it can. A
//! connection never holds more than one list that is not written.

use tracing::warn;

use super::Distributor;
use super::log::Subject;
use super::pacing::Pacing;
use crate::protocol::{LIST_HEAD_BYTES, write_list, write_list_head};
use crate::reactor::{Close, ConnId, Net, SharedFrame, TimerId};
use crate::registry::Registry;

/// Existing peers read this much at a time, and lose what a list has beyond it.
const LEGACY_READ_BYTES: usize = 64 << 10;

/// What peers that don't read may cost together. Each holds one list, and those who stopped at the
/// same revision share it; with a long list and many revisions it would still be too much.
const MAX_OLD_LIST_BYTES: usize = 128 << 20;

#[derive(Debug, Default)]
pub(super) struct Push {
    list: SharedFrame,
    list_revision: Option<u64>,
    /// Lists of earlier revisions that somebody has not taken yet, the oldest first.
    old_lists: Vec<(u64, SharedFrame)>,
    /// The last revision that went to all who are registered, but for those who were backlogged.
    pushed_revision: u64,
    /// Connections that get a list at the end of this turn, or were to: each is looked at again.
    owed: Vec<ConnId>,
    pacing: Pacing,
    warned_of_size: bool,
}

impl Push {
    pub(super) fn owe(&mut self, conn: ConnId) {
        self.owed.push(conn);
    }

    pub(super) fn timer_rang(&mut self, timer: TimerId) {
        self.pacing.timer_rang(timer);
    }

    /// The list as it is now, encoded at most once a revision.
    fn list(&mut self, registry: &Registry) -> &SharedFrame {
        if self.list_revision != Some(registry.revision()) {
            self.keep_old_list();
            self.list_revision = Some(registry.revision());
            self.list
                .rebuild(|out| write_list(out, "0", |out| registry.write_entries(out)));
        }
        &self.list
    }

    fn keep_old_list(&mut self) {
        self.old_lists.retain(|(_, list)| list.is_shared());
        if let Some(revision) = self.list_revision
            && self.list.is_shared()
        {
            self.old_lists.push((revision, self.list.clone()));
        }
    }

    /// The revision whose holders cost too much: those who have taken none since. `None` while all
    /// the old lists together are within bounds.
    fn too_old(&mut self) -> Option<u64> {
        let bytes: usize = self
            .old_lists
            .iter()
            .map(|(_, list)| list.as_bytes().len())
            .sum();
        if bytes <= MAX_OLD_LIST_BYTES || self.old_lists.is_empty() {
            return None;
        }
        let (revision, _) = self.old_lists.remove(0);
        Some(revision)
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
        if let Some(session) = self.sessions.get(conn)
            && session.entry.is_some()
            && session.listed_revision.is_none_or(|listed| listed < pushed)
        {
            self.send_list(net, conn);
        }
    }

    fn send_owed_to(&mut self, net: &mut Net, conn: ConnId) {
        if net.is_backlogged(conn) {
            return;
        }
        let Some(session) = self.sessions.get_mut(conn) else {
            return;
        };
        if let Some(key) = session.get_key.take() {
            // It is an answer, and takes the place of no list that is sent by itself. One that
            // follows in this turn shares its memory.
            let list = self.push.list(&self.registry);
            if let Some(mut answer) = net.send(conn) {
                // Writing to a queue does not fail.
                let _ = write_list_head(&mut answer, &key);
                answer.finish_with(list, LIST_HEAD_BYTES);
                self.stats.lists_sent += 1;
            }
            net.resume(conn);
            return;
        }
        let revision = self.registry.revision();
        let push_follows = revision != self.push.pushed_revision && session.is_behind(revision);
        if session.owes_list && !push_follows {
            self.send_list(net, conn);
        }
    }

    fn send_list(&mut self, net: &mut Net, conn: ConnId) {
        let Some(session) = self.sessions.get_mut(conn) else {
            return;
        };
        session.owes_list = false;
        session.listed_revision = Some(self.registry.revision());
        let sent = net.send_shared(conn, self.push.list(&self.registry));
        self.stats.lists_sent += u64::from(sent);
    }

    /// Cuts those who hold the oldest lists, while all old ones together are too much.
    pub(super) fn cut_the_farthest_behind(&mut self, net: &mut Net) {
        while let Some(revision) = self.push.too_old() {
            for (conn, session) in self.sessions.iter_mut() {
                if session.listed_revision == Some(revision) && net.is_backlogged(conn) {
                    let peer = session.peer;
                    self.log.say(net.now(), Subject::OldList, |more| {
                        warn!(%peer, more, "closed: it reads too slowly, and memory is short");
                    });
                    net.close(conn, Close::Now);
                }
            }
        }
    }

    /// Sends the list to all who are registered, if it changed and it is time.
    pub(super) fn push_changes(&mut self, net: &mut Net) {
        self.push.pacing.settle(net);
        let revision = self.registry.revision();
        if revision == self.push.pushed_revision || !self.push.pacing.allows(net) {
            return;
        }
        self.push.pacing.began(net);
        self.push.pushed_revision = revision;
        self.stats.pushes += 1;
        let list = self.push.list(&self.registry).clone();
        let mut receivers = 0;
        for (conn, session) in self.sessions.iter_mut() {
            if session.is_behind(revision) && !net.is_backlogged(conn) {
                session.owes_list = false;
                session.listed_revision = Some(revision);
                receivers += u64::from(net.send_shared(conn, &list));
            }
        }
        self.stats.lists_sent += receivers;
        self.watch_size(net, list.as_bytes().len(), receivers);
    }

    fn watch_size(&mut self, net: &Net, bytes: usize, receivers: u64) {
        if bytes <= LEGACY_READ_BYTES || receivers == 0 {
            return;
        }
        self.stats.oversized_pushes += 1;
        if !std::mem::replace(&mut self.push.warned_of_size, true) {
            self.log.say(net.now(), Subject::ListSize, |_| {
                warn!(
                    bytes,
                    "the list has passed 64 KiB: existing Node.js peers may lose it"
                );
            });
        }
    }
}
