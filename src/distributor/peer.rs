//! What the Distributor knows of one connection.

use std::net::SocketAddr;
use std::time::Duration;

use super::admission::{Authorization, TokenMark};
use super::events::Subject;
use super::liveness::Health;
use crate::protocol::Watch;
use crate::registry::{EntryId, Registry};
use crate::time::Time;

/// What only some have is boxed: there is one of these for every idle connection.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) addr: SocketAddr,
    pub(super) connected_at: Time,
    /// Its entry, from registering until it drains or another connection takes it over.
    pub(super) entry: Option<EntryId>,
    /// It has registered once. From then on it gets every change of the list.
    pub(super) is_registered: bool,
    /// What it asked for beyond the protocol of the book.
    pub(super) session: Option<Box<Session>>,
    /// It has sent a frame.
    has_sent_frame: bool,
    /// The revision of the list that was last queued for it.
    pub(super) listed_revision: Option<u64>,
    /// It gets a list even if that has not changed: it has just connected, or registered.
    pub(super) owes_list: bool,
    /// It asked for the list, and the answer carries this key.
    pub(super) get_key: Option<Box<str>>,
    pub(super) health: Health,
    /// What admits it to register and to be sent lists. `None`: it may register with a token.
    pub(super) authorization: Option<Authorization>,
    /// What it gave as its token, if it did.
    pub(super) token: Option<Box<TokenMark>>,
}

/// The part of a session that only those have who asked for one.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) watch: Watch,
    pub(super) instance: Option<Box<str>>,
    /// The revision that it last said it has applied.
    pub(super) acked_revision: u64,
    /// The last push before it asked for the session: it is not waited for to acknowledge that.
    pub(super) opened_at_push: u64,
    pub(super) heard_at: Time,
    /// The last list that it was sent said that it may not be complete.
    pub(super) was_told_incomplete: bool,
    /// What comes next is a whole list: it says that it may not be complete, which a change can't.
    pub(super) needs_list: bool,
}

impl Peer {
    pub(super) fn new(addr: SocketAddr, now: Time, authorization: Option<Authorization>) -> Peer {
        Peer {
            addr,
            connected_at: now,
            entry: None,
            is_registered: false,
            session: None,
            has_sent_frame: false,
            listed_revision: None,
            owes_list: authorization.is_some(),
            get_key: None,
            health: Health::Responsive,
            authorization,
            token: None,
        }
    }

    /// Since when nothing was heard of it, if something would be: of one with a session, unless it
    /// waits for a list. Until it has that nothing is read of it. Nor is it asked of one who is
    /// suspect already.
    pub(super) fn quiet_for(&self, now: Time) -> Option<Duration> {
        let session = self.session.as_ref()?;
        let is_heard = self.get_key.is_none() && self.health != Health::Suspect;
        is_heard.then(|| now.saturating_since(session.heard_at))
    }

    /// Returns what is known of it for an event.
    pub(super) fn subject<'a>(&self, registry: &'a Registry) -> Subject<'a> {
        let entry = self.entry.and_then(|id| registry.get(id));
        Subject {
            peer: Some(self.addr),
            name: entry.map_or("", |entry| &*entry.name),
            entry: self.entry,
        }
    }

    /// Returns whether no frame was received from it before this call.
    pub(super) fn is_first_frame(&mut self) -> bool {
        !std::mem::replace(&mut self.has_sent_frame, true)
    }

    /// Returns the revision from which on it is to acknowledge pushes, if it is to.
    pub(super) fn awaited_from(&self) -> Option<u64> {
        let session = self.session.as_deref().filter(|_| self.is_watching())?;
        Some(session.acked_revision.max(session.opened_at_push))
    }

    /// It is admitted by its address, or has registered with a token.
    pub(super) fn is_inside(&self) -> bool {
        match self.authorization {
            None => false,
            Some(Authorization::Address) => true,
            Some(Authorization::Token(_)) => self.is_registered,
        }
    }

    /// Something came of it. Whether it was suspect until now.
    pub(super) fn hear(&mut self, now: Time) -> bool {
        if let Some(session) = &mut self.session {
            session.heard_at = now;
        }
        let was_suspect = self.health == Health::Suspect;
        if was_suspect {
            self.health = Health::Responsive;
        }
        was_suspect
    }

    /// A list, or what leads to it, was queued for it.
    pub(super) fn was_sent(&mut self, revision: u64, is_complete: bool) {
        self.owes_list = false;
        self.listed_revision = Some(revision);
        if let Some(session) = &mut self.session {
            session.was_told_incomplete = !is_complete;
            session.needs_list = false;
        }
    }

    /// Whether it is sent lists of its own accord.
    pub(super) fn is_watching(&self) -> bool {
        self.is_registered
            && self
                .session
                .as_ref()
                .is_none_or(|session| session.watch != Watch::None)
    }

    /// Whether it watches the list and was last sent another than that of `revision`.
    pub(super) fn is_behind(&self, revision: u64) -> bool {
        self.is_watching() && self.listed_revision != Some(revision)
    }
}
