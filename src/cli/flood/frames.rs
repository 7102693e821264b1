//! Reads the frames of a Distributor: what they say about the nodes of this run.
//!
//! Thousands of watchers are sent the same frame. It is parsed for the first of them; for the others
//! its bytes are compared, all of them, with the parsed ones.

use std::collections::{BTreeSet, VecDeque};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::rc::Rc;

use crate::protocol::{ListedNode, Reply, Update};

pub(crate) const FRAME_END: &[u8] = "¶".as_bytes();
/// Frames that are remembered: watchers are at most a few of them apart.
const FRAMES_REMEMBERED: usize = 32;
/// Revisions of which the members are remembered.
const REVISIONS_REMEMBERED: usize = 64;

/// Returns a frame with its end.
pub(crate) fn text_of(frame: &[u8]) -> String {
    String::from_utf8_lossy(frame).into_owned() + "¶"
}

/// A node of this run, by its number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Node {
    Member(usize),
    Joiner(usize),
}

/// The names of this run's nodes: unlike those of all others, and all of the same length.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    prefix: String,
}

impl Names {
    /// Digits of the number that ends a name.
    pub(crate) const DIGITS: usize = 8;

    pub(crate) fn new() -> Names {
        let random = RandomState::new().build_hasher().finish();
        Names {
            prefix: format!("flood-{:06x}-", random & 0xff_ffff),
        }
    }

    pub(crate) fn of(&self, node: Node) -> String {
        let (letter, number) = match node {
            Node::Member(number) => ('w', number),
            Node::Joiner(number) => ('j', number),
        };
        format!(
            "{}{letter}{number:0width$}",
            self.prefix,
            width = Names::DIGITS
        )
    }

    fn parse(&self, name: &str) -> Option<Node> {
        let (letter, number) = name.strip_prefix(&self.prefix)?.split_at_checked(1)?;
        let number = number.parse().ok()?;
        match letter {
            "w" => Some(Node::Member(number)),
            "j" => Some(Node::Joiner(number)),
            _ => None,
        }
    }
}

#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    List,
    /// Changes since this revision.
    Delta {
        from: u64,
    },
    /// The reply to a registration or a heartbeat.
    Success,
    /// An errorcode and its message.
    Refused(String),
    #[default]
    Other,
}

/// A parsed frame.
#[derive(Default, Debug)]
pub(crate) struct Frame {
    pub(crate) bytes: Vec<u8>,
    pub(crate) kind: Kind,
    /// Its revision, in a session.
    pub(crate) rev: Option<u64>,
    pub(crate) wants_ack: bool,
    /// How many different members are listed, for a node that has this frame. `None` if it does not
    /// say, or says it relative to a revision that is forgotten.
    pub(crate) members: Option<usize>,
    /// Joiners in the list, or among those who joined.
    pub(crate) joiners: Vec<usize>,
    /// It says that a node left.
    pub(crate) has_left: bool,
}

/// Parses frames, each different one once.
#[derive(Debug)]
pub(crate) struct FrameReader {
    names: Names,
    recent: VecDeque<Rc<Frame>>,
    /// The ids of the members that were listed, by revision.
    revisions: VecDeque<(u64, BTreeSet<u64>)>,
}

impl FrameReader {
    pub(crate) fn new(names: Names) -> FrameReader {
        FrameReader {
            names,
            recent: VecDeque::new(),
            revisions: VecDeque::new(),
        }
    }

    pub(crate) fn read(&mut self, bytes: &[u8]) -> Rc<Frame> {
        if let Some(frame) = self.recent.iter().rev().find(|frame| frame.bytes == bytes) {
            return Rc::clone(frame);
        }
        let frame = Rc::new(self.parse(bytes));
        // Replies to heartbeats are all different.
        if matches!(frame.kind, Kind::List | Kind::Delta { .. }) {
            if self.recent.len() >= FRAMES_REMEMBERED {
                self.recent.pop_front();
            }
            self.recent.push_back(Rc::clone(&frame));
        }
        frame
    }

    fn parse(&mut self, bytes: &[u8]) -> Frame {
        let mut frame = Frame {
            bytes: bytes.to_vec(),
            ..Frame::default()
        };
        match Update::parse(bytes) {
            Some(Update::List { entries, session }) => {
                frame.kind = Kind::List;
                let mut members = BTreeSet::new();
                let mut ids = BTreeSet::new();
                let mut all_ids = session.iter().flat_map(|session| &session.ids);
                for entry in entries {
                    let id = all_ids.next();
                    match self.names.parse(&ListedNode::parse(entry).name) {
                        Some(Node::Member(number)) => {
                            members.insert(number);
                            ids.extend(id);
                        }
                        Some(Node::Joiner(number)) => frame.joiners.push(number),
                        None => {}
                    }
                }
                frame.members = Some(members.len());
                if let Some(session) = session {
                    frame.rev = Some(session.rev);
                    frame.wants_ack = session.ack;
                    self.remember(session.rev, ids);
                }
            }
            Some(Update::Delta {
                joined,
                left,
                session,
            }) => {
                let from = session.from.unwrap_or_default();
                frame.kind = Kind::Delta { from };
                frame.rev = Some(session.rev);
                frame.wants_ack = session.ack;
                frame.has_left = !left.is_empty();
                let mut ids = BTreeSet::new();
                for (entry, id) in joined.into_iter().zip(&session.ids) {
                    match self.names.parse(&ListedNode::parse(entry).name) {
                        Some(Node::Member(_)) => drop(ids.insert(*id)),
                        Some(Node::Joiner(number)) => frame.joiners.push(number),
                        None => {}
                    }
                }
                let before = self.revisions.iter().find(|(rev, _)| *rev == from);
                if let Some((_, before)) = before {
                    ids.extend(before);
                    for node in left {
                        ids.remove(&node.id);
                    }
                    frame.members = Some(ids.len());
                    self.remember(session.rev, ids);
                }
            }
            Some(Update::Draining { .. }) => {}
            None => {
                if let Some(reply) = Reply::parse(bytes) {
                    frame.kind = match reply.errorcode {
                        0 => Kind::Success,
                        code => Kind::Refused(format!("errorcode {code}: {}", reply.message())),
                    };
                }
            }
        }
        frame
    }

    fn remember(&mut self, rev: u64, ids: BTreeSet<u64>) {
        if self.revisions.iter().any(|(known, _)| *known == rev) {
            return;
        }
        if self.revisions.len() >= REVISIONS_REMEMBERED {
            self.revisions.pop_front();
        }
        self.revisions.push_back((rev, ids));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader() -> FrameReader {
        FrameReader::new(Names::new(0xabc))
    }

    fn entry(node: Node) -> String {
        let name = Names::new(0xabc).of(node);
        format!(r#"{{"port":1,"name":"{name}","host":"127.0.0.1"}}"#)
    }

    #[test]
    fn counts_members_once_each_and_others_not_at_all() {
        let (one, two, joiner) = (Node::Member(1), Node::Member(2), Node::Joiner(7));
        let entries = [one, two, one, joiner].map(entry).join(",");
        let list = format!(
            r#"{{"uri":"/distributes","method":"GET","key":0,"params":[{entries},{{"port":1,"name":"x"}}]}}"#
        );
        let mut reader = reader();
        let frame = reader.read(list.as_bytes());
        assert_eq!(frame.kind, Kind::List);
        assert_eq!((frame.members, &*frame.joiners), (Some(2), &[7][..]));
        assert!(Rc::ptr_eq(&frame, &reader.read(list.as_bytes())));
        let other = list.replace("w00000002", "w00000003");
        assert!(!Rc::ptr_eq(&frame, &reader.read(other.as_bytes())));
    }

    #[test]
    fn counts_from_the_revision_that_a_delta_names() {
        let mut reader = reader();
        let list = format!(
            r#"{{"uri":"/distributes","method":"GET","key":0,"params":[{}],"session":{{"epoch":"e","rev":4,"complete":true,"ids":[9]}}}}"#,
            entry(Node::Member(0))
        );
        assert_eq!(reader.read(list.as_bytes()).members, Some(1));
        let delta = |from: u64, left: &str| {
            format!(
                r#"{{"uri":"/distributes","method":"PATCH","key":0,"params":{{"joined":[{}],"left":[{left}]}},"session":{{"epoch":"e","from":{from},"rev":6,"ack":true,"ids":[10]}}}}"#,
                entry(Node::Member(1))
            )
        };
        let frame = reader.read(delta(4, "").as_bytes());
        assert_eq!(frame.kind, Kind::Delta { from: 4 });
        assert_eq!(
            (frame.members, frame.rev, frame.wants_ack),
            (Some(2), Some(6), true)
        );
        let frame = reader.read(delta(4, r#"{"id":9,"cause":"closed"}"#).as_bytes());
        assert!(frame.has_left);
        assert_eq!(frame.members, Some(1));
        assert_eq!(reader.read(delta(5, "").as_bytes()).members, None);
    }

    #[test]
    fn distinguishes_success_from_refusal() {
        let mut reader = reader();
        let ok = br#"{"key":1,"errorcode":0,"errormessage":"success","results":{"id":1}}"#;
        assert_eq!(reader.read(ok).kind, Kind::Success);
        let busy = br#"{"uri":null,"method":null,"key":null,"errorcode":6,"errormessage":"busy"}"#;
        let refused = reader.read(busy);
        assert!(matches!(&refused.kind, Kind::Refused(why) if why.contains("errorcode 6")));
        assert_eq!(reader.read(b"nonsense").kind, Kind::Other);
    }
}
