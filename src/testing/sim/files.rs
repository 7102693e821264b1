//! The files of a host: their contents, and what survives a crash.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::random::Random;

/// The files of a host.
///
/// A killed process loses none of its writes. A crash loses, or tears, the bytes that were not
/// synced, and reverts the last changes of names since the folder was synced.
#[derive(Clone, Debug, Default)]
pub struct Files {
    pub(super) contents: BTreeMap<u64, Content>,
    pub(super) created: u64,
    pub(super) names: BTreeMap<PathBuf, u64>,
    synced_names: BTreeMap<PathBuf, u64>,
    unsynced: Vec<NameChange>,
    pub(super) is_full: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    pub(super) bytes: Rc<Vec<u8>>,
    pub(super) is_synced: bool,
    /// A sync failed: its bytes are dropped, and the next sync finds nothing to do.
    pub(super) is_lost: bool,
}

#[derive(Clone, Debug)]
pub(super) enum NameChange {
    Create(PathBuf, u64),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

fn apply(names: &mut BTreeMap<PathBuf, u64>, change: &NameChange) {
    match change {
        NameChange::Create(path, content) => {
            names.insert(path.clone(), *content);
        }
        NameChange::Rename(from, to) => {
            if let Some(content) = names.remove(from) {
                names.insert(to.clone(), content);
            }
        }
        NameChange::Remove(path) => {
            names.remove(path);
        }
    }
}

impl Files {
    pub(super) fn change(&mut self, change: NameChange) {
        apply(&mut self.names, &change);
        self.unsynced.push(change);
    }

    pub(super) fn content(&self, path: &Path) -> Option<&Content> {
        self.contents.get(self.names.get(path)?)
    }

    /// Returns a hash of the written contents, for the trace.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut folded = self.created;
        for (path, content) in &self.names {
            let bytes = self.contents.get(content).map(|content| &content.bytes);
            let bytes = bytes.into_iter().flat_map(|bytes| bytes.iter());
            for byte in path.as_os_str().as_encoded_bytes().iter().chain(bytes) {
                folded = (folded ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
        folded
    }

    pub(super) fn sync_names(&mut self) {
        self.synced_names.clone_from(&self.names);
        self.unsynced.clear();
        let names = &self.names;
        self.contents
            .retain(|content, _| names.values().any(|used| used == content));
    }

    /// Cuts the power: some of the unsynced data survives, and some does not.
    pub(super) fn crash(&mut self, random: &mut Random) {
        let kept = random.index(self.unsynced.len() + 1);
        for change in self.unsynced.drain(..).take(kept) {
            apply(&mut self.synced_names, &change);
        }
        self.names.clone_from(&self.synced_names);
        self.sync_names();
        for content in self.contents.values_mut() {
            if !content.is_synced {
                content.bytes = Rc::new(torn(&content.bytes, random));
            }
            (content.is_synced, content.is_lost) = (true, false);
        }
    }

    /// Replaces the bytes of a file with others. Returns `false` if the file does not exist.
    pub(super) fn spoil(&mut self, path: &Path, random: &mut Random) -> bool {
        let Some(content) = self.names.get(path) else {
            return false;
        };
        let Some(content) = self.contents.get_mut(content) else {
            return false;
        };
        let mut bytes = content.bytes.to_vec();
        match random.index(4) {
            0 => bytes = b"#!/bin/sh\necho of another owner\n".to_vec(),
            1 => bytes.truncate(random.index(bytes.len().max(1))),
            2 => bytes.fill(0),
            _ => {
                let place = random.index(bytes.len());
                if let Some(byte) = bytes.get_mut(place) {
                    *byte ^= 1 << random.below(7);
                }
            }
        }
        content.bytes = Rc::new(bytes);
        content.is_synced = true;
        true
    }
}

/// Returns what a crash leaves of these bytes: all, a prefix, nothing, or zeros.
fn torn(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    match random.index(4) {
        0 => bytes.to_vec(),
        1 => bytes[..random.index(bytes.len() + 1)].to_vec(),
        2 => vec![0; bytes.len()],
        _ => Vec::new(),
    }
}
