//! What a client of the Distributor knows, from nothing but what it was sent.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::sys::SocketId;

/// One connection. Reading checks what must be true of every packet.
#[derive(Debug, Default)]
pub(super) struct Client {
    pub(super) socket: Option<SocketId>,
    /// How much of what it was sent was looked at.
    seen: usize,
    /// Registrations that are not known to have failed, by their keys.
    registered: Vec<u64>,
    has_asked_for_session: bool,
    pub(super) has_session: bool,
    /// By the keys of registrations: whether it will watch.
    watches_by_key: Vec<(u64, bool)>,
    pub(super) watches: bool,
    /// The last list, as far as it knows: entries by their ids, or by their places.
    pub(super) view: BTreeMap<u64, Value>,
    pub(super) epoch: String,
    pub(super) rev: u64,
    /// It said it knows what it does not, or what it was sent can't be told from what it said.
    pub(super) is_beyond_belief: bool,
    /// It has sent its end.
    pub(super) is_mute: bool,
    /// Lists of a revision that it knows: those it asked for, and those owed to it for registering.
    pub(super) solicited: usize,
    /// Lists that it has earned by registering, and not got since it last began to read again.
    pub(super) earned: usize,
    /// Lists that it was sent without asking.
    pub(super) lists: usize,
    /// What it said it knows. It is so if it is sent what leads on from there.
    pub(super) resumed: Option<Resumed>,
}

#[derive(Debug)]
pub(super) struct Resumed {
    pub(super) epoch: String,
    pub(super) rev: u64,
    pub(super) view: BTreeMap<u64, Value>,
}

impl Client {
    pub(super) fn on(socket: SocketId) -> Client {
        Client {
            socket: Some(socket),
            watches: true,
            solicited: 1,
            earned: 1,
            ..Client::default()
        }
    }

    pub(super) fn is_registered(&self) -> bool {
        !self.registered.is_empty()
    }

    /// It registers: with a session that watches or does not, or without one.
    pub(super) fn registers(&mut self, key: u64, watches: Option<bool>) {
        self.watches_by_key
            .extend(watches.map(|watches| (key, watches)));
        self.has_asked_for_session |= watches.is_some();
        self.registered.push(key);
        self.solicited += 1;
        self.earned += 1;
    }

    /// Reads what came since the last time, as far as it is whole.
    pub(super) fn read(&mut self, written: &[u8]) {
        let news = &written[self.seen..];
        let text = match std::str::from_utf8(news) {
            Ok(text) => text,
            Err(cut) => std::str::from_utf8(&news[..cut.valid_up_to()]).unwrap_or_default(),
        };
        let whole = text.rfind('¶').map_or(0, |at| at + '¶'.len_utf8());
        self.seen += whole;
        for frame in text[..whole].split_terminator('¶') {
            let packet: Value = serde_json::from_str(frame).expect("frames are JSON");
            self.take(&packet);
        }
    }

    fn take(&mut self, packet: &Value) {
        if let Some(code) = packet["errorcode"].as_u64() {
            let key = packet["key"].as_u64();
            if code != 0 {
                self.registered
                    .retain(|registered| Some(*registered) != key);
            } else if packet["results"]["id"].is_u64() {
                self.has_session = true;
                let opened = self.watches_by_key.iter().find(|(of, _)| Some(*of) == key);
                self.watches = opened.is_none_or(|(_, watches)| *watches);
                // Who knows the newest list need not be sent one.
                let results = &packet["results"];
                if self.resumed.as_ref().is_some_and(|resumed| {
                    results["epoch"] == resumed.epoch && results["rev"] == resumed.rev
                }) {
                    self.resume();
                }
            }
            return;
        }
        assert_eq!(packet["uri"], "/distributes", "{packet}");
        // Answers carry the key of who asked, and wait until they can be taken.
        self.lists += usize::from(packet["key"] == 0);
        let session = &packet["session"];
        if !session.is_null() {
            assert!(
                self.has_asked_for_session,
                "who does not ask for it never sees it: {packet}"
            );
            self.follow(packet, session);
        }
        match packet["method"].as_str() {
            Some("GET") => {
                let entries = packet["params"].as_array().expect("a list is an array");
                entries.iter().for_each(assert_harmless);
                let place = |place: usize| match session["ids"].get(place) {
                    Some(id) => id.as_u64().expect("an id is a number"),
                    None => place as u64,
                };
                let ids = session["ids"].as_array();
                assert!(ids.is_none_or(|ids| ids.len() == entries.len()), "{packet}");
                let entries = entries.iter().cloned().enumerate();
                self.view = entries.map(|(at, entry)| (place(at), entry)).collect();
            }
            Some("PATCH") => {
                let (joined, left) = (&packet["params"]["joined"], &packet["params"]["left"]);
                for left in left.as_array().expect("left is an array") {
                    let id = left["id"].as_u64().expect("an id is a number");
                    let gone = self.view.remove(&id);
                    assert!(gone.is_some() || self.is_beyond_belief, "unknown: {packet}");
                }
                let joined = joined.as_array().expect("joined is an array");
                for (at, entry) in joined.iter().enumerate() {
                    assert_harmless(entry);
                    let id = session["ids"][at].as_u64().expect("each has an id");
                    self.view.insert(id, entry.clone());
                }
            }
            _ => panic!("no such packet is known: {packet}"),
        }
    }

    fn resume(&mut self) {
        if let Some(resumed) = self.resumed.take() {
            (self.epoch, self.rev, self.view) = (resumed.epoch, resumed.rev, resumed.view);
        }
    }

    /// Revisions rise, and a delta leads on from what was sent before.
    fn follow(&mut self, packet: &Value, session: &Value) {
        let epoch = session["epoch"].as_str().expect("a list has an epoch");
        let rev = session["rev"].as_u64().expect("a list has a revision");
        if self
            .resumed
            .as_ref()
            .is_some_and(|resumed| resumed.epoch == epoch && session["from"] == resumed.rev)
        {
            self.resume();
        }
        self.resumed = None;
        if !self.is_beyond_belief && !self.epoch.is_empty() {
            assert_eq!(self.epoch, epoch, "one run, one epoch");
            let is_same = rev == self.rev && self.solicited > 0;
            assert!(rev > self.rev || is_same, "from {} to {packet}", self.rev);
            self.solicited -= usize::from(is_same);
            if packet["method"] == "PATCH" {
                assert_eq!(session["from"], self.rev, "{packet}");
            }
        }
        self.epoch = epoch.to_owned();
        self.rev = rev;
    }
}

/// What kills existing peers is in no list.
fn assert_harmless(entry: &Value) {
    let port = match &entry["port"] {
        Value::String(port) => port.parse().unwrap_or(0),
        port => port.as_u64().unwrap_or(0),
    };
    assert!((1..=65535).contains(&port), "{entry}");
    assert_eq!(entry["host"], "10.0.0.9", "{entry}");
}
