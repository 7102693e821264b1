//! The state file of a simulated Distributor, as in the program: read at the start, then written by
//! a thread that has at most one snapshot pending.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use pilcrow::Time;
use pilcrow::distributor::{Restored, Snapshot};
use pilcrow::fuzzing::{Disk, replace_file, set_file_aside};
use pilcrow::protocol::RegistrationLimits;
use pilcrow::testing::sim::{Files, HostId, ProcessId, World};

use crate::model::Model;
use crate::run::Saved;

pub const FILE: &str = "state/file";
/// The pause before a failed write is retried.
const RETRY: Duration = Duration::from_secs(1);
/// The longest time that a stop waits for the disk.
const LONGEST_LAST_SAVE: Duration = Duration::from_millis(700);

struct Unwritten {
    number: u64,
    bytes: Vec<u8>,
}

/// A write in progress: the files after each step, and the result.
struct Writing {
    steps: VecDeque<(Time, Files)>,
    number: u64,
    result: io::Result<()>,
}

pub struct StateFile {
    world: World,
    host: HostId,
    model: Rc<RefCell<Model>>,
    waiting: Option<Unwritten>,
    unwritten: Option<Unwritten>,
    writing: Option<Writing>,
    retry_at: Time,
    ends_at: Option<Time>,
}

impl StateFile {
    pub fn new(world: &World, host: HostId, model: &Rc<RefCell<Model>>) -> StateFile {
        StateFile {
            world: world.clone(),
            host,
            model: Rc::clone(model),
            waiting: None,
            unwritten: None,
            writing: None,
            retry_at: Time::ZERO,
            ends_at: None,
        }
    }

    /// Returns the snapshot of the last run, and the model of it.
    pub fn load(&mut self, limits: &RegistrationLimits) -> (Option<Restored>, Option<Saved>) {
        let path = Path::new(FILE);
        let mut disk = self.world.disk(self.host);
        let read = disk.read(path, 1 << 30);
        let restored = match &read {
            Ok(bytes) => Restored::decode(bytes, limits).ok(),
            Err(_) => None,
        };
        let saved = self.model.borrow_mut().found(&read, restored.is_some());
        let is_missing = matches!(&read, Err(error) if error.kind() == ErrorKind::NotFound);
        if restored.is_none() && !is_missing && set_file_aside(&mut disk, path, 1).is_ok() {
            self.model.borrow_mut().shelf.set_aside();
        }
        for (_, files) in disk.steps() {
            self.world.put_files(self.host, files);
        }
        (restored, saved)
    }

    /// Writes this snapshot as soon as no other is being written.
    pub fn save(&mut self, process: ProcessId, snapshot: Snapshot) {
        let bytes = snapshot.into_bytes();
        let number = self.model.borrow_mut().handed_over(process, &bytes);
        self.waiting = Some(Unwritten { number, bytes });
    }

    /// Returns when there is work.
    pub fn next_at(&self) -> Option<Time> {
        match (&self.writing, &self.waiting, &self.unwritten) {
            (Some(writing), ..) => writing.steps.front().map(|(at, _)| *at),
            (None, Some(_), _) => Some(Time::ZERO),
            (None, None, Some(_)) => Some(self.retry_at),
            (None, None, None) => None,
        }
    }

    /// Does what is due.
    pub fn work(&mut self, now: Time) {
        while self.next_at().is_some_and(|at| at <= now) {
            match &mut self.writing {
                Some(writing) => {
                    if let Some((_, files)) = writing.steps.pop_front() {
                        self.world.put_files(self.host, files);
                    }
                    if writing.steps.is_empty() {
                        self.written(now);
                    }
                }
                None => self.begin(now),
            }
        }
    }

    fn begin(&mut self, now: Time) {
        if let Some(newest) = self.waiting.take() {
            self.unwritten = Some(newest);
        }
        let Some(Unwritten { number, bytes }) = &self.unwritten else {
            return;
        };
        let mut disk = self.world.disk(self.host);
        let result = replace_file(&mut disk, Path::new(FILE), bytes);
        let mut at = now;
        let steps = disk.steps().into_iter().map(|(took, files)| {
            at = at + took;
            (at, files)
        });
        self.writing = Some(Writing {
            steps: steps.collect(),
            number: *number,
            result,
        });
    }

    fn written(&mut self, now: Time) {
        let Some(writing) = self.writing.take() else {
            return;
        };
        match writing.result {
            Ok(()) => {
                self.unwritten = None;
                self.model.borrow_mut().shelf.confirm(writing.number);
            }
            Err(error) => {
                self.retry_at = now + RETRY;
                self.world
                    .log(&format!("failed to write state file: {error}"));
            }
        }
    }

    /// Returns whether the last snapshot is written, or the stop has waited too long for it.
    pub fn is_done(&mut self, now: Time) -> bool {
        let ends_at = *self.ends_at.get_or_insert(now + LONGEST_LAST_SAVE);
        now >= ends_at || self.writing.is_none() && self.waiting.is_none()
    }

    /// Returns when a stop stops waiting for the last snapshot.
    pub fn ends_at(&self) -> Option<Time> {
        self.ends_at
    }
}
