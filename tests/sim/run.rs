//! The model of one run of a Distributor: its registrations, and every list that it has had.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use pilcrow::Time;
use pilcrow::testing::sim::ProcessId;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::model::List;
use crate::subscriptions::{Only, Requested, matching};
use crate::unclaimed::Claimed;

/// One run of a Distributor.
pub struct Run {
    pub process: ProcessId,
    pub conns: BTreeMap<SocketAddr, Conn>,
    /// Connections that have ended: frames sent on them may still arrive.
    pub gone: BTreeMap<SocketAddr, Conn>,
    pub entries: Vec<Entry>,
    pub entries_drawn: u64,
    instances: BTreeMap<String, Holder>,
    /// Every list so far, in order.
    pub lists: Vec<Possible>,
    /// True if an entry was ever in doubt, so that the order of the list is unknown.
    pub has_doubted: bool,
    /// The list of each revision that was sent.
    pub revisions: BTreeMap<(u64, Option<String>), List>,
    pub epoch: Option<String>,
    pub is_stopping: bool,
    /// The number of lists when the last snapshot was taken.
    pub saved_lists: usize,
    /// Time at which it restored a snapshot, by its own clock.
    pub restored_at: Option<Time>,
    /// Entries of the last run that were not claimed in time.
    pub absent: Vec<Rc<str>>,
}

/// Input of a Distributor on one connection.
#[derive(Default)]
pub struct Conn {
    pub entry: Option<u64>,
    pub is_registered: bool,
    pub has_session: bool,
    pub watches: bool,
    pub instance: Option<String>,
    pub is_superseded: bool,
    pub is_refused: bool,
    pub last_frame_at: Time,
    pub cut_since: Option<Time>,
    pub stuck_since: Option<Time>,
    /// The index of the list that it was last sent.
    pub last_list: usize,
    pub last_revision: Option<u64>,
    pub requested: Requested,
}

impl Conn {
    pub fn has_entry(&self) -> bool {
        self.entry.is_some()
    }
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub number: u64,
    pub text: Rc<str>,
    pub is_listed: bool,
    /// The instance of its session.
    pub instance: Option<String>,
    pub host: Option<IpAddr>,
    /// An entry of the last run that is not claimed yet.
    pub is_unclaimed: bool,
    pub doubt: Option<Doubt>,
}

/// The state of an entry whose host fell silent: removed, or suspect and claimable.
#[derive(Clone, Debug)]
pub struct Doubt {
    pub since: Time,
}

/// The model of a snapshot.
#[derive(Clone, Debug)]
pub struct Saved {
    pub entries: Vec<Entry>,
    pub is_ordered: bool,
}

impl Saved {
    /// Returns the entries that it lists for certain.
    pub fn certain(&self) -> Vec<Rc<str>> {
        let entries = self.entries.iter();
        let certain = entries.filter(|entry| entry.is_listed && entry.doubt.is_none());
        certain.map(|entry| Rc::clone(&entry.text)).collect()
    }
}

/// The longest time that an entry is suspect: one is removed each second.
const LONGEST_DOUBT: Duration = Duration::from_secs(60);

/// A possible list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Possible {
    pub certain: List,
    pub doubtful: List,
}

impl Default for Possible {
    fn default() -> Possible {
        Possible {
            certain: Rc::from([]),
            doubtful: Rc::from([]),
        }
    }
}

impl Possible {
    fn matching(&self, only: &Only) -> Possible {
        Possible {
            certain: matching(&self.certain, only).into(),
            doubtful: matching(&self.doubtful, only).into(),
        }
    }

    fn allows(&self, list: &[Rc<str>], is_ordered: bool) -> bool {
        if is_ordered && self.doubtful.is_empty() {
            return *self.certain == *list;
        }
        let mut left: Vec<&Rc<str>> = list.iter().collect();
        let mut take = |entry: &Rc<str>| {
            let place = left.iter().position(|other| *other == entry);
            place.map(|place| left.swap_remove(place)).is_some()
        };
        let has_all = self.certain.iter().all(&mut take);
        for entry in &*self.doubtful {
            take(entry);
        }
        has_all && left.is_empty()
    }
}

struct Holder {
    peer: SocketAddr,
    entry: u64,
    /// Time of the first of the counted take-overs.
    window_began_at: Option<Time>,
    take_overs: u32,
}

#[derive(Deserialize)]
pub struct Packet<'a> {
    pub uri: String,
    pub method: String,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(default)]
    session: Option<serde_json::Value>,
}

impl Run {
    pub fn new(process: ProcessId) -> Run {
        Run {
            process,
            conns: BTreeMap::new(),
            gone: BTreeMap::new(),
            entries: Vec::new(),
            entries_drawn: 0,
            instances: BTreeMap::new(),
            lists: vec![Possible::default()],
            has_doubted: false,
            revisions: BTreeMap::new(),
            epoch: None,
            is_stopping: false,
            saved_lists: 0,
            restored_at: None,
            absent: Vec::new(),
        }
    }

    /// Returns the current list.
    pub fn list(&self) -> List {
        Rc::clone(&self.lists.last().expect("the first list is empty").certain)
    }

    /// Returns whether `list` is the last one, and complete.
    pub fn is_last(&self, list: &[Rc<str>]) -> bool {
        let last = Possible {
            certain: self.list(),
            ..Possible::default()
        };
        last.allows(list, !self.has_doubted)
    }

    /// Returns whether `list` has the entries of the last one that match, and that one is complete.
    pub fn is_last_matching(&self, list: &[Rc<str>], matches: impl Fn(&str) -> bool) -> bool {
        let entries = self.list();
        let matching = entries.iter().filter(|entry| matches(entry));
        let last = Possible {
            certain: matching.cloned().collect(),
            ..Possible::default()
        };
        last.allows(list, !self.has_doubted)
    }

    /// Returns the index of `list` among the lists from this one on.
    pub fn place_of(&self, list: &[Rc<str>], only: &Only, from: usize) -> Option<usize> {
        let mut later = self.lists[from..].iter();
        let is_ordered = !self.has_doubted;
        let place = later.position(|possible| match only {
            None => possible.allows(list, is_ordered),
            only => possible.matching(only).allows(list, is_ordered),
        });
        place.map(|place| from + place)
    }

    /// Records a heartbeat.
    pub fn heartbeat(&mut self, peer: SocketAddr, packet: &Packet<'_>) {
        let session = packet.session.as_ref();
        if let Some(only) = session.and_then(|session| session.get("only"))
            && let Some(conn) = self.conns.get_mut(&peer)
        {
            conn.requested.push(Some(Rc::new(only.clone())));
        }
    }

    /// Records the current list.
    pub fn note_list(&mut self, now: Time) {
        self.entries.retain(|entry| {
            let doubt = entry.doubt.as_ref();
            doubt.is_none_or(|doubt| now.saturating_since(doubt.since) < LONGEST_DOUBT)
        });
        self.note_list_within_turn();
    }

    /// Records the list after a frame or an end of a connection: the first list of a connection may
    /// be any list within a turn.
    pub fn note_list_within_turn(&mut self) {
        let listed = |in_doubt: bool| -> List {
            let entries = self.entries.iter().filter(|entry| entry.is_listed);
            let entries = entries.filter(|entry| entry.doubt.is_some() == in_doubt);
            entries.map(|entry| Rc::clone(&entry.text)).collect()
        };
        let now = Possible {
            certain: listed(false),
            doubtful: listed(true),
        };
        if self.lists.last() != Some(&now) {
            self.lists.push(now);
        }
    }

    /// Records that the host of this connection fell silent.
    pub fn doubt(&mut self, conn: &Conn, now: Time) {
        let doubt = Doubt { since: now };
        if let Some(entry) = conn.entry.and_then(|number| self.entry_mut(number)) {
            entry.doubt = Some(doubt);
            self.has_doubted = true;
        }
    }

    /// Returns the record of a connection, whether it is open or not.
    pub fn sent_to(&mut self, peer: SocketAddr) -> Option<&mut Conn> {
        let known = self.conns.get_mut(&peer);
        known.or_else(|| self.gone.get_mut(&peer))
    }

    /// Records a registration. `was_taken` decides only where an entry is in doubt.
    pub fn register(&mut self, peer: SocketAddr, packet: &Packet<'_>, now: Time, was_taken: bool) {
        let session = packet.session.as_ref();
        let instance = session
            .and_then(|session| session.get("instance"))
            .and_then(|instance| instance.as_str())
            .map(str::to_owned);
        let Some(text) = packet
            .params
            .map(RawValue::get)
            .filter(|text| is_valid(text))
        else {
            self.conns.entry(peer).or_default().is_refused = true;
            return;
        };
        if session.is_some_and(|session| !session.is_object()) {
            return;
        }
        let mut taken = None;
        if let Some(instance) = &instance
            && let Some(holder) = self.instances.get_mut(instance)
            && holder.peer != peer
        {
            if holder.peer.ip() != peer.ip() {
                return;
            }
            let is_over = |began| now.saturating_since(began) >= Duration::from_secs(60);
            if holder.window_began_at.is_none_or(is_over) {
                holder.window_began_at = Some(now);
                holder.take_overs = 0;
            }
            if holder.take_overs >= 3 {
                return;
            }
            holder.take_overs += 1;
            if self.conns.get(&peer).is_some_and(Conn::has_entry) {
                return;
            }
            taken = Some((holder.peer, holder.entry));
        }

        let listed = Entry {
            number: 0,
            text: with_host(text, peer).into(),
            is_listed: has_port(text),
            instance: None,
            host: Some(peer.ip()),
            is_unclaimed: false,
            doubt: None,
        };
        let own = self.conns.get(&peer).and_then(|conn| conn.entry);
        let mut place = taken.map(|(_, entry)| entry).or(own);
        if place.is_none() {
            place = match self.claim(&listed.text, instance.as_ref(), peer.ip(), was_taken) {
                Claimed::Refused => return,
                Claimed::Nothing => None,
                Claimed::Entry(number) => Some(number),
            };
        }
        let known = place.and_then(|number| self.entry_mut(number));
        let number = match known {
            Some(known) => {
                *known = Entry {
                    number: known.number,
                    ..listed
                };
                known.number
            }
            None => {
                self.entries_drawn += 1;
                let number = self.entries_drawn;
                self.entries.push(Entry { number, ..listed });
                number
            }
        };
        if let Some((from, _)) = taken
            && let Some(old) = self.conns.get_mut(&from)
        {
            old.entry = None;
            old.is_superseded = true;
        }
        let conn = self.conns.entry(peer).or_default();
        conn.entry = Some(number);
        conn.is_registered = true;
        conn.watches = true;
        if let Some(session) = session {
            let only = session.get("only");
            conn.requested.push(only.map(|only| Rc::new(only.clone())));
            let before = conn.instance.take();
            conn.has_session = true;
            conn.watches = session.get("watch").and_then(|watch| watch.as_str()) != Some("none");
            conn.instance.clone_from(&instance);
            if let Some(before) = before.filter(|before| Some(before) != instance.as_ref())
                && self
                    .instances
                    .get(&before)
                    .is_some_and(|held| held.peer == peer)
            {
                self.instances.remove(&before);
            }
        }
        let owner = conn.instance.clone();
        if let Some(entry) = self.entry_mut(number) {
            entry.instance = owner;
        }
        if let Some(instance) = instance {
            let (window_began_at, take_overs) = match self.instances.get(&instance) {
                Some(held) => (held.window_began_at, held.take_overs),
                None => (None, 0),
            };
            let holder = Holder {
                peer,
                entry: number,
                window_began_at,
                take_overs,
            };
            self.instances.insert(instance, holder);
        }
    }

    fn entry_mut(&mut self, number: u64) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.number == number)
    }

    pub fn drain(&mut self, peer: SocketAddr) {
        let Some(conn) = self.conns.get_mut(&peer) else {
            return;
        };
        let left = Conn {
            entry: conn.entry.take(),
            instance: conn.instance.clone(),
            ..Conn::default()
        };
        if left.entry.is_some() {
            self.leave(&left);
            self.release(&left, peer);
        }
    }

    pub fn leave(&mut self, conn: &Conn) {
        self.entries
            .retain(|entry| Some(entry.number) != conn.entry);
    }

    pub fn release(&mut self, conn: &Conn, peer: SocketAddr) {
        if let Some(instance) = &conn.instance
            && self
                .instances
                .get(instance)
                .is_some_and(|held| held.peer == peer)
        {
            self.instances.remove(instance);
        }
    }
}

/// Returns whether a Distributor accepts these params, for the registrations of this fleet.
fn is_valid(text: &str) -> bool {
    #[derive(Deserialize)]
    struct Params {
        #[serde(default)]
        name: String,
        #[serde(default)]
        urls: Vec<String>,
    }
    let is_url = |url: &String| {
        let path = url.trim_start_matches(|letter: char| letter.is_ascii_uppercase());
        path.len() < url.len() && path.starts_with('/') && !path.contains("..")
    };
    text.starts_with('{')
        && serde_json::from_str(text).is_ok_and(|params: Params| {
            params.name.len() <= 128
                && !params.name.contains(char::is_control)
                && params.urls.iter().all(is_url)
        })
}

fn has_port(text: &str) -> bool {
    let params: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let port = params.get("port").and_then(serde_json::Value::as_u64);
    port.is_some_and(|port| (1..=65_535).contains(&port))
}

fn with_host(text: &str, peer: SocketAddr) -> String {
    let open = text.strip_suffix('}').unwrap_or(text).trim_end();
    let comma = if open.ends_with('{') { "" } else { "," };
    // The space before the brace stays after the new field.
    let space = &text[open.len()..text.len() - 1];
    format!("{open}{comma}\"host\":\"{}\"{space}}}", peer.ip())
}
