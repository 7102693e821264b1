//! What there is to see, for whoever looks without being a node.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::Distributor;
use super::events::{Journal, MAX_NAMES};
use super::identities::Unclaimed;
use super::peer::Peer;
use crate::protocol::Watch;
use crate::reactor::{ConnId, Net};
use crate::registry::{Entry, EntryId};
use crate::time::Time;

/// One node, as it is known now.
#[derive(Clone, Copy, Debug)]
pub struct NodeView<'a> {
    /// Its entry.
    pub id: EntryId,
    /// What it said of itself.
    pub entry: &'a Entry,
    /// Its connection, if it has one.
    pub peer: Option<SocketAddr>,
    /// What it is told, and how.
    pub session: SessionKind,
    /// The revision that it was last sent.
    pub sent: Option<u64>,
    /// The revision that it last said it has applied.
    pub acked: Option<u64>,
    /// Bytes that it has not taken yet.
    pub pending_bytes: usize,
    /// How it is.
    pub state: NodeState,
    /// When it joined, if that was observed.
    pub joined_at: Option<Time>,
}

/// What a peer asked for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum SessionKind {
    /// No session: a plain peer, which is sent whole lists.
    Plain,
    /// A session with whole lists.
    List,
    /// A session with changes.
    Delta,
    /// A session without lists.
    Unwatching,
    /// It has not registered, or has no connection.
    None,
}

impl SessionKind {
    /// All kinds, each in its own place.
    pub const ALL: [SessionKind; 5] = [
        SessionKind::Plain,
        SessionKind::List,
        SessionKind::Delta,
        SessionKind::Unwatching,
        SessionKind::None,
    ];

    /// The word for it.
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

/// How a node is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NodeState {
    /// It is connected.
    Connected,
    /// It has not taken all that it was sent.
    Behind,
    /// It fell silent together with many others, and is held for a while.
    Suspect,
    /// It is of the last run, and not back yet.
    Absent,
}

impl NodeState {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            NodeState::Connected => "connected",
            NodeState::Behind => "behind",
            NodeState::Suspect => "suspect",
            NodeState::Absent => "absent",
        }
    }
}

impl Distributor {
    /// All nodes, in the order of the list.
    pub fn nodes<'a>(&'a self, net: &'a Net) -> impl Iterator<Item = NodeView<'a>> {
        let all = self.entries_and_connections().into_iter();
        all.filter_map(move |(id, conn)| self.node(net, id, conn))
    }

    /// All entries in the order of the list, with the connection of each that has one: to look at
    /// them with [`Distributor::node`] little by little.
    pub fn entries_and_connections(&self) -> Vec<(EntryId, Option<ConnId>)> {
        let mut connected: Vec<(EntryId, ConnId)> = self
            .peers
            .iter()
            .filter_map(|(conn, peer)| peer.entry.map(|id| (id, conn)))
            .collect();
        connected.sort_unstable();
        let mut connected = connected.into_iter().peekable();
        let conn_of = |id| Some(connected.next_if(|(other, _)| *other == id)?.1);
        let ids = self.registry.iter().map(|(id, _)| id);
        ids.scan(conn_of, |conn_of, id| Some((id, conn_of(id))))
            .collect()
    }

    /// One node, as it is with this connection. `None` if it has left.
    pub fn node<'a>(
        &'a self,
        net: &Net,
        id: EntryId,
        conn: Option<ConnId>,
    ) -> Option<NodeView<'a>> {
        let entry = self.registry.get(id)?;
        let peer = conn.and_then(|conn| self.peers.get(conn));
        let peer = peer.filter(|peer| peer.entry == Some(id));
        let unread_bytes = |conn| net.pending_bytes(conn);
        let pending_bytes = peer.and(conn).map_or(0, unread_bytes);
        let state = match peer {
            None if self.identities.unclaimed(id) == Some(Unclaimed::Suspect) => NodeState::Suspect,
            None => NodeState::Absent,
            Some(peer) if peer.is_suspect => NodeState::Suspect,
            Some(_) if pending_bytes > 0 => NodeState::Behind,
            Some(_) => NodeState::Connected,
        };
        Some(NodeView {
            id,
            entry,
            peer: peer.map(|peer| peer.addr),
            session: peer.map_or(SessionKind::None, SessionKind::of),
            sent: peer.and_then(|peer| peer.listed_revision),
            acked: peer.and_then(|peer| Some(peer.session.as_ref()?.acked_revision)),
            pending_bytes,
            state,
            joined_at: self.journal().and_then(|journal| journal.joined_at(id)),
        })
    }

    /// How many connections there are of each kind.
    pub fn sessions(&self) -> impl Iterator<Item = (SessionKind, usize)> {
        let mut counts = SessionKind::ALL.map(|kind| (kind, 0));
        for (_, peer) in self.peers.iter() {
            if let Some((_, count)) = counts.get_mut(SessionKind::of(peer) as usize) {
                *count += 1;
            }
        }
        counts.into_iter()
    }

    /// Returns the sizes of its collections besides the registry and the peers. All are bounded.
    pub fn sizes(&self) -> impl Iterator<Item = (&'static str, usize)> {
        let [identities, instances, unclaimed] = self.identities.sizes();
        let journal = self.journal().map(Journal::sizes);
        let [events, pushes, samples, joined] = journal.unwrap_or_default();
        let waits = self.drains.iter().map(super::Drain::waits_for);
        [
            ("history", self.registry.history_len()),
            ("identities", identities),
            ("instances", instances),
            ("unclaimed", unclaimed),
            ("suspects", self.self_preservation.held()),
            ("recently_silent", self.self_preservation.recently_silent()),
            ("drains", self.drains.len()),
            ("drains_awaited", waits.sum()),
            ("lists_owed", self.pushes.scheduled()),
            ("deltas", self.pushes.deltas()),
            ("old_lists", self.pushes.old_lists().0),
            ("events", events),
            ("pushes", pushes),
            ("ack_samples", samples),
            ("joined_times", joined),
        ]
        .into_iter()
    }

    /// Returns the bytes of old lists that some peers have not taken yet.
    pub fn bytes_kept(&self) -> [(&'static str, usize); 1] {
        [("old_lists", self.pushes.old_lists().1)]
    }

    /// How long the list may not be complete yet. Zero: it is complete.
    pub fn warms_up_for(&self, now: Time) -> Duration {
        match self.is_complete {
            true => Duration::ZERO,
            // Who is absent is told a moment before it is complete.
            false => self
                .warms_up_until
                .saturating_since(now)
                .max(Duration::from_millis(1)),
        }
    }

    /// Whether it is stopping.
    pub fn is_stopping(&self) -> bool {
        self.is_stopping
    }

    /// Drawn at the start: tells this run's revisions from another's.
    pub fn epoch(&self) -> &str {
        &self.epoch
    }

    /// Whether who comes from this address, or has this token, may see the list.
    pub fn may_see(&self, address: IpAddr, token: Option<&str>) -> bool {
        let access = &self.config.access;
        access.of_address(address.to_canonical()).is_some()
            || token.is_some_and(|token| access.has_token(token))
    }

    /// Returns the sessions that have not acknowledged everything yet. Looks at all peers: call it
    /// once for many revisions.
    pub fn unacknowledged(&self) -> UnacknowledgedSessions<'_> {
        let newest = self.registry.revision();
        let mut all: Vec<(u64, &str)> = self
            .peers
            .iter()
            .filter_map(|(_, peer)| {
                let from = peer.awaited_from().filter(|from| *from < newest)?;
                let entry = peer.entry.and_then(|id| self.registry.get(id));
                Some((from, entry.map_or("", |entry| &*entry.name)))
            })
            .collect();
        all.sort_by_key(|(from, _)| *from);
        UnacknowledgedSessions(all)
    }
}

/// Watching sessions that have not acknowledged everything, each with the revision that it has
/// applied, the lowest first.
#[derive(Debug)]
pub struct UnacknowledgedSessions<'a>(Vec<(u64, &'a str)>);

impl UnacknowledgedSessions<'_> {
    /// Returns how many have not applied this revision, and the names of some listed ones.
    pub fn of(&self, revision: u64) -> (usize, impl Iterator<Item = &str>) {
        let count = self.0.partition_point(|(from, _)| *from < revision);
        let names = self.0.iter().take(count).map(|(_, name)| *name);
        (count, names.filter(|name| !name.is_empty()).take(MAX_NAMES))
    }
}
