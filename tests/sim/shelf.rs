//! What was given to the disk to keep, held against what is found there.

use std::io::{self, ErrorKind};

use pilcrow::testing::sim::ProcessId;

use crate::model::Model;
use crate::run::{Run, Saved};

/// Every file that may be found: from the last one on that is known to outlast a crash.
#[derive(Default)]
pub struct Shelf {
    handed_over: Vec<HandedOver>,
    drawn: u64,
    confirmed: Option<u64>,
    /// Somebody wrote something else into the file, and it may be there still.
    pub is_spoiled: bool,
}

struct HandedOver {
    number: u64,
    bytes: Vec<u8>,
    saved: Saved,
}

impl Shelf {
    /// It was said to be on the disk.
    pub fn confirm(&mut self, number: u64) {
        self.handed_over.retain(|other| other.number >= number);
        self.confirmed = Some(number);
        self.is_spoiled = false;
    }

    /// The file was given another name, because it could not be read.
    pub fn set_aside(&mut self) {
        self.confirmed = None;
    }

    /// What is known to be on the disk.
    pub fn confirmed(&self) -> Option<&Saved> {
        let confirmed = self.handed_over.first()?;
        (Some(confirmed.number) == self.confirmed).then_some(&confirmed.saved)
    }

    /// What the file that was read should list.
    fn found(&self, read: &io::Result<Vec<u8>>, was_taken: bool) -> Result<Option<Saved>, String> {
        let bytes = match read {
            Ok(bytes) => bytes,
            Err(error) => {
                let must_be = self.confirmed.is_some() && !self.is_spoiled;
                return match error.kind() == ErrorKind::NotFound && must_be {
                    true => Err("the state file was on the disk, and is gone".to_owned()),
                    false => Ok(None),
                };
            }
        };
        let mut newest_first = self.handed_over.iter().rev();
        let found = newest_first.find(|other| other.bytes == *bytes);
        match found {
            Some(found) if was_taken => Ok(Some(found.saved.clone())),
            Some(_) => Err("the state file is as it was written, and is not taken".to_owned()),
            None if was_taken => Err("a file that nobody wrote so is taken for a state".to_owned()),
            None if self.is_spoiled => Ok(None),
            None => Err(format!(
                "the state file is torn, or older than what was on the disk: {} bytes",
                bytes.len()
            )),
        }
    }
}

impl Model {
    /// A Distributor hands over its list, to be kept.
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

    /// A Distributor that starts has read its file, and takes it or not.
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
    /// Whether `saved` is all that there is to be kept.
    pub fn is_all_of(&self, saved: &Saved) -> bool {
        self.is_last(&saved.certain())
    }
}
