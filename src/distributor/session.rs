//! What the Distributor knows of one connection.

use std::net::SocketAddr;

use crate::registry::EntryId;

#[derive(Debug)]
pub(super) struct Session {
    pub(super) peer: SocketAddr,
    /// Its entry, once it has registered. Then it gets every change of the list.
    pub(super) entry: Option<EntryId>,
    /// The revision of the list that was last queued for it.
    pub(super) listed_revision: Option<u64>,
    /// It gets a list even if that has not changed: it has just connected, or registered.
    pub(super) owes_list: bool,
    /// It asked for the list, and the answer carries this key.
    pub(super) get_key: Option<Box<str>>,
}

impl Session {
    pub(super) fn new(peer: SocketAddr) -> Session {
        Session {
            peer,
            entry: None,
            listed_revision: None,
            owes_list: true,
            get_key: None,
        }
    }

    /// Whether it is registered and was last sent another list than that of `revision`.
    pub(super) fn is_behind(&self, revision: u64) -> bool {
        self.entry.is_some() && self.listed_revision != Some(revision)
    }
}
