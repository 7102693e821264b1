//! What the Distributor knows of one connection.

use std::net::SocketAddr;

use crate::protocol::Watch;
use crate::registry::EntryId;
use crate::time::Time;

#[derive(Debug)]
pub(super) struct Session {
    pub(super) peer: SocketAddr,
    /// Its entry, from registering until it drains or another connection takes it over.
    pub(super) entry: Option<EntryId>,
    /// It has registered once. From then on it gets every change of the list.
    pub(super) is_registered: bool,
    /// What it asked for beyond the protocol of the book.
    pub(super) link: Option<Link>,
    /// The revision of the list that was last queued for it.
    pub(super) listed_revision: Option<u64>,
    /// It gets a list even if that has not changed: it has just connected, or registered.
    pub(super) owes_list: bool,
    /// It asked for the list, and the answer carries this key.
    pub(super) get_key: Option<Box<str>>,
    /// Nothing was heard of it for too long.
    pub(super) is_silent: bool,
}

/// The part of a session that only those have who asked for one.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) watch: Watch,
    pub(super) instance: Option<Box<str>>,
    /// The revision that it last said it has applied.
    pub(super) acked_revision: u64,
    pub(super) heard_at: Time,
    /// The last list that it was sent said that it may not be complete.
    pub(super) was_told_incomplete: bool,
}

impl Session {
    pub(super) fn new(peer: SocketAddr) -> Session {
        Session {
            peer,
            entry: None,
            is_registered: false,
            link: None,
            listed_revision: None,
            owes_list: true,
            get_key: None,
            is_silent: false,
        }
    }

    /// A list, or what leads to it, was queued for it.
    pub(super) fn was_sent(&mut self, revision: u64, is_complete: bool) {
        self.owes_list = false;
        self.listed_revision = Some(revision);
        if let Some(link) = &mut self.link {
            link.was_told_incomplete = !is_complete;
        }
    }

    /// Whether it is sent lists of its own accord.
    pub(super) fn is_watching(&self) -> bool {
        self.is_registered
            && self
                .link
                .as_ref()
                .is_none_or(|link| link.watch != Watch::None)
    }

    /// Whether it watches the list and was last sent another than that of `revision`.
    pub(super) fn is_behind(&self, revision: u64) -> bool {
        self.is_watching() && self.listed_revision != Some(revision)
    }
}
