//! What the peers were sent, held against what there was to be sent.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::model::{ActorId, List, Model};

/// What a peer knows from what it was sent.
#[derive(Default, Clone)]
pub struct View {
    epoch: String,
    revision: u64,
    by_id: BTreeMap<u64, Rc<str>>,
    pub list: Option<List>,
}

impl View {
    /// What a peer says of what it knows when it comes back.
    pub fn known(&self) -> Option<(&str, u64)> {
        (!self.epoch.is_empty()).then_some((self.epoch.as_str(), self.revision))
    }
}

#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(default)]
    uri: Option<String>,
    #[serde(default)]
    method: Option<String>,
    #[serde(borrow, default)]
    key: Option<&'a RawValue>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(default)]
    session: Option<Session>,
    #[serde(default)]
    errorcode: Option<u8>,
    #[serde(borrow, default)]
    results: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Session {
    epoch: String,
    from: Option<u64>,
    rev: u64,
    ids: Vec<u64>,
    ack: bool,
    draining: bool,
    complete: Option<bool>,
}

#[derive(Deserialize)]
struct Changes<'a> {
    #[serde(borrow)]
    joined: Vec<&'a RawValue>,
    left: Vec<Left>,
}

#[derive(Deserialize)]
struct Left {
    id: u64,
    cause: String,
}

/// What a peer that moves its sockets by hand has to do about a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Received {
    List { acknowledge: Option<u64> },
    Registered { heartbeat_ms: u64 },
    Refused(u8),
    Draining,
    Other,
}

impl Model {
    /// A Distributor sent `frame` to the connection that is `conn` to its peer.
    pub fn received(&mut self, actor: ActorId, conn: SocketAddr, frame: &[u8]) -> Received {
        let text = String::from_utf8_lossy(frame).into_owned();
        let Ok(frame) = serde_json::from_str::<Frame<'_>>(&text) else {
            self.break_promise(1, format!("{conn} was sent what is no packet: {text}"));
            return Received::Other;
        };
        if let Some(code) = frame.errorcode {
            return self.received_reply(conn, code, frame.results);
        }
        let is_distributes = frame.uri.as_deref() == Some("/distributes");
        let is_answer = frame.key.is_some_and(|key| key.get() != "0");
        match (frame.method.as_deref(), frame.params, frame.session) {
            _ if !is_distributes => {}
            (Some("GET"), Some(params), session) => {
                let Ok(entries) = serde_json::from_str::<Vec<&RawValue>>(params.get()) else {
                    self.break_promise(1, format!("{conn} was sent a list that is none: {text}"));
                    return Received::Other;
                };
                let entries: Vec<Rc<str>> = entries.iter().map(|raw| raw.get().into()).collect();
                let acknowledge = session.as_ref().filter(|session| session.ack);
                let acknowledge = acknowledge.map(|session| session.rev);
                match session {
                    None => self.plain_list(actor, conn, entries.into()),
                    Some(session) => self.session_list(actor, conn, entries, &session, is_answer),
                }
                return Received::List { acknowledge };
            }
            (Some("PATCH"), _, Some(session)) if session.draining => return Received::Draining,
            (Some("PATCH"), Some(params), Some(session)) => {
                let acknowledge = session.ack.then_some(session.rev);
                match serde_json::from_str(params.get()) {
                    Ok(changes) => self.delta(actor, conn, &changes, &session),
                    Err(error) => self.break_promise(1, format!("{conn}: {error}: {text}")),
                }
                return Received::List { acknowledge };
            }
            _ => {}
        }
        Received::Other
    }

    fn received_reply(
        &mut self,
        conn: SocketAddr,
        code: u8,
        results: Option<&RawValue>,
    ) -> Received {
        #[derive(Deserialize)]
        struct Registered {
            heartbeat_ms: u64,
        }
        // Not allowed is for instances, busy also for connections, too late for those cut off.
        if ![0, 5, 6, 7].contains(&code) && !self.is_liar(conn) {
            self.break_promise(
                7,
                format!("{conn} did nothing wrong and was refused: {code}"),
            );
        }
        if code != 0 {
            return Received::Refused(code);
        }
        match results.map(|results| serde_json::from_str(results.get())) {
            Some(Ok(Registered { heartbeat_ms })) => Received::Registered { heartbeat_ms },
            _ => Received::Other,
        }
    }

    fn plain_list(&mut self, actor: ActorId, conn: SocketAddr, list: List) {
        self.is_a_list(conn, &list);
        let view = self.views.entry(actor).or_default();
        // Whoever connects is sent one before it can say that it knows a session's.
        view.list = Some(list);
    }

    fn session_list(
        &mut self,
        actor: ActorId,
        conn: SocketAddr,
        entries: Vec<Rc<str>>,
        session: &Session,
        is_answer: bool,
    ) {
        if session.ids.len() != entries.len() || !session.ids.is_sorted() {
            let what = format!("{conn}: {:?} for {} entries", session.ids, entries.len());
            return self.break_promise(1, what);
        }
        if session.complete.is_none() {
            self.break_promise(
                5,
                format!("{conn}: a list that does not say if it is complete"),
            );
        }
        let waits = self
            .run_with(conn)
            .is_some_and(|run| run.orphans().next().is_some());
        if session.complete == Some(true) && waits {
            let what = format!("{conn}: a list is complete while some may come back");
            self.break_promise(5, what);
        }
        let by_id = session.ids.iter().copied().zip(entries).collect();
        self.follow(actor, conn, by_id, session, is_answer);
    }

    fn delta(
        &mut self,
        actor: ActorId,
        conn: SocketAddr,
        changes: &Changes<'_>,
        session: &Session,
    ) {
        let view = self.views.entry(actor).or_default();
        if view.epoch != session.epoch || Some(view.revision) != session.from {
            let what = format!(
                "{conn}: a change from {:?} to {} for one at {} of {}",
                session.from, session.rev, view.revision, view.epoch
            );
            return self.break_promise(1, what);
        }
        let mut by_id = view.by_id.clone();
        for left in &changes.left {
            let Some(text) = by_id.remove(&left.id) else {
                self.break_promise(1, format!("{conn}: {} left, who was not there", left.id));
                continue;
            };
            let run = self.run_with(conn);
            let was_absent = run.is_none_or(|run| run.may_be_absent(&text));
            if left.cause == "absent" && !was_absent {
                self.break_promise(3, format!("{conn}: {text} left as absent, and was not"));
            }
        }
        let joined = changes.joined.iter().map(|raw| Rc::from(raw.get()));
        by_id.extend(session.ids.iter().copied().zip(joined));
        self.follow(actor, conn, by_id, session, false);
    }

    fn follow(
        &mut self,
        actor: ActorId,
        conn: SocketAddr,
        by_id: BTreeMap<u64, Rc<str>>,
        session: &Session,
        is_answer: bool,
    ) {
        let list: List = by_id.values().cloned().collect();
        self.is_a_list(conn, &list);
        let Some(run) = self.run_with(conn) else {
            return;
        };
        let epoch = run.epoch.get_or_insert_with(|| session.epoch.clone());
        let is_same_epoch = *epoch == session.epoch;
        let first = run
            .revisions
            .entry(session.rev)
            .or_insert_with(|| Rc::clone(&list));
        let is_same_list = *first == list;
        let last = run
            .conns
            .get_mut(&conn)
            .and_then(|known| known.last_revision.replace(session.rev));
        let rises = last.is_none_or(|last| last < session.rev || is_answer && last == session.rev);
        if !is_same_epoch {
            self.break_promise(1, format!("{conn}: the epoch changed within a run"));
        }
        if !is_same_list {
            let what = format!(
                "{conn}: revision {} is {list:?} and not what others were sent",
                session.rev
            );
            self.break_promise(1, what);
        }
        if !rises {
            let what = format!("{conn}: revision {} after {last:?}", session.rev);
            self.break_promise(1, what);
        }
        self.views.insert(
            actor,
            View {
                epoch: session.epoch.clone(),
                revision: session.rev,
                by_id,
                list: Some(list),
            },
        );
    }

    /// A list that was sent is one that there was, and none from before what was sent last.
    fn is_a_list(&mut self, conn: SocketAddr, list: &List) {
        let Some(run) = self.run_with(conn) else {
            return self.break_promise(1, format!("{conn} was sent a list before it was there"));
        };
        let process = run.process;
        let lost = self.kept.iter();
        let mut lost = lost.filter(|(before, text)| *before < process && !list.contains(text));
        if let Some((_, lost)) = lost.next().cloned() {
            let what = format!("{conn} was sent {list:?}, without {lost}: a restart took it out");
            self.break_promise(5, what);
        }
        let Some(run) = self.run_with(conn) else {
            return;
        };
        let from = run.sent_to(conn).map_or(0, |known| known.last_list);
        let found = run.place_of(list, from);
        match found {
            Some(place) => {
                if let Some(known) = run.sent_to(conn) {
                    known.last_list = place;
                }
            }
            None => {
                let now = run.list();
                let mut orphans = run.orphans().filter(|entry| entry.is_listed);
                let lacks_orphan = orphans.any(|orphan| !list.contains(&orphan.text));
                drop(orphans);
                let what = format!("{conn} was sent {list:?}, which never was; there is {now:?}");
                self.break_promise(if lacks_orphan { 5 } else { 1 }, what);
            }
        }
    }
}
