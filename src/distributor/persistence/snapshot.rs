//! The format of the persisted list, with the identity of each entry. Pure.
//!
//! The first line is JSON with the format, its version, and the length and hash of the rest, which
//! distinguishes foreign files, newer versions and torn files. A line with the salt of the token
//! marks follows, then one JSON object per entry, in the order of the list.

use std::fmt;
use std::io::Write;
use std::net::IpAddr;
use std::sync::Arc;

use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::distributor::admission::{Salt, TokenMark};
use crate::distributor::identities::{Identities, Identity};
use crate::protocol::{ListedNode, Registration, RegistrationLimits, is_instance};
use crate::registry::{Entry, EntryId, Keys, Registry};

/// The list at a moment, to be persisted: see [`SnapshotSink`](super::SnapshotSink).
///
/// Clones share memory.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Snapshot {
    pub(super) salt: Salt,
    /// The line of each entry, in the order of the list. Snapshots share the lines that are the
    /// same in both, so that one costs what has changed since the last.
    lines: RedBlackTreeMapSync<EntryId, Arc<[u8]>>,
}

/// The list of an earlier run: see
/// [`Distributor::restore`](crate::distributor::Distributor::restore).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Restored {
    pub(in crate::distributor) salt: Salt,
    /// Entries, each with the identity of its node.
    pub(in crate::distributor) entries: Vec<(Entry, Identity)>,
    left_out: usize,
}

/// Reason why bytes cannot be decoded as a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unreadable {
    /// The bytes begin like a snapshot, but are incomplete or were changed.
    Torn,
    /// The bytes are a snapshot of this newer, unknown version.
    Newer(u32),
    /// The bytes are not a snapshot.
    Foreign,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unreadable::Torn => f.write_str("torn or changed after it was written"),
            Unreadable::Newer(version) => write!(f, "unknown version {version}"),
            Unreadable::Foreign => f.write_str("not a state file of a Distributor"),
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

/// Maximum length of a host. It is part of an entry, but not of a registration and its limits.
const MAX_HOST_BYTES: usize = 300;

impl Restored {
    /// Decodes a file that [`Snapshot::into_bytes`] encoded.
    ///
    /// Entries that exceed `limits` are left out and counted.
    pub fn decode(bytes: &[u8], limits: &RegistrationLimits) -> Result<Restored, Unreadable> {
        // After a crash some disks return zeros for bytes that were not written.
        if bytes.iter().all(|byte| *byte == 0) {
            return Err(Unreadable::Torn);
        }
        let unlike = if bytes.starts_with(format!("{{\"format\":\"{FORMAT}\"").as_bytes()) {
            Unreadable::Torn
        } else {
            Unreadable::Foreign
        };
        let (header, body) = split_line(bytes).ok_or(unlike)?;
        let header: Header<'_> = serde_json::from_slice(header).map_err(|_| unlike)?;
        if header.format != FORMAT {
            return Err(Unreadable::Foreign);
        }
        if header.version > VERSION {
            return Err(Unreadable::Newer(header.version));
        }
        let is_whole =
            header.version == VERSION && body.len() == header.bytes && hash(body) == header.sha256;
        if !is_whole {
            return Err(Unreadable::Torn);
        }
        Restored::decode_body(body, limits).ok_or(Unreadable::Torn)
    }

    fn decode_body(body: &[u8], limits: &RegistrationLimits) -> Option<Restored> {
        let (preface, lines) = split_line(body)?;
        let preface: Preface = serde_json::from_slice(preface).ok()?;
        let mut restored = Restored {
            salt: preface.salt,
            ..Restored::default()
        };
        let lines = serde_json::Deserializer::from_slice(lines);
        for line in lines.into_iter::<Line<'_>>() {
            match restored_entry(line.ok()?, limits) {
                Some(entry) => restored.entries.push(entry),
                None => restored.left_out += 1,
            }
        }
        Some(restored)
    }

    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the number of entries that exceeded the limits.
    pub fn left_out(&self) -> usize {
        self.left_out
    }
}

/// Returns the first line, and the bytes after it.
fn split_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
    Some((parts.next()?, parts.next()?))
}

/// Returns the entry of a line, if it is within `limits`. A file is as untrusted as a peer.
fn restored_entry(line: Line<'_>, limits: &RegistrationLimits) -> Option<(Entry, Identity)> {
    let limits = RegistrationLimits {
        max_bytes: limits.max_bytes.saturating_add(MAX_HOST_BYTES),
        ..limits.clone()
    };
    let registration = Registration::check(Some(line.entry), &limits).ok()?;
    let has_host = !ListedNode::parse(line.entry).host.is_empty();
    if !has_host || !line.instance.as_deref().is_none_or(is_instance) {
        return None;
    }
    let entry = Entry {
        encoded: line.entry.get().as_bytes().into(),
        keys: Keys::of(&registration),
        listed: registration.port().is_some(),
        // The safe guess until it is claimed.
        is_plain: line.instance.is_none(),
    };
    let identity = Identity {
        address: line.address,
        instance: line.instance,
        token: line.token,
    };
    Some((entry, identity))
}

impl Snapshot {
    /// Returns a snapshot of the entries with their identities.
    pub(in crate::distributor) fn new(
        salt: Salt,
        registry: &Registry,
        identities: &Identities,
    ) -> Snapshot {
        let mut snapshot = Snapshot {
            salt,
            ..Snapshot::default()
        };
        for (id, _) in registry.iter() {
            snapshot.update(id, registry, identities);
        }
        snapshot
    }

    /// Replaces the line of an entry by its present one. Removes it if the entry has left.
    pub(super) fn update(&mut self, id: EntryId, registry: &Registry, identities: &Identities) {
        match registry.get(id).zip(identities.get(id)) {
            Some((entry, identity)) => self.lines.insert_mut(id, line(entry, identity)),
            None => {
                self.lines.remove_mut(&id);
            }
        }
    }

    /// Returns the bytes of the file. Computes a hash, so call it on another thread than the
    /// loop's.
    pub fn into_bytes(self) -> Vec<u8> {
        let preface = format!("{{\"salt\":\"{}\"}}\n", self.salt.0);
        let lines = self.lines.values().map(|line| &**line);
        let body: Vec<&[u8]> = [preface.as_bytes()].into_iter().chain(lines).collect();
        with_header(&body.concat())
    }
}

/// Encodes an entry with the identity of its node.
fn line(entry: &Entry, identity: &Identity) -> Arc<[u8]> {
    let mut line = Vec::new();
    // Writing to memory does not fail, here and below.
    let _ = write!(line, "{{\"address\":\"{}\"", identity.address);
    if let Some(instance) = &identity.instance {
        // Letters and digits need no escapes.
        let _ = write!(line, ",\"instance\":\"{instance}\"");
    }
    if let Some(token) = &identity.token {
        let _ = write!(line, ",\"token\":\"{}\"", token.0);
    }
    line.extend_from_slice(b",\"entry\":");
    line.extend_from_slice(&entry.encoded);
    line.extend_from_slice(b"}\n");
    line.into()
}

/// Returns the body of a file after its header.
fn with_header(body: &[u8]) -> Vec<u8> {
    let header = Header {
        format: FORMAT,
        version: VERSION,
        bytes: body.len(),
        sha256: &hash(body),
    };
    let mut file = serde_json::to_vec(&header).unwrap_or_default();
    file.push(b'\n');
    file.extend_from_slice(body);
    file
}

fn hash(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn restored(entry: &str, instance: Option<&str>, token: Option<&str>) -> (Entry, Identity) {
        let raw = RawValue::from_string(entry.to_owned()).unwrap();
        let registration = Registration::check(Some(&raw), &RegistrationLimits::default()).unwrap();
        let entry = Entry {
            encoded: entry.as_bytes().into(),
            keys: Keys::of(&registration),
            listed: registration.port().is_some(),
            is_plain: instance.is_none(),
        };
        let identity = Identity {
            address: "10.0.0.7".parse().unwrap(),
            instance: instance.map(Into::into),
            token: token.map(|token| Salt::new(1, 2).mark(token)),
        };
        (entry, identity)
    }

    fn some_entries() -> Vec<(Entry, Identity)> {
        vec![
            restored(
                r#"{"port":9010,"name":"goods","host":"10.0.0.7"}"#,
                None,
                None,
            ),
            restored(
                "{ \"name\" : \"상품 \\u00b6\",\n\"port\":\"9020\",\"x\":[1,{}],\"host\":\"10.0.0.7\" }",
                Some("ab12"),
                Some("secret"),
            ),
            restored(
                r#"{"name":"no port","host":"db.internal"}"#,
                Some("ff"),
                None,
            ),
        ]
    }

    fn encode(entries: &[(Entry, Identity)]) -> Vec<u8> {
        let mut registry = Registry::default();
        let mut identities = Identities::default();
        for (entry, identity) in entries {
            let id = registry.join(entry.clone()).unwrap();
            identities.restore(id, identity.clone(), &registry);
        }
        Snapshot::new(Salt::new(1, 2), &registry, &identities).into_bytes()
    }

    fn decode(bytes: &[u8]) -> Result<Restored, Unreadable> {
        Restored::decode(bytes, &RegistrationLimits::default())
    }

    #[test]
    fn decodes_what_was_encoded() {
        for entries in [vec![], some_entries()] {
            let restored = decode(&encode(&entries)).unwrap();
            assert_eq!(restored.entries, entries);
            assert_eq!((restored.salt, restored.left_out), (Salt::new(1, 2), 0));
        }
    }

    #[test]
    fn contains_no_token() {
        let file = String::from_utf8(encode(&some_entries())).unwrap();
        assert!(
            file.contains("\"token\"") && !file.contains("secret"),
            "{file}"
        );
    }

    #[test]
    fn distinguishes_torn_foreign_and_newer_files() {
        let file = encode(&some_entries());
        for length in 0..file.len() {
            let wrong = decode(&file[..length]).unwrap_err();
            // Too short to recognize, it counts as foreign.
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
    fn leaves_out_entries_that_exceed_the_limits() {
        let entries = some_entries();
        let limits = RegistrationLimits {
            max_name_bytes: 6,
            ..RegistrationLimits::default()
        };
        let restored = Restored::decode(&encode(&entries), &limits).unwrap();
        assert_eq!((restored.len(), restored.left_out()), (1, 2));
        let bad = |encoded: &str, instance: &str| {
            let mut bad = entries[0].clone();
            bad.0.encoded = encoded.as_bytes().into();
            bad.1.instance = Some(instance.into());
            bad
        };
        let all = [
            bad("[1]", "a"),
            bad(r#"{"port":1}"#, "a"),
            bad(r#"{"port":1,"host":7}"#, "a"),
            bad(r#"{"port":1,"host":"h","urls":["GET/../x"]}"#, "a"),
            bad(r#"{"port":1,"host":"h"}"#, "not-one"),
            entries[1].clone(),
        ];
        let restored = decode(&encode(&all)).unwrap();
        assert_eq!(restored.left_out(), 5);
        assert_eq!(restored.entries, entries[1..2]);
    }

    proptest! {
        #[test]
        fn rejects_noise_and_single_bit_errors(
            noise in prop::collection::vec(any::<u8>(), 0..200),
            at in any::<prop::sample::Index>(),
            bit in 0..8u8,
        ) {
            prop_assert!(decode(&noise).is_err());
            let mut file = encode(&some_entries());
            let at = at.index(file.len());
            file[at] ^= 1 << bit;
            prop_assert!(decode(&file).is_err());
            // The same after a valid header.
            let _ = decode(&with_header(&noise));
            let body_at = file.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            let _ = decode(&with_header(&file[body_at..]));
        }
    }
}
