//! What frames of a Distributor say about the nodes of this run.
//!
//! Thousands of watchers are sent the same frame. It is parsed for the first one; for the others
//! its bytes are compared, all of them, with what was parsed.

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use crate::protocol::{ListedNode, Reply, Update};

/// Frames that are remembered: watchers are a few of them apart.
const FRAMES_REMEMBERED: usize = 32;
/// Revisions of which it is remembered who was there.
const REVISIONS_REMEMBERED: usize = 64;

/// The names of this run's nodes: unlike those of all others, and all of the same length.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    run: String,
}

/// A node of this run, by its number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Who {
    Watcher(usize),
    Joiner(usize),
}

/// Digits of a node's number in its name.
pub(crate) const NUMBER_DIGITS: usize = 8;

impl Names {
    pub(crate) fn new(random: u64) -> Names {
        Names {
            run: format!("flood-{:06x}-", random & 0xff_ffff),
        }
    }

    pub(crate) fn of(&self, who: Who) -> String {
        let (letter, number) = match who {
            Who::Watcher(number) => ('w', number),
            Who::Joiner(number) => ('j', number),
        };
        format!(
            "{}{letter}{number:0width$}",
            self.run,
            width = NUMBER_DIGITS
        )
    }

    fn who(&self, name: &str) -> Option<Who> {
        let rest = name.strip_prefix(&self.run)?;
        let (letter, number) = rest.split_at_checked(1)?;
        let number = number.parse().ok()?;
        match letter {
            "w" => Some(Who::Watcher(number)),
            "j" => Some(Who::Joiner(number)),
            _ => None,
        }
    }
}

/// What kind of frame it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum News {
    List,
    /// What changed since this revision.
    Delta {
        from: u64,
    },
    /// The answer to a registration or a heartbeat.
    Success,
    /// An errorcode, and what was said about it.
    Refused(String),
    Other,
}

/// A frame that was understood.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) frame: Vec<u8>,
    pub(crate) news: News,
    /// Its revision, in a session.
    pub(crate) rev: Option<u64>,
    /// It wants to be acknowledged.
    pub(crate) ack: bool,
    /// How many different watchers are there, for whoever has this frame. `None` if it does not
    /// say, or says it relative to a revision that is forgotten.
    pub(crate) watchers: Option<usize>,
    /// Joiners in the list, or among those who joined.
    pub(crate) joiners: Vec<usize>,
    /// It says that somebody left.
    pub(crate) tells_of_leaving: bool,
}

/// Understands frames, each different one once.
#[derive(Debug)]
pub(crate) struct View {
    names: Names,
    recent: VecDeque<Rc<Known>>,
    /// The ids of the watchers that were there, by revision.
    revisions: VecDeque<(u64, Rc<BTreeSet<u64>>)>,
}

impl View {
    pub(crate) fn new(names: Names) -> View {
        View {
            names,
            recent: VecDeque::new(),
            revisions: VecDeque::new(),
        }
    }

    pub(crate) fn read(&mut self, frame: &[u8]) -> Rc<Known> {
        if let Some(known) = self.recent.iter().rev().find(|known| known.frame == frame) {
            return Rc::clone(known);
        }
        let known = Rc::new(self.understand(frame));
        // Answers to heartbeats differ each time, and are nobody else's.
        if matches!(known.news, News::List | News::Delta { .. }) {
            if self.recent.len() >= FRAMES_REMEMBERED {
                self.recent.pop_front();
            }
            self.recent.push_back(Rc::clone(&known));
        }
        known
    }

    fn understand(&mut self, frame: &[u8]) -> Known {
        let mut known = Known {
            frame: frame.to_vec(),
            news: News::Other,
            rev: None,
            ack: false,
            watchers: None,
            joiners: Vec::new(),
            tells_of_leaving: false,
        };
        match Update::parse(frame) {
            Some(Update::List { entries, session }) => {
                known.news = News::List;
                let mut watchers = BTreeSet::new();
                let mut ids = BTreeSet::new();
                let numbers = session.as_ref().map_or(&[][..], |session| &session.ids);
                let mut numbers = numbers.iter();
                for entry in entries {
                    let id = numbers.next();
                    match self.names.who(&ListedNode::parse(entry).name) {
                        Some(Who::Watcher(number)) => {
                            watchers.insert(number);
                            ids.extend(id);
                        }
                        Some(Who::Joiner(number)) => known.joiners.push(number),
                        None => {}
                    }
                }
                known.watchers = Some(watchers.len());
                if let Some(session) = session {
                    known.rev = Some(session.rev);
                    known.ack = session.ack;
                    self.remember(session.rev, ids);
                }
            }
            Some(Update::Delta {
                joined,
                left,
                session,
            }) => {
                let from = session.from.unwrap_or_default();
                known.news = News::Delta { from };
                known.rev = Some(session.rev);
                known.ack = session.ack;
                known.tells_of_leaving = !left.is_empty();
                let before = self.revisions.iter().find(|(rev, _)| *rev == from);
                let mut ids = before.map(|(_, ids)| BTreeSet::clone(ids));
                for (entry, id) in joined.into_iter().zip(&session.ids) {
                    match self.names.who(&ListedNode::parse(entry).name) {
                        Some(Who::Watcher(_)) => ids.iter_mut().for_each(|ids| {
                            ids.insert(*id);
                        }),
                        Some(Who::Joiner(number)) => known.joiners.push(number),
                        None => {}
                    }
                }
                if let Some(mut ids) = ids {
                    for gone in left {
                        ids.remove(&gone.id);
                    }
                    known.watchers = Some(ids.len());
                    self.remember(session.rev, ids);
                }
            }
            Some(Update::Draining { .. }) => {}
            None => {
                if let Some(reply) = Reply::parse(frame) {
                    known.news = match reply.errorcode {
                        0 => News::Success,
                        code => News::Refused(format!("errorcode {code}: {}", reply.message())),
                    };
                }
            }
        }
        known
    }

    fn remember(&mut self, rev: u64, ids: BTreeSet<u64>) {
        if self.revisions.iter().any(|(known, _)| *known == rev) {
            return;
        }
        if self.revisions.len() >= REVISIONS_REMEMBERED {
            self.revisions.pop_front();
        }
        self.revisions.push_back((rev, Rc::new(ids)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> View {
        View::new(Names::new(0xabc))
    }

    fn entry(who: Who) -> String {
        let name = Names::new(0xabc).of(who);
        format!(r#"{{"port":1,"name":"{name}","host":"127.0.0.1"}}"#)
    }

    #[test]
    fn watchers_of_a_list_are_counted_once_each_and_strangers_not_at_all() {
        let (one, two, joiner) = (Who::Watcher(1), Who::Watcher(2), Who::Joiner(7));
        let entries = [one, two, one, joiner].map(entry).join(",");
        let list = format!(
            r#"{{"uri":"/distributes","method":"GET","key":0,"params":[{entries},{{"port":1,"name":"x"}}]}}"#
        );
        let mut view = view();
        let known = view.read(list.as_bytes());
        assert_eq!(known.news, News::List);
        assert_eq!((known.watchers, &*known.joiners), (Some(2), &[7][..]));
        assert!(Rc::ptr_eq(&known, &view.read(list.as_bytes())));
        let other = list.replace("w00000002", "w00000003");
        assert!(!Rc::ptr_eq(&known, &view.read(other.as_bytes())));
    }

    #[test]
    fn a_delta_counts_from_the_revision_that_it_names() {
        let mut view = view();
        let list = format!(
            r#"{{"uri":"/distributes","method":"GET","key":0,"params":[{}],"session":{{"epoch":"e","rev":4,"complete":true,"ids":[9]}}}}"#,
            entry(Who::Watcher(0))
        );
        assert_eq!(view.read(list.as_bytes()).watchers, Some(1));
        let delta = |from: u64, left: &str| {
            format!(
                r#"{{"uri":"/distributes","method":"PATCH","key":0,"params":{{"joined":[{}],"left":[{left}]}},"session":{{"epoch":"e","from":{from},"rev":6,"ack":true,"ids":[10]}}}}"#,
                entry(Who::Watcher(1))
            )
        };
        let known = view.read(delta(4, "").as_bytes());
        assert_eq!(known.news, News::Delta { from: 4 });
        assert_eq!(
            (known.watchers, known.rev, known.ack),
            (Some(2), Some(6), true)
        );
        let known = view.read(delta(4, r#"{"id":9,"cause":"closed"}"#).as_bytes());
        assert!(known.tells_of_leaving);
        assert_eq!(known.watchers, Some(1));
        assert_eq!(view.read(delta(5, "").as_bytes()).watchers, None);
    }

    #[test]
    fn answers_are_told_from_news() {
        let mut view = view();
        let ok = br#"{"key":1,"errorcode":0,"errormessage":"success","results":{"id":1}}"#;
        assert_eq!(view.read(ok).news, News::Success);
        let busy = br#"{"uri":null,"method":null,"key":null,"errorcode":6,"errormessage":"busy"}"#;
        let News::Refused(why) = view.read(busy).news.clone() else {
            panic!("a refusal");
        };
        assert!(why.contains("errorcode 6"), "{why}");
        assert_eq!(view.read(b"nonsense").news, News::Other);
    }
}
