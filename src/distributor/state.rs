//! What outlasts a restart: the list, and who may have which entry back. Pure.
//!
//! A line of JSON that says what the file is and what its rest must hash to; then a line with the
//! salt of the tokens' marks, and one JSON object an entry, in the order of the list. That tells
//! three things apart: a file of something else, one of a newer version, and one that is torn.

use std::fmt::{self, Write as _};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::admission::{Salt, TokenMark};
use crate::protocol::{ListedNode, Registration, RegistrationLimits, is_instance};
use crate::registry::Entry;

/// The list of an earlier run, as [`Distributor::restore`](super::Distributor::restore) takes it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct State {
    pub(super) salt: Salt,
    pub(super) entries: Vec<SavedEntry>,
    left_out: usize,
}

/// The list as it is now, as [`Distributor::unsaved_state`](super::Distributor::unsaved_state) hands
/// it over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnsavedState {
    body: Vec<u8>,
}

/// One entry, and whose it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct SavedEntry {
    pub(super) entry: Entry,
    pub(super) identity: Identity,
}

/// Whose an entry is: what a connection must show to have it back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Identity {
    pub(super) address: IpAddr,
    pub(super) instance: Option<Box<str>>,
    pub(super) token: Option<TokenMark>,
}

impl Identity {
    /// Whether one with this address and token may have what is this identity's.
    pub(super) fn may_be(&self, address: IpAddr, token: Option<TokenMark>) -> bool {
        self.address == address && self.token == token
    }
}

/// Why bytes are not the state of an earlier run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unreadable {
    /// It began as one, but is not as it was written.
    Torn,
    /// It is of a version that this one does not know.
    Newer(u32),
    /// It is something else.
    Foreign,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unreadable::Torn => f.write_str("it is not as it was written: torn, or changed since"),
            Unreadable::Newer(version) => write!(f, "it is of version {version}, and newer"),
            Unreadable::Foreign => f.write_str("it is no state of a Distributor"),
        }
    }
}

impl std::error::Error for Unreadable {}

const FORMAT: &str = "pilcrow distributor state";
const VERSION: u32 = 1;

#[derive(Deserialize, Serialize)]
struct Header<'a> {
    format: &'a str,
    version: u32,
    #[serde(default)]
    bytes: usize,
    #[serde(default)]
    sha256: &'a str,
}

#[derive(Deserialize)]
struct Preface {
    salt: Salt,
}

#[derive(Deserialize)]
struct Line<'a> {
    address: IpAddr,
    #[serde(default)]
    instance: Option<Box<str>>,
    #[serde(default)]
    token: Option<TokenMark>,
    #[serde(borrow)]
    entry: &'a RawValue,
}

/// The host stands in an entry, and does not count where a node's own words are limited.
const MAX_HOST_BYTES: usize = 300;

impl State {
    /// Reads what [`UnsavedState::into_bytes`] made. Entries that are over `limits` are left out, as
    /// if they registered now: see [`State::left_out`].
    pub fn decode(bytes: &[u8], limits: &RegistrationLimits) -> Result<State, Unreadable> {
        // Some disks come back with zeros where the bytes were not written yet.
        if bytes.iter().all(|byte| *byte == 0) {
            return Err(Unreadable::Torn);
        }
        let unlike = match bytes.starts_with(format!("{{\"format\":\"{FORMAT}\"").as_bytes()) {
            true => Unreadable::Torn,
            false => Unreadable::Foreign,
        };
        let line_end = memchr::memchr(b'\n', bytes).ok_or(unlike)?;
        let (header, rest) = bytes.split_at_checked(line_end).ok_or(unlike)?;
        let header: Header<'_> = serde_json::from_slice(header).map_err(|_| unlike)?;
        if header.format != FORMAT {
            return Err(Unreadable::Foreign);
        }
        match header.version {
            VERSION => {}
            newer if newer > VERSION => return Err(Unreadable::Newer(newer)),
            _ => return Err(Unreadable::Torn),
        }
        let body = rest.get(1..).unwrap_or_default();
        let is_whole = body.len() == header.bytes && hash(body) == header.sha256;
        if !is_whole {
            return Err(Unreadable::Torn);
        }
        State::decode_body(body, limits).ok_or(Unreadable::Torn)
    }

    fn decode_body(body: &[u8], limits: &RegistrationLimits) -> Option<State> {
        let first_end = memchr::memchr(b'\n', body)?;
        let preface: Preface = serde_json::from_slice(body.get(..first_end)?).ok()?;
        let mut state = State {
            salt: preface.salt,
            ..State::default()
        };
        let lines = serde_json::Deserializer::from_slice(body.get(first_end..)?);
        for line in lines.into_iter::<Line<'_>>() {
            match saved_entry(line.ok()?, limits) {
                Some(entry) => state.entries.push(entry),
                None => state.left_out += 1,
            }
        }
        Some(state)
    }

    /// How many entries it has.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many entries were over the limits that hold now.
    pub fn left_out(&self) -> usize {
        self.left_out
    }
}

/// What the line says, if it is within `limits`. Nothing in a file is more trusted than a peer.
fn saved_entry(line: Line<'_>, limits: &RegistrationLimits) -> Option<SavedEntry> {
    let limits = RegistrationLimits {
        max_bytes: limits.max_bytes.saturating_add(MAX_HOST_BYTES),
        ..limits.clone()
    };
    let registration = Registration::check(Some(line.entry), &limits).ok()?;
    let has_host = !ListedNode::parse(line.entry).host.is_empty();
    if !has_host || !line.instance.as_deref().is_none_or(is_instance) {
        return None;
    }
    Some(SavedEntry {
        entry: Entry {
            encoded: line.entry.get().as_bytes().into(),
            name: registration.name().into(),
            listed: registration.port().is_some(),
        },
        identity: Identity {
            address: line.address,
            instance: line.instance,
            token: line.token,
        },
    })
}

impl UnsavedState {
    pub(super) fn new(salt: Salt, room: usize) -> UnsavedState {
        let mut body = Vec::with_capacity(room + 64);
        text(&mut body, format_args!("{{\"salt\":\"{salt}\"}}\n"));
        UnsavedState { body }
    }

    pub(super) fn push(&mut self, entry: &Entry, identity: &Identity) {
        let body = &mut self.body;
        text(body, format_args!("{{\"address\":\"{}\"", identity.address));
        if let Some(instance) = &identity.instance {
            // Letters and digits: nothing in it has to be escaped.
            text(body, format_args!(",\"instance\":\"{instance}\""));
        }
        if let Some(token) = &identity.token {
            text(body, format_args!(",\"token\":\"{token}\""));
        }
        body.extend_from_slice(b",\"entry\":");
        body.extend_from_slice(&entry.encoded);
        body.extend_from_slice(b"}\n");
    }

    /// The file. The rest is hashed here, so that this can be done where nobody waits for it.
    pub fn into_bytes(self) -> Vec<u8> {
        let header = Header {
            format: FORMAT,
            version: VERSION,
            bytes: self.body.len(),
            sha256: &hash(&self.body),
        };
        let mut file = serde_json::to_vec(&header).unwrap_or_default();
        file.push(b'\n');
        file.extend_from_slice(&self.body);
        file
    }
}

fn hash(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        // Writing to memory does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn text(out: &mut Vec<u8>, words: fmt::Arguments<'_>) {
    // Writing to memory does not fail.
    let _ = std::io::Write::write_fmt(out, words);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn saved(entry: &str, instance: Option<&str>, token: Option<&str>) -> SavedEntry {
        let raw = RawValue::from_string(entry.to_owned()).unwrap();
        let registration = Registration::check(Some(&raw), &RegistrationLimits::default()).unwrap();
        SavedEntry {
            entry: Entry {
                encoded: entry.as_bytes().into(),
                name: registration.name().into(),
                listed: registration.port().is_some(),
            },
            identity: Identity {
                address: "10.0.0.7".parse().unwrap(),
                instance: instance.map(Into::into),
                token: token.map(|token| Salt::new(1, 2).mark(token)),
            },
        }
    }

    fn some_entries() -> Vec<SavedEntry> {
        vec![
            saved(
                r#"{"port":9010,"name":"goods","host":"10.0.0.7"}"#,
                None,
                None,
            ),
            saved(
                "{ \"name\" : \"상품 \\u00b6\",\n\"port\":\"9020\",\"x\":[1,{}],\"host\":\"10.0.0.7\" }",
                Some("ab12"),
                Some("secret"),
            ),
            saved(
                r#"{"name":"no port","host":"db.internal"}"#,
                Some("ff"),
                None,
            ),
        ]
    }

    fn encode(entries: &[SavedEntry]) -> Vec<u8> {
        let mut unsaved = UnsavedState::new(Salt::new(1, 2), 0);
        for saved in entries {
            unsaved.push(&saved.entry, &saved.identity);
        }
        unsaved.into_bytes()
    }

    fn decode(bytes: &[u8]) -> Result<State, Unreadable> {
        State::decode(bytes, &RegistrationLimits::default())
    }

    #[test]
    fn what_is_written_is_read_as_it_was() {
        for entries in [vec![], some_entries()] {
            let state = decode(&encode(&entries)).unwrap();
            assert_eq!(state.entries, entries);
            assert_eq!((state.salt, state.left_out), (Salt::new(1, 2), 0));
        }
    }

    #[test]
    fn no_token_stands_in_it() {
        let file = String::from_utf8(encode(&some_entries())).unwrap();
        assert!(
            file.contains("\"token\"") && !file.contains("secret"),
            "{file}"
        );
    }

    #[test]
    fn a_torn_file_is_told_from_a_foreign_and_a_newer_one() {
        let file = encode(&some_entries());
        for length in 0..file.len() {
            let wrong = decode(&file[..length]).unwrap_err();
            // Too short to show what it was to be, it is as good as another's.
            let wanted = if length == 0 || length > 40 {
                Unreadable::Torn
            } else {
                wrong
            };
            assert_eq!(wrong, wanted, "{length}");
        }
        assert_eq!(decode(&vec![0; 5000]), Err(Unreadable::Torn));
        assert_eq!(decode(&[&file[..], b" "].concat()), Err(Unreadable::Torn));
        for foreign in [
            "x",
            "\n",
            "{}\n",
            "[]\n{}",
            "#!/bin/sh\n",
            "{\"format\":\"other\",\"version\":1}\n",
        ] {
            assert_eq!(
                decode(foreign.as_bytes()),
                Err(Unreadable::Foreign),
                "{foreign}"
            );
        }
        let newer = format!("{{\"format\":\"{FORMAT}\",\"version\":2,\"what\":[]}}\n…");
        assert_eq!(decode(newer.as_bytes()), Err(Unreadable::Newer(2)));
    }

    #[test]
    fn what_no_peer_could_register_now_is_left_out() {
        let entries = some_entries();
        let limits = RegistrationLimits {
            max_name_bytes: 6,
            ..RegistrationLimits::default()
        };
        let state = State::decode(&encode(&entries), &limits).unwrap();
        assert_eq!((state.len(), state.left_out()), (1, 2));
        let mut unsaved = UnsavedState::new(Salt::new(1, 2), 0);
        let bad = |encoded: &str, instance: &str| {
            let mut bad = entries[0].clone();
            bad.entry.encoded = encoded.as_bytes().into();
            bad.identity.instance = Some(instance.into());
            bad
        };
        for bad in [
            bad("[1]", "a"),
            bad(r#"{"port":1}"#, "a"),
            bad(r#"{"port":1,"host":7}"#, "a"),
            bad(r#"{"port":1,"host":"h","urls":["GET/../x"]}"#, "a"),
            bad(r#"{"port":1,"host":"h"}"#, "not-one"),
            entries[1].clone(),
        ] {
            unsaved.push(&bad.entry, &bad.identity);
        }
        let state = decode(&unsaved.into_bytes()).unwrap();
        assert_eq!(state.left_out(), 5);
        assert_eq!(state.entries, entries[1..2]);
    }

    proptest! {
        #[test]
        fn no_bytes_and_no_change_of_them_do_any_harm(
            noise in prop::collection::vec(any::<u8>(), 0..200),
            at in any::<prop::sample::Index>(),
            bit in 0..8u8,
        ) {
            prop_assert!(decode(&noise).is_err());
            let mut file = encode(&some_entries());
            let at = at.index(file.len());
            file[at] ^= 1 << bit;
            prop_assert!(decode(&file).is_err());
            // The same behind a header that is right.
            let unsaved = UnsavedState { body: noise };
            let _ = decode(&unsaved.into_bytes());
            let body_at = file.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            let unsaved = UnsavedState { body: file[body_at..].to_vec() };
            let _ = decode(&unsaved.into_bytes());
        }
    }
}
