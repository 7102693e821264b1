//! The frames that peers received, checked against what could be sent.

use std::net::SocketAddr;
use std::rc::Rc;

use pilcrow_test_client::{self as client, Departure, Message, SessionFields};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::model::{ActorId, List, Model};
use crate::subscriptions::{Only, Requested};

/// View of a peer, from the frames that it received.
#[derive(Default, Clone)]
pub struct View {
    /// Epoch and revision that its session can resume from.
    session: client::View,
    /// The last list of any kind.
    pub list: Option<List>,
}

impl View {
    /// The list of its session.
    pub fn session_list(&self) -> List {
        self.session.entries.values().cloned().collect()
    }

    /// The epoch and revision to resume from.
    pub fn known(&self) -> Option<(&str, u64)> {
        self.session.known()
    }
}

/// Action that a frame requires of a peer that moves its bytes by hand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Received {
    List { acknowledge: Option<u64> },
    Registered { heartbeat_ms: u64 },
    Refused(u8),
    Draining,
    Other,
}

/// Returns whether an entry lists a route that nodes call.
pub fn is_called(entry: &str) -> bool {
    ["echo", "leaf"].iter().any(|segment| {
        let exactly = format!("\"GET/{segment}\"");
        entry.contains(&exactly) || entry.contains(&format!("\"GET/{segment}/"))
    })
}

impl Model {
    /// Checks a frame that a Distributor sent to the connection with this address at its peer.
    pub fn received(&mut self, actor: ActorId, conn: SocketAddr, frame: &[u8]) -> Received {
        let text = String::from_utf8_lossy(frame);
        let message = match Message::read(&text) {
            Ok(message) => message,
            Err(error) => {
                self.break_promise(1, format!("{conn} received a bad frame: {error}: {text}"));
                return Received::Other;
            }
        };
        match message {
            // Their views are checked when the fleet is settled.
            Message::List {
                entries,
                session: Some(_),
                ..
            }
            | Message::Changes {
                joined: entries, ..
            } if self.subscribers.contains(&actor) => {
                if let Some(entry) = entries.iter().find(|entry| !is_called(entry)) {
                    let what = format!("{conn} was sent {entry}, which it did not subscribe to");
                    self.break_promise(1, what);
                }
                Received::Other
            }
            Message::List {
                entries,
                session: None,
                ..
            } => {
                self.plain_list(actor, conn, entries.into());
                Received::List { acknowledge: None }
            }
            Message::List {
                entries,
                session: Some(session),
                is_reply,
            } => {
                self.session_list(actor, conn, entries, &session, is_reply);
                let acknowledge = session.acknowledge();
                Received::List { acknowledge }
            }
            Message::Changes {
                joined,
                left,
                session,
            } => {
                self.delta(actor, conn, joined, &left, &session);
                let acknowledge = session.acknowledge();
                Received::List { acknowledge }
            }
            Message::Draining => Received::Draining,
            Message::Reply { errorcode, results } => self.received_reply(conn, errorcode, results),
            Message::Other => Received::Other,
        }
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
        // Instances are not allowed (5), connections and take-overs too many (6), cut-off peers too
        // late (7). A valid peer is never rejected otherwise.
        if ![0, 5, 6, 7].contains(&code) && !self.is_liar(conn) {
            self.break_promise(7, format!("{conn} was rejected without a cause: {code}"));
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
        self.is_a_list(conn, &list, false);
        // What its session knows stays: each connection is sent a plain list before it registers.
        self.views.entry(actor).or_default().list = Some(list);
    }

    fn session_list(
        &mut self,
        actor: ActorId,
        conn: SocketAddr,
        entries: Vec<Rc<str>>,
        session: &SessionFields,
        is_reply: bool,
    ) {
        let mut view = self.views.entry(actor).or_default().session.clone();
        if let Err(what) = view.replace(entries, session) {
            return self.break_promise(1, format!("{conn}: {what}"));
        }
        if session.complete.is_none() {
            self.break_promise(5, format!("{conn}: a list without `complete`"));
        }
        let waits = self
            .run_with(conn)
            .is_some_and(|run| run.unclaimed().next().is_some());
        if session.complete == Some(true) && waits {
            let what = format!("{conn}: a list is complete while entries are unclaimed");
            self.break_promise(5, what);
        }
        self.follow(actor, conn, view, is_reply);
    }

    fn delta(
        &mut self,
        actor: ActorId,
        conn: SocketAddr,
        joined: Vec<Rc<str>>,
        left: &[Departure],
        session: &SessionFields,
    ) {
        let mut view = self.views.entry(actor).or_default().session.clone();
        let known = self.run_with(conn).and_then(|run| run.sent_to(conn));
        view.is_subscribed = known.is_some_and(|known| known.requested.is_any());
        let gone = match view.apply(joined, left, session) {
            Ok(gone) => gone,
            Err(what) => return self.break_promise(1, format!("{conn}: {what}")),
        };
        for (departure, text) in left.iter().zip(gone) {
            let run = self.run_with(conn);
            let was_absent = text.is_empty() || run.is_none_or(|run| run.may_be_absent(&text));
            if departure.cause == "absent" && !was_absent {
                self.break_promise(
                    3,
                    format!("{conn}: {text} left as absent without being absent"),
                );
            }
        }
        self.follow(actor, conn, view, false);
    }

    /// Checks the view that a peer has now.
    fn follow(&mut self, actor: ActorId, conn: SocketAddr, view: client::View, is_reply: bool) {
        let list: List = view.entries.values().cloned().collect();
        let only = self.is_a_list(conn, &list, true);
        let Some(run) = self.run_with(conn) else {
            return;
        };
        let epoch = run.epoch.get_or_insert_with(|| view.epoch.clone());
        let is_same_epoch = *epoch == view.epoch;
        // A frame that may be of two subscriptions tells nothing about the others of its revision.
        let is_same_list = only.is_none_or(|only| {
            let key = (view.revision, only.map(|only| only.to_string()));
            let first = run.revisions.entry(key).or_insert_with(|| Rc::clone(&list));
            *first == list
        });
        let last = run
            .conns
            .get_mut(&conn)
            .and_then(|known| known.last_revision.replace(view.revision));
        let rises =
            last.is_none_or(|last| last < view.revision || is_reply && last == view.revision);
        if !is_same_epoch {
            self.break_promise(1, format!("{conn}: the epoch changed within a run"));
        }
        if !is_same_list {
            let what = format!(
                "{conn}: revision {} is {list:?} and not what others were sent",
                view.revision
            );
            self.break_promise(1, what);
        }
        if !rises {
            let what = format!("{conn}: revision {} after {last:?}", view.revision);
            self.break_promise(1, what);
        }
        let view = View {
            session: view,
            list: Some(list),
        };
        self.views.insert(actor, view);
    }

    /// Checks that a sent list is one that existed, and none older than the last one sent, or what
    /// matches of one if it is of a session. Returns its subscription, if it can be of no other.
    fn is_a_list(&mut self, conn: SocketAddr, list: &List, is_of_session: bool) -> Option<Only> {
        let Some(run) = self.run_with(conn) else {
            self.break_promise(1, format!("{conn} was sent a list before it was connected"));
            return None;
        };
        let is_subscribed =
            is_of_session && (run.sent_to(conn)).is_some_and(|known| known.requested.is_any());
        let process = run.process;
        let lost = self.kept.iter();
        let mut lost = lost
            .filter(|(before, text)| !is_subscribed && *before < process && !list.contains(text));
        if let Some((_, lost)) = lost.next().cloned() {
            let what = format!("{conn} was sent {list:?}, without {lost}: a restart removed it");
            self.break_promise(5, what);
        }
        let run = self.run_with(conn)?;
        let from = run.sent_to(conn).map_or(0, |known| known.last_list);
        let mut requested = match run.sent_to(conn) {
            Some(known) if is_of_session => known.requested.clone(),
            _ => Requested::all(),
        };
        let place = requested.advance(|only| run.place_of(list, only, from));
        let only = requested.only();
        match place {
            Some(place) => {
                if let Some(known) = run.sent_to(conn) {
                    known.last_list = place;
                    if is_of_session {
                        known.requested = requested;
                    }
                }
            }
            None => {
                let now = run.list();
                let lacks_unclaimed = !is_subscribed
                    && (run.unclaimed())
                        .any(|entry| entry.is_listed && !list.contains(&entry.text));
                let what = format!(
                    "{conn} was sent {list:?}, which never existed; the current list is {now:?}"
                );
                self.break_promise(if lacks_unclaimed { 5 } else { 1 }, what);
            }
        }
        only
    }
}
