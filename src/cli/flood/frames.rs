//! Reads the frames of a Distributor: what they say about the nodes of this run.
//!
//! Thousands of watchers are sent the same frame. It is parsed for the first of them; for the others
//! its bytes are compared, all of them, with the parsed ones.

use std::collections::{HashSet, VecDeque};
use std::rc::Rc;

use serde_json::value::RawValue;

use super::nodes::{Names, Node};
use crate::protocol::{ListedNode, Reply, Update};

pub(crate) const FRAME_END: &[u8] = "¶".as_bytes();
/// Frames that are remembered: watchers are at most a few of them apart.
const FRAMES_REMEMBERED: usize = 32;

pub(crate) fn text_of(frame: &[u8]) -> String {
    String::from_utf8_lossy(frame).into_owned() + "¶"
}

#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    List,
    Delta {
        from: u64,
    },
    /// The reply to a registration or a heartbeat.
    Success,
    Refused(String),
    #[default]
    Other,
}

#[derive(Default, Debug)]
pub(crate) struct Frame {
    pub(crate) bytes: Vec<u8>,
    pub(crate) kind: Kind,
    /// Its revision, in a session.
    pub(crate) rev: Option<u64>,
    pub(crate) wants_ack: bool,
    /// How many members are listed, or joined.
    pub(crate) members: usize,
    pub(crate) members_left: usize,
    /// Joiners in the list, or among those who joined.
    pub(crate) joiners: Vec<usize>,
    pub(crate) has_left: bool,
}

/// Parses frames, each different one once.
#[derive(Debug)]
pub(crate) struct FrameReader {
    pub(crate) names: Names,
    recent: VecDeque<Rc<Frame>>,
    ids: HashSet<u64>,
}

impl FrameReader {
    pub(crate) fn new(names: Names) -> FrameReader {
        FrameReader {
            names,
            recent: VecDeque::new(),
            ids: HashSet::new(),
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
                let ids = session.as_ref().map_or(&[][..], |session| &session.ids);
                self.take_entries(&mut frame, entries, ids);
                frame.rev = session.as_ref().map(|session| session.rev);
                frame.wants_ack = session.is_some_and(|session| session.ack);
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
                self.take_entries(&mut frame, joined, &session.ids);
                let left = left.iter().filter(|node| self.ids.contains(&node.id));
                frame.members_left = left.count();
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

    /// Plain lists have no ids.
    fn take_entries(&mut self, frame: &mut Frame, entries: Vec<&RawValue>, ids: &[u64]) {
        let mut ids = ids.iter();
        for entry in entries {
            let id = ids.next();
            match self.names.parse(&ListedNode::parse(entry).name) {
                Some(Node::Member(_)) => {
                    frame.members += 1;
                    self.ids.extend(id);
                }
                Some(Node::Joiner(number)) => frame.joiners.push(number),
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_a_frame_once() {
        let names = Names::new();
        let name = names.of(Node::Joiner(7));
        let list = format!(
            r#"{{"uri":"/distributes","method":"GET","key":0,"params":[{{"name":"{name}"}}]}}"#
        );
        let mut reader = FrameReader::new(names);
        let frame = reader.read(list.as_bytes());
        assert_eq!((&frame.kind, &*frame.joiners), (&Kind::List, &[7][..]));
        assert!(Rc::ptr_eq(&frame, &reader.read(list.as_bytes())));
        let other = list.replace("j00000007", "j00000008");
        assert!(!Rc::ptr_eq(&frame, &reader.read(other.as_bytes())));
    }
}
