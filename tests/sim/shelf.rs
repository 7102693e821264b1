//! The snapshots that were handed over for writing, checked against the files that are read.

use std::io::{self, ErrorKind};

use pilcrow::testing::sim::ProcessId;

use crate::model::Model;
use crate::run::{Run, Saved};

/// Every snapshot that may be found: the last one that is known to be synced, and later ones.
#[derive(Default)]
pub struct Shelf {
    handed_over: Vec<HandedOver>,
    drawn: u64,
    confirmed: Option<u64>,
    /// Another program wrote into the file, and its bytes may still be there.
    pub is_spoiled: bool,
}

struct HandedOver {
    number: u64,
    bytes: Vec<u8>,
    saved: Saved,
}

impl Shelf {
    /// Records that this snapshot was reported as synced.
    pub fn confirm(&mut self, number: u64) {
        self.handed_over.retain(|other| other.number >= number);
        self.confirmed = Some(number);
        self.is_spoiled = false;
    }

    /// Records that the file was renamed because it could not be read.
    pub fn set_aside(&mut self) {
        self.confirmed = None;
    }

    /// Returns the last snapshot that was reported as synced.
    pub fn confirmed(&self) -> Option<&Saved> {
        let confirmed = self.handed_over.first()?;
        (Some(confirmed.number) == self.confirmed).then_some(&confirmed.saved)
    }

    /// Returns the snapshot that a file should restore.
    fn found(&self, read: &io::Result<Vec<u8>>, was_taken: bool) -> Result<Option<Saved>, String> {
        let bytes = match read {
            Ok(bytes) => bytes,
            Err(error) => {
                let must_be = self.confirmed.is_some() && !self.is_spoiled;
                return if error.kind() == ErrorKind::NotFound && must_be {
                    Err("the state file was synced, and is missing".to_owned())
                } else {
                    Ok(None)
                };
            }
        };
        let mut newest_first = self.handed_over.iter().rev();
        let found = newest_first.find(|other| other.bytes == *bytes);
        match found {
            Some(found) if was_taken => Ok(Some(found.saved.clone())),
            Some(_) => Err("the state file is as it was written, and was rejected".to_owned()),
            None if was_taken => Err("a file that is not a snapshot was accepted".to_owned()),
            None if self.is_spoiled => Ok(None),
            None => Err(format!(
                "the state file is torn, or older than the last synced one: {} bytes",
                bytes.len()
            )),
        }
    }
}

impl Model {
    /// Records a snapshot that a Distributor handed over.
    pub fn handed_over(&mut self, process: ProcessId, bytes: &[u8]) -> u64 {
        let saved = self.run_of(process).save();
        self.shelf.drawn += 1;
        let number = self.shelf.drawn;
        self.shelf.handed_over.push(HandedOver {
            number,
            bytes: bytes.to_vec(),
            saved,
        });
        number
    }

    /// Checks the file that a Distributor has read at its start, and accepted or not.
    pub fn found(&mut self, read: &io::Result<Vec<u8>>, was_taken: bool) -> Option<Saved> {
        match self.shelf.found(read, was_taken) {
            Ok(saved) => saved,
            Err(what) => {
                self.break_promise(5, what);
                None
            }
        }
    }
}

impl Run {
    /// Returns whether `saved` has the last list.
    pub fn is_all_of(&self, saved: &Saved) -> bool {
        self.is_last(&saved.certain())
    }
}
