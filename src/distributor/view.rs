//! A read-only view of nodes and sessions, for the admin API.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::events::{Journal, MAX_NAMES};
use super::identities::{Identities, Unclaimed};
use super::liveness::Health;
use super::peer::Peer;
use super::peers::Peers;
use crate::protocol::{Subscription, Watch};
use crate::reactor::Net;
use crate::registry::{Entry, EntryId, Registry};
use crate::time::Time;

/// A node.
#[derive(Clone, Copy, Debug)]
pub struct NodeView<'a> {
    /// The id of its entry.
    pub id: EntryId,
    /// The entry as registered.
    pub entry: &'a Entry,
    /// The address of its connection, if it has one.
    pub peer: Option<SocketAddr>,
    /// The kind of its session.
    pub session: SessionKind,
    /// The entries that it receives, if its session has a subscription.
    pub subscription: Option<&'a Subscription>,
    /// Revision that was last sent to it.
    pub sent: Option<u64>,
    /// Revision that it last acknowledged. Changes that do not match its subscription count as
    /// acknowledged.
    pub acked: Option<u64>,
    /// Bytes that are queued for it.
    pub pending_bytes: usize,
    /// State of the node.
    pub state: NodeState,
    /// Time at which it joined, if a journal is kept.
    pub joined_at: Option<Time>,
}

/// The kind of session that a peer opened with its registration.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum SessionKind {
    /// No session: a plain peer, which receives whole lists.
    Plain,
    /// A session with whole lists.
    List,
    /// A session with changes.
    Delta,
    /// A session without lists.
    Unwatching,
    /// Not registered, or without a connection.
    None,
}

impl SessionKind {
    /// All kinds, in the order of their discriminants.
    pub const ALL: [SessionKind; 5] = [
        SessionKind::Plain,
        SessionKind::List,
        SessionKind::Delta,
        SessionKind::Unwatching,
        SessionKind::None,
    ];

    /// Returns its name in JSON and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            SessionKind::Plain => "plain",
            SessionKind::List => "list",
            SessionKind::Delta => "delta",
            SessionKind::Unwatching => "unwatching",
            SessionKind::None => "none",
        }
    }

    fn of(peer: &Peer) -> SessionKind {
        match peer.session.as_ref().map(|session| session.watch) {
            None if peer.is_registered => SessionKind::Plain,
            None => SessionKind::None,
            Some(Watch::List) => SessionKind::List,
            Some(Watch::Delta) => SessionKind::Delta,
            Some(Watch::None) => SessionKind::Unwatching,
        }
    }
}

/// The state of a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NodeState {
    /// The node is connected and has read all data sent to it.
    Connected,
    /// The node is backlogged: it has not read all data sent to it.
    Behind,
    /// The node fell silent together with many others, and is held.
    Suspect,
    /// The node was restored from the last run, and has not reconnected yet.
    Absent,
}

impl NodeState {
    /// Returns its name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            NodeState::Connected => "connected",
            NodeState::Behind => "behind",
            NodeState::Suspect => "suspect",
            NodeState::Absent => "absent",
        }
    }
}

/// A read-only view of the nodes and sessions of a [`Distributor`](super::Distributor).
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub(super) registry: &'a Registry,
    pub(super) identities: &'a Identities,
    pub(super) peers: &'a Peers,
    pub(super) journal: Option<&'a Journal>,
}

impl<'a> View<'a> {
    /// Returns a node, or `None` if it has left.
    pub fn node(self, net: &Net, id: EntryId) -> Option<NodeView<'a>> {
        let entry = self.registry.get(id)?;
        let conn = self.identities.holder(id);
        let peer = conn.and_then(|conn| self.peers.get(conn));
        let pending_bytes = conn.map_or(0, |conn| net.pending_bytes(conn));
        let state = match peer {
            None if self.identities.unclaimed(id) == Some(Unclaimed::Suspect) => NodeState::Suspect,
            None => NodeState::Absent,
            Some(peer) if peer.health == Health::Suspect => NodeState::Suspect,
            Some(_) if pending_bytes > 0 => NodeState::Behind,
            Some(_) => NodeState::Connected,
        };
        Some(NodeView {
            id,
            entry,
            peer: peer.map(|peer| peer.addr),
            session: peer.map_or(SessionKind::None, SessionKind::of),
            subscription: peer
                .and_then(|peer| self.peers.shared_by(peer))
                .map(|shared| &*shared.only),
            sent: peer.and_then(|peer| peer.listed_revision),
            acked: peer.and_then(|peer| self.acked(peer)),
            pending_bytes,
            state,
            joined_at: self.journal.and_then(|journal| journal.joined_at(id)),
        })
    }

    fn acked(self, peer: &Peer) -> Option<u64> {
        let acked = peer.session.as_ref()?.acked_revision;
        let shared = self.peers.shared_by(peer);
        let has_all =
            shared.is_some_and(|shared| shared.pending_since.is_none() && acked >= shared.updated);
        Some(if has_all {
            self.registry.revision()
        } else {
            acked
        })
    }

    /// Returns the number of connections of each kind.
    pub fn sessions(self) -> impl Iterator<Item = (SessionKind, usize)> {
        let mut counts = SessionKind::ALL.map(|kind| (kind, 0));
        for (_, peer) in self.peers.iter() {
            if let Some((_, count)) = counts.get_mut(SessionKind::of(peer) as usize) {
                *count += 1;
            }
        }
        counts.into_iter()
    }

    /// Returns the sessions that have not acknowledged the newest change that concerns them.
    /// Iterates over all watching peers: call it once for many revisions.
    pub fn unacknowledged(self) -> UnacknowledgedSessions<'a> {
        let newest = self.registry.revision();
        let name = |peer: &Peer| peer.subject(self.registry).name;
        let sessions = self.peers.watching().filter_map(|(_, peer)| {
            let from = peer.awaited_from().filter(|from| *from < newest)?;
            Some((from, name(peer)))
        });
        let mut watching: Vec<(u64, &'a str)> = sessions.collect();
        watching.sort_by_key(|(from, _)| *from);
        let mut concerned: BTreeMap<u64, (usize, Vec<&'a str>)> = BTreeMap::new();
        for (id, shared) in self.peers.subscriptions.iter() {
            for (_, peer) in self.peers.subscribed(id) {
                let from = peer.awaited_from().unwrap_or(newest);
                for revision in shared.pushed_between(from, newest) {
                    let (count, names) = concerned.entry(revision).or_default();
                    *count += 1;
                    if names.len() < MAX_NAMES {
                        names.push(name(peer));
                    }
                }
            }
        }
        UnacknowledgedSessions {
            watching,
            concerned,
        }
    }
}

/// Sessions that have not acknowledged the newest change that concerns them.
#[derive(Debug)]
pub struct UnacknowledgedSessions<'a> {
    /// Those that receive all changes, each with its applied revision; the lowest is first.
    watching: Vec<(u64, &'a str)>,
    /// Number and names of those with a subscription, for each revision of a push.
    concerned: BTreeMap<u64, (usize, Vec<&'a str>)>,
}

impl UnacknowledgedSessions<'_> {
    /// Returns the number of sessions that lack this revision, and some of their names.
    pub fn of(&self, revision: u64) -> (usize, impl Iterator<Item = &str>) {
        let count = self.watching.partition_point(|(from, _)| *from < revision);
        let watching = self.watching.iter().take(count).map(|(_, name)| *name);
        let concerned = self.concerned.get(&revision);
        let of_concerned = concerned.into_iter().flat_map(|(_, names)| names).copied();
        let names = watching.chain(of_concerned).filter(|name| !name.is_empty());
        let count = count + concerned.map_or(0, |(count, _)| *count);
        (count, names.take(MAX_NAMES))
    }
}
