//! The frames between the nodes of a run and a Distributor.
//!
//! Thousands of watchers receive the same frame. It is parsed for the first of them; for the others
//! all of its bytes are compared with the parsed ones.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Write};
use std::rc::Rc;

use clap::ValueEnum;
use serde_json::value::RawValue;

use crate::protocol::{ListedNode, Registered, Reply, Update};

pub(crate) const FRAME_END: &[u8] = "¶".as_bytes();
/// Number of parsed frames that are kept: watchers are at most a few frames apart.
const RECENT: usize = 32;
/// Bytes of parsed frames up to which more are kept: each subscription has frames of its own.
const RECENT_BYTES: usize = 4 << 20;
/// Maximum number of parsed frames that are kept, since each is compared.
const MAX_RECENT: usize = 1024;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Node {
    Member(usize),
    Joiner(usize),
}

/// The names of this run's nodes: all of the same length, and different from those of other runs.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    prefix: String,
}

impl Names {
    pub(crate) fn new() -> Names {
        let random = RandomState::new().build_hasher().finish();
        let prefix = format!("flood-{:06x}-", random & 0xff_ffff);
        Names { prefix }
    }

    pub(crate) fn of(&self, node: Node) -> String {
        let (letter, number) = match node {
            Node::Member(number) => ('w', number),
            Node::Joiner(number) => ('j', number),
        };
        format!("{}{letter}{number:08}", self.prefix)
    }

    /// Returns the url of all nodes of a service.
    pub(crate) fn service_url(&self, service: usize) -> String {
        format!("GET/{}s{service:08}", self.prefix)
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

/// Kind of registration of the nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Watch {
    /// No session; receives whole lists
    Plain,
    /// Session that receives whole lists
    List,
    /// Session that receives changes
    Delta,
    /// Session that receives nothing.
    #[value(skip)]
    Nothing,
}

impl Watch {
    /// Returns the `watch` of the nodes' sessions, if they have sessions.
    pub(crate) fn session(self) -> Option<&'static str> {
        match self {
            Watch::Plain => None,
            Watch::List => Some("list"),
            Watch::Delta => Some("delta"),
            Watch::Nothing => Some("none"),
        }
    }
}

/// A registration. Its length does not depend on the number of the node.
#[derive(Debug)]
pub(crate) struct Registration<'a> {
    pub(crate) name: &'a str,
    pub(crate) url: &'a str,
    pub(crate) watch: Watch,
    /// It has no port, so that the node is not listed.
    pub(crate) unlisted: bool,
    /// The urls that the session subscribes to. `None` if it receives everything.
    pub(crate) only: Option<Vec<String>>,
}

impl Registration<'_> {
    pub(crate) fn write(&self, mut out: impl Write) -> io::Result<()> {
        let Registration { name, url, .. } = self;
        out.write_all(br#"{"uri":"/distributes","method":"POST","key":1,"params":{"#)?;
        if !self.unlisted {
            out.write_all(br#""port":9010,"#)?;
        }
        write!(out, r#""name":"{name}","urls":["{url}"]}}"#)?;
        if let Some(watch) = self.watch.session() {
            write!(out, r#","session":{{"version":1,"watch":"{watch}""#)?;
            if let Some(urls) = &self.only {
                write!(out, r#","only":{{"urls":["{}"]}}"#, urls.join("\",\""))?;
            }
            out.write_all(b"}")?;
        }
        out.write_all(b"}")
    }
}

/// Writes a heartbeat, or with the key `null` the acknowledgement of an update.
pub(crate) fn write_heartbeat(mut out: impl Write, key: &str, rev: Option<u64>) -> io::Result<()> {
    let head = r#"{"uri":"/distributes/heartbeat","method":"POST""#;
    let rev = rev.unwrap_or_default();
    write!(out, r#"{head},"key":{key},"session":{{"rev":{rev}}}}}"#)
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

/// A frame of a Distributor, and its content about the nodes of this run.
#[derive(Default, Debug)]
pub(crate) struct Frame {
    pub(crate) bytes: Vec<u8>,
    pub(crate) kind: Kind,
    /// Revision of the frame, in a session.
    pub(crate) rev: Option<u64>,
    pub(crate) wants_ack: bool,
    /// Number of members in the list, or that joined.
    pub(crate) members: usize,
    pub(crate) members_left: usize,
    /// Ids of the members in the list, or that joined.
    pub(crate) ids: Vec<u64>,
    /// Ids of the members that left.
    pub(crate) left_ids: Vec<u64>,
    /// Joiners in the list, or that joined.
    pub(crate) joiners: Vec<usize>,
    pub(crate) has_left: bool,
    pub(crate) offer: Offer,
}

/// The part of the reply to a registration that is about subscriptions.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) enum Offer {
    #[default]
    Missing,
    TooMany,
    Accepted,
}

impl Frame {
    pub(crate) fn is_update(&self) -> bool {
        matches!(self.kind, Kind::List | Kind::Delta { .. })
    }

    /// Returns the frame as sent.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned() + "¶"
    }
}

/// Parses each distinct frame once.
#[derive(Debug)]
pub(crate) struct FrameReader {
    pub(crate) names: Names,
    recent: VecDeque<Rc<Frame>>,
    recent_bytes: usize,
    /// The ids of members.
    ids: HashSet<u64>,
}

impl FrameReader {
    pub(crate) fn new(names: Names) -> FrameReader {
        FrameReader {
            names,
            recent: VecDeque::new(),
            recent_bytes: 0,
            ids: HashSet::new(),
        }
    }

    pub(crate) fn read(&mut self, bytes: &[u8]) -> Rc<Frame> {
        if let Some(frame) = self.recent.iter().rev().find(|frame| frame.bytes == bytes) {
            return Rc::clone(frame);
        }
        let frame = Rc::new(self.parse(bytes));
        // Replies to heartbeats are all different.
        if frame.is_update() {
            self.recent_bytes += bytes.len();
            self.recent.push_back(Rc::clone(&frame));
            while self.recent.len() > MAX_RECENT
                || self.recent.len() > RECENT && self.recent_bytes > RECENT_BYTES
            {
                let oldest = self.recent.pop_front();
                self.recent_bytes -= oldest.map_or(0, |frame| frame.bytes.len());
            }
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
                frame.rev = session.as_ref().map(|session| session.rev);
                // Plain lists have no ids.
                let session = session.unwrap_or_default();
                frame.wants_ack = session.ack;
                self.add_entries(&mut frame, &entries, &session.ids);
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
                self.add_entries(&mut frame, &joined, &session.ids);
                let left = left.iter().map(|node| node.id);
                frame.left_ids = left.filter(|id| self.ids.contains(id)).collect();
                frame.members_left = frame.left_ids.len();
            }
            Some(Update::Draining { .. }) => {}
            None => {
                if let Some(reply) = Reply::parse(bytes) {
                    frame.offer = offer(&reply);
                    frame.kind = match reply.errorcode {
                        0 => Kind::Success,
                        code => Kind::Refused(format!("errorcode {code}: {}", reply.message())),
                    };
                }
            }
        }
        frame
    }

    fn add_entries(&mut self, frame: &mut Frame, entries: &[&RawValue], ids: &[u64]) {
        let mut ids = ids.iter();
        for entry in entries {
            let id = ids.next();
            match self.names.parse(&ListedNode::parse(entry).name) {
                Some(Node::Member(_)) => {
                    frame.members += 1;
                    self.ids.extend(id);
                    frame.ids.extend(id);
                }
                Some(Node::Joiner(number)) => frame.joiners.push(number),
                None => {}
            }
        }
    }
}

/// Reads what the reply to a registration says about subscriptions.
fn offer(reply: &Reply<'_>) -> Offer {
    let registered = reply.results::<Registered<'_>>();
    match registered {
        Ok(registered) if registered.only == Some(false) => Offer::TooMany,
        Ok(registered) if registered.features.iter().any(|one| one == "only") => Offer::Accepted,
        _ => Offer::Missing,
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
