//! The lists and changes of pushes, each encoded at most once per revision.

use std::collections::HashMap;

use crate::distributor::peer::Peer;
use crate::distributor::subscriptions::SubscriptionId;
use crate::protocol::{Stamp, Subscription, Watch, write_delta, write_list, write_session_list};
use crate::rate_limit::RateLimit;
use crate::reactor::SharedFrame;
use crate::registry::{Entry, EntryId, Registry, Update, write_entries, write_ids};
use crate::time::Time;

/// The content of a list.
#[derive(Clone, Copy)]
pub(in crate::distributor) struct Source<'a> {
    pub(in crate::distributor) registry: &'a Registry,
    pub(in crate::distributor) epoch: &'a str,
    pub(in crate::distributor) is_complete: bool,
    /// True while a drain waits for acknowledgements.
    pub(in crate::distributor) awaits_acks: bool,
}

impl<'a> Source<'a> {
    fn stamp(&self, ack: bool) -> Stamp<'a> {
        Stamp {
            epoch: self.epoch,
            rev: self.registry.revision(),
            ack,
        }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>, has_session: bool, ack: bool) {
        let registry = self.registry;
        // Reserves room for the ids too, so that the buffer does not move.
        out.reserve(registry.encoded_bytes() + 16 * registry.len() + 256);
        let entries = |out: &mut Vec<u8>| write_entries(out, registry.listed());
        if has_session {
            let ids = |out: &mut Vec<u8>| write_ids(out, registry.listed());
            let plain = |out: &mut Vec<u8>| write_ids(out, registry.listed().filter(is_plain));
            let stamp = self.stamp(ack);
            write_session_list(out, "0", stamp, self.is_complete, entries, ids, plain);
        } else {
            write_list(out, "0", entries);
        }
    }

    /// Writes the list of the entries that match.
    pub(super) fn write_matching(&self, out: &mut Vec<u8>, only: &Subscription, ack: bool) {
        let matching = self.registry.matching(only);
        let listed = || self.registry.select(&matching);
        let entries = |out: &mut Vec<u8>| write_entries(out, listed());
        let ids = |out: &mut Vec<u8>| write_ids(out, listed());
        let plain = |out: &mut Vec<u8>| write_ids(out, listed().filter(is_plain));
        let stamp = self.stamp(ack);
        write_session_list(out, "0", stamp, self.is_complete, entries, ids, plain);
    }

    /// Returns the frame of an update of a view of the revision `from`.
    pub(super) fn update(&self, from: u64, update: &Update, ack: bool) -> SharedFrame {
        let joined = || self.registry.select(&update.joined);
        let entries = |out: &mut Vec<u8>| write_entries(out, joined());
        let ids = |out: &mut Vec<u8>| write_ids(out, joined());
        let plain = |out: &mut Vec<u8>| write_ids(out, joined().filter(is_plain));
        let left = update.left.iter();
        let left = left.map(|(id, cause)| (id.number(), *cause));
        let stamp = self.stamp(ack);
        SharedFrame::new(|out| write_delta(out, stamp, from, entries, left, ids, plain))
    }
}

fn is_plain(entry: &(EntryId, &Entry)) -> bool {
    entry.1.is_plain
}

/// Limit of the memory of all old lists that peers have not read. Each such peer holds one list,
/// and peers that stopped at the same revision share it. Without this limit, long lists of many
/// revisions would fill the memory.
const MAX_OLD_LIST_BYTES: usize = 128 << 20;

/// Limit of the size of all deltas to one revision. A session that resumes names the revision that
/// it has, so one node could request thousands of deltas, each nearly as long as the list.
const MAX_DELTA_BYTES: usize = 16 << 20;

/// Frames for many peers, each encoded at most once per revision.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// Lists and deltas of earlier revisions that some peers have not read yet, the oldest first.
    old_lists: Vec<(u64, SharedFrame)>,
    revision: Option<u64>,
    plain_list: Encoded,
    session_list: Encoded,
    /// Deltas to the current revision, each with the revision it starts from.
    pub(super) deltas: Vec<(u64, Option<SharedFrame>)>,
    /// Lists of subscriptions.
    matching_lists: HashMap<SubscriptionId, SharedFrame>,
    /// Updates of subscriptions, each with the revision it starts from.
    matching_updates: HashMap<(SubscriptionId, u64), SharedFrame>,
    delta_bytes: usize,
    /// Sessions are to acknowledge the current revision at once.
    pub(super) asks_for_ack: bool,
    ack_samples: Option<RateLimit>,
}

/// Changes per second that are acknowledged at once even if no drain waits. They sample how long a
/// change takes to arrive.
const ACK_SAMPLES_PER_SECOND: u32 = 1;

/// A frame, and whether it is of the current revision. An old one is kept to reuse its memory.
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

impl Frames {
    /// Sets the revision of the frames to that of `source`. Earlier frames are discarded, or kept
    /// as old lists while peers hold them.
    pub(super) fn set_revision(&mut self, source: Source<'_>, now: Time) {
        let revision = source.registry.revision();
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
        let lists = self.matching_lists.drain().map(|(_, list)| list);
        let updates = self.matching_updates.drain().map(|(_, update)| update);
        let held = made
            .chain(lists)
            .chain(updates)
            .filter(SharedFrame::is_shared);
        self.old_lists
            .extend(held.map(|delta| (before.unwrap_or(0), delta)));
        self.delta_bytes = 0;
        let new = || RateLimit::per_second(ACK_SAMPLES_PER_SECOND);
        let is_sample = self.ack_samples.get_or_insert_with(new).allow(now);
        self.asks_for_ack = is_sample || source.awaits_acks;
    }

    /// Drops the oldest list if all old lists together are too large. Returns its revision:
    /// disconnect the peers that hold it.
    pub(super) fn too_old(&mut self) -> Option<u64> {
        let (count, bytes) = self.old_lists();
        if bytes <= MAX_OLD_LIST_BYTES || count == 0 {
            return None;
        }
        let (revision, _) = self.old_lists.remove(0);
        Some(revision)
    }

    /// Returns the frame with the update for `peer`, and whether it is a whole list.
    pub(super) fn for_peer(&mut self, source: Source<'_>, peer: &Peer) -> (SharedFrame, bool) {
        let Some(session) = &peer.session else {
            return (self.list(source, false).clone(), true);
        };
        let needs_list = session.needs_list || (session.was_sent_incomplete && source.is_complete);
        let from = if session.watch == Watch::Delta && !needs_list {
            peer.listed_revision
        } else {
            None
        };
        match from.and_then(|from| self.delta(source, from)) {
            Some(delta) => (delta, false),
            None => (self.list(source, true).clone(), true),
        }
    }

    /// Returns the delta from the revision `from` to the current one. `None` if `from` is not in
    /// the history or the delta is too long. Most sessions have the same revision, so there are
    /// few.
    fn delta(&mut self, source: Source<'_>, from: u64) -> Option<SharedFrame> {
        if let Some((_, made)) = self.deltas.iter().find(|(other, _)| *other == from) {
            return made.clone();
        }
        if self.delta_bytes > MAX_DELTA_BYTES {
            return None;
        }
        let registry = source.registry;
        let frame = registry.delta_since(from).map(|delta| {
            let joined = || registry.select(&delta.joined);
            let entries = |out: &mut Vec<u8>| write_entries(out, joined());
            let ids = |out: &mut Vec<u8>| write_ids(out, joined());
            let plain = |out: &mut Vec<u8>| write_ids(out, joined().filter(is_plain));
            let left = delta.left.iter();
            let left = left.map(|(id, cause)| (id.number(), cause.as_str()));
            let stamp = source.stamp(self.asks_for_ack);
            SharedFrame::new(|out| write_delta(out, stamp, from, entries, left, ids, plain))
        });
        self.delta_bytes += frame.as_ref().map_or(0, |frame| frame.as_bytes().len());
        self.deltas.push((from, frame.clone()));
        frame
    }

    /// Returns the list of the entries that match a subscription.
    pub(super) fn matching_list(
        &mut self,
        source: Source<'_>,
        id: SubscriptionId,
        only: &Subscription,
    ) -> SharedFrame {
        let ack = self.asks_for_ack;
        let encode = || SharedFrame::new(|out| source.write_matching(out, only, ack));
        self.matching_lists.entry(id).or_insert_with(encode).clone()
    }

    /// Returns an update for a subscription, if it was encoded before.
    pub(super) fn made_update(&self, id: SubscriptionId, from: u64) -> Option<SharedFrame> {
        self.matching_updates.get(&(id, from)).cloned()
    }

    /// Returns an update for a subscription. `changes` returns its content, if it is known.
    pub(super) fn matching_update(
        &mut self,
        source: Source<'_>,
        id: SubscriptionId,
        from: u64,
        changes: impl FnOnce() -> Option<Update>,
    ) -> Option<SharedFrame> {
        if let Some(made) = self.made_update(id, from) {
            return Some(made);
        }
        if self.delta_bytes > MAX_DELTA_BYTES {
            return None;
        }
        let frame = source.update(from, &changes()?, self.asks_for_ack);
        self.delta_bytes += frame.as_bytes().len();
        self.matching_updates.insert((id, from), frame.clone());
        Some(frame)
    }

    pub(super) fn list(&mut self, source: Source<'_>, has_session: bool) -> &SharedFrame {
        let list = if has_session {
            &mut self.session_list
        } else {
            &mut self.plain_list
        };
        let ack = self.asks_for_ack;
        list.get(|out| source.write(out, has_session, ack))
    }

    pub(super) fn plain_list_bytes(&self) -> usize {
        self.plain_list.frame.as_bytes().len()
    }

    /// Returns the number of old lists and their bytes.
    pub(super) fn old_lists(&self) -> (usize, usize) {
        let bytes = self.old_lists.iter().map(|(_, list)| list.as_bytes().len());
        (self.old_lists.len(), bytes.sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_unread_deltas_as_old_lists() {
        let mut registry = Registry::new(crate::registry::Capacity::default());
        let mut set_revision = |frames: &mut Frames, revision| {
            while registry.revision() < revision {
                registry.renew();
            }
            let source = Source {
                registry: &registry,
                epoch: "",
                is_complete: true,
                awaits_acks: false,
            };
            frames.set_revision(source, Time::ZERO);
        };
        let mut frames = Frames::default();
        set_revision(&mut frames, 1);
        let delta = SharedFrame::new(|out| out.resize(MAX_OLD_LIST_BYTES / 8, b'x'));
        frames.deltas = (0..9).map(|from| (from, Some(delta.clone()))).collect();
        set_revision(&mut frames, 2);
        assert_eq!(frames.too_old(), Some(1));
        drop(frames);

        let mut frames = Frames::default();
        frames.deltas.push((0, Some(delta)));
        set_revision(&mut frames, 3);
        assert!(frames.old_lists.is_empty(), "no peer holds it");
    }
}
