//! The state of a connection of a Distributor.

use std::net::SocketAddr;
use std::time::Duration;

use std::rc::Rc;

use super::admission::{Authorization, TokenMark};
use super::events::Subject;
use super::liveness::Health;
use super::subscriptions::SubscriptionId;
use crate::protocol::{Subscription, Watch};
use crate::registry::{EntryId, Keys, Registry};
use crate::time::Time;

/// One connection. Rarely used state is boxed, since there may be very many idle connections.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) addr: SocketAddr,
    pub(super) connected_at: Time,
    /// Entry of the node, until it drains or another connection takes over the entry.
    pub(super) entry: Option<EntryId>,
    /// The peer has registered, and receives every change of the list since.
    pub(super) is_registered: bool,
    /// Session of the node; plain peers have none.
    pub(super) session: Option<Box<Session>>,
    pub(super) has_sent_frame: bool,
    /// The list that each admitted connection receives waits for its first frame.
    pub(super) awaits_first_list: bool,
    /// It was sent a list a moment ago, and pauses if it is a plain peer.
    pub(super) is_pausing: bool,
    /// Revision of the list that was last queued for it.
    pub(super) listed_revision: Option<u64>,
    /// A list is due even if it has not changed: the peer has just connected or registered.
    pub(super) is_list_due: bool,
    /// Key of the peer's request for the list, until the list is sent.
    pub(super) get_key: Option<Box<str>>,
    pub(super) health: Health,
    /// Authorization to register and to receive lists. `None`: it needs a token.
    pub(super) authorization: Option<Authorization>,
    pub(super) token: Option<Box<TokenMark>>,
}

/// A session that was opened with a registration.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) watch: Watch,
    pub(super) instance: Option<Box<str>>,
    /// Revision that it last acknowledged.
    pub(super) acked_revision: u64,
    /// Revision of the last push before it began, which it need not acknowledge.
    pub(super) opened_at_push: u64,
    /// Time at which the peer last sent something.
    pub(super) received_at: Time,
    /// The last list sent to it was marked as incomplete.
    pub(super) was_sent_incomplete: bool,
    /// The next update is a whole list, since changes cannot be marked as incomplete.
    pub(super) needs_list: bool,
    /// The entries that it receives; `None` for all.
    pub(super) subscription: Option<SubscriptionId>,
    /// A change of its subscription, until the update for it is sent.
    pub(super) next: Option<Box<NextSubscription>>,
    /// Subscriptions that it may still act by. They match until it has acknowledged the update to
    /// the next one.
    pub(super) former: Vec<Former>,
}

/// A requested change of a subscription.
#[derive(Debug)]
pub(super) struct NextSubscription {
    pub(super) only: Subscription,
    /// Key of the request; `None` if it requires no reply.
    pub(super) key: Option<Box<str>>,
}

/// A subscription that was replaced.
#[derive(Debug)]
pub(super) struct Former {
    /// `None` for all entries.
    pub(super) only: Option<Rc<Subscription>>,
    /// Revision of the update to the next subscription.
    pub(super) until: u64,
}

/// Maximum number of replaced subscriptions of a session that has not acknowledged the next one.
/// Beyond it, all entries match.
const MAX_FORMER: usize = 8;

impl Session {
    /// Records that an update to `revision` replaced this subscription.
    pub(super) fn replaced(&mut self, only: Option<Rc<Subscription>>, revision: u64) {
        if self.former.len() >= MAX_FORMER {
            self.former.clear();
            return self.former.push(Former {
                only: None,
                until: revision,
            });
        }
        self.former.push(Former {
            only,
            until: revision,
        });
    }

    /// Returns the revision with which it acknowledges that it does not have an entry any more, if
    /// it may still act by a subscription that matched the entry.
    pub(super) fn former_until(&self, keys: &Keys) -> Option<u64> {
        let matching = self.former.iter();
        let matching = matching.filter(|former| keys.match_only(former.only.as_deref()));
        matching.map(|former| former.until).max()
    }
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
            awaits_first_list: authorization.is_some(),
            is_pausing: false,
            listed_revision: None,
            is_list_due: authorization.is_some(),
            get_key: None,
            health: Health::Responsive,
            authorization,
            token: None,
        }
    }

    /// Returns how long its session has sent nothing. `None` if it has none, is already a suspect,
    /// or waits for a list: until then nothing is read from it.
    pub(super) fn quiet_for(&self, now: Time) -> Option<Duration> {
        let session = self.session.as_ref()?;
        let is_read =
            self.get_key.is_none() && session.next.is_none() && self.health != Health::Suspect;
        is_read.then(|| now.saturating_since(session.received_at))
    }

    pub(super) fn subject<'a>(&self, registry: &'a Registry) -> Subject<'a> {
        let entry = self.entry.and_then(|id| registry.get(id));
        Subject {
            peer: Some(self.addr),
            name: entry.map_or("", |entry| &*entry.keys.name),
            entry: self.entry,
            ..Subject::default()
        }
    }

    /// Returns the revision after which it has to acknowledge pushes, or `None` if it need not.
    pub(super) fn awaited_from(&self) -> Option<u64> {
        let session = self.session.as_deref()?;
        self.is_watching()
            .then(|| session.acked_revision.max(session.opened_at_push))
    }

    /// Records that it sent something. Returns whether it was a suspect until now.
    pub(super) fn record_received(&mut self, now: Time) -> bool {
        if let Some(session) = &mut self.session {
            session.received_at = now;
        }
        let was_suspect = self.health == Health::Suspect;
        if was_suspect {
            self.health = Health::Responsive;
        }
        was_suspect
    }

    /// Records that the list of `revision`, or the changes up to it, were queued for it.
    pub(super) fn record_sent(&mut self, revision: u64, is_complete: bool) {
        self.is_list_due = false;
        self.listed_revision = Some(revision);
        if let Some(session) = &mut self.session {
            session.was_sent_incomplete = !is_complete;
            session.needs_list = false;
        }
    }

    /// Returns whether it receives changes of the list.
    pub(super) fn is_watching(&self) -> bool {
        let session = self.session.as_ref();
        self.is_registered && session.is_none_or(|session| session.watch != Watch::None)
    }

    /// Returns its subscription, if it has a session with one.
    pub(super) fn subscription(&self) -> Option<SubscriptionId> {
        self.session.as_ref()?.subscription
    }

    /// Returns whether it receives every change of the list, also those of other services.
    pub(super) fn receives_all(&self) -> bool {
        self.is_watching() && self.subscription().is_none()
    }

    /// Returns whether the next list to it waits, since plain peers lose lists that pile up.
    pub(super) fn pauses(&self) -> bool {
        self.is_pausing && self.session.is_none()
    }

    pub(super) fn is_behind(&self, revision: u64) -> bool {
        self.is_watching() && self.listed_revision != Some(revision)
    }
}
