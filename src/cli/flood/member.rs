//! A node that watches, and its view of the list.

use std::collections::HashSet;

use super::frames::Frame;
use crate::reactor::ConnId;

#[derive(Debug, Default)]
pub(crate) struct Member {
    pub(crate) conn: Option<ConnId>,
    pub(crate) rev: Option<u64>,
    pub(crate) is_confirmed: bool,
    pub(crate) has_reached_goal: bool,
    /// Number of listed members, as far as it knows.
    pub(crate) listed: Option<usize>,
    /// Ids of these members, if it subscribes.
    pub(crate) ids: HashSet<u64>,
    pub(crate) updates: u64,
    pub(crate) bytes: u64,
}

impl Member {
    /// Applies a delta from this revision. Returns whether it follows from the revision of the
    /// member; otherwise the members that are listed become unknown.
    pub(crate) fn apply(&mut self, frame: &Frame, from: u64, is_subscribed: bool) -> bool {
        let follows = if is_subscribed {
            // Updates skip the changes that do not concern the subscription.
            self.rev.is_some_and(|rev| from <= rev)
        } else {
            self.rev == Some(from)
        };
        if follows && is_subscribed && frame.rev <= self.rev {
            // A list that was received before contains it.
            return true;
        }
        let before = if follows { self.listed } else { None };
        self.listed = before.map(|before| {
            if is_subscribed {
                // An update that begins before its revision has entries that it already knows.
                self.ids.extend(&frame.ids);
                for id in &frame.left_ids {
                    self.ids.remove(id);
                }
                self.ids.len()
            } else {
                (before + frame.members).saturating_sub(frame.members_left)
            }
        });
        self.rev = frame.rev;
        follows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Applies a delta to a member at revision 5 with 10 listed members.
    fn apply(from: u64, rev: u64, is_subscribed: bool) -> (bool, Option<usize>, Option<u64>) {
        let mut member = Member {
            rev: Some(5),
            listed: Some(10),
            ids: (0..10).collect(),
            ..Member::default()
        };
        let frame = Frame {
            rev: Some(rev),
            members: 3,
            members_left: 1,
            ids: vec![10, 11, 12],
            left_ids: vec![3],
            ..Frame::default()
        };
        let follows = member.apply(&frame, from, is_subscribed);
        (follows, member.listed, member.rev)
    }

    #[test]
    fn follows_from_its_own_revision_only() {
        assert_eq!(apply(5, 6, false), (true, Some(12), Some(6)));
        assert_eq!(apply(4, 6, false), (false, None, Some(6)));
        assert_eq!(apply(6, 7, false), (false, None, Some(7)));
    }

    #[test]
    fn counts_entries_that_it_already_knows_once() {
        let mut member = Member {
            rev: Some(5),
            listed: Some(2),
            ids: [1, 2].into(),
            ..Member::default()
        };
        let frame = Frame {
            rev: Some(7),
            members: 2,
            ids: vec![2, 3],
            ..Frame::default()
        };
        assert!(member.apply(&frame, 4, true));
        assert_eq!(member.listed, Some(3));
    }

    #[test]
    fn subscribed_it_follows_from_earlier_revisions() {
        assert_eq!(apply(5, 9, true), (true, Some(12), Some(9)));
        assert_eq!(apply(2, 9, true), (true, Some(12), Some(9)));
        assert_eq!(apply(2, 5, true), (true, Some(10), Some(5)));
        assert_eq!(apply(6, 9, true), (false, None, Some(9)));
    }
}
