//! The disk of a host, as a process uses it: each step takes time and can fail.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use super::faults::Fault;
use super::files::{Content, Files, NameChange};
use super::ids::HostId;
use super::inner::Shared;
use crate::sys::{Disk, FileKind};

/// A host's disk, for a sequence of steps. Each step sees the results of earlier ones at once; the
/// state of the disk after each is in [`HostDisk::steps`], for a test that lets time pass between
/// them.
pub struct HostDisk {
    world: Shared,
    files: Files,
    steps: VecDeque<(Duration, Files)>,
}

impl HostDisk {
    pub(super) fn new(world: Shared, host: HostId) -> HostDisk {
        let files = world.borrow().hosts[host.0].files.clone();
        let steps = VecDeque::new();
        HostDisk {
            world,
            files,
            steps,
        }
    }

    /// Returns the duration of each step, and the files on the disk after it.
    pub fn steps(self) -> VecDeque<(Duration, Files)> {
        self.steps
    }

    fn strikes(&self, fault: Fault) -> bool {
        self.world.borrow_mut().strikes(fault)
    }

    /// Runs a step, or fails if a fault strikes; both take time.
    fn step<T>(
        &mut self,
        fault: Fault,
        done: impl FnOnce(&mut Files) -> io::Result<T>,
    ) -> io::Result<T> {
        let result = if self.strikes(fault) {
            Err(io::Error::from_raw_os_error(EIO))
        } else {
            done(&mut self.files)
        };
        let is_slow = self.strikes(Fault::DiskSlow);
        let mut inner = self.world.borrow_mut();
        let (low, high) = if is_slow {
            (100, 4_000_000)
        } else {
            (1, 2_000)
        };
        let took = inner
            .random
            .duration(Duration::from_micros(low), Duration::from_micros(high));
        drop(inner);
        self.steps.push_back((took, self.files.clone()));
        result
    }

    fn room(&self, files_are_full: bool) -> io::Result<()> {
        if files_are_full || self.strikes(Fault::DiskFull) {
            Err(ErrorKind::StorageFull.into())
        } else {
            Ok(())
        }
    }
}

const EIO: i32 = 5;

impl Disk for HostDisk {
    fn create(&mut self, path: &Path) -> io::Result<()> {
        let room = self.room(self.files.is_full);
        self.step(Fault::DiskCreateFails, |files| {
            room?;
            files.created += 1;
            let content = files.created;
            files.contents.insert(content, Content::default());
            files.change(NameChange::Create(path.to_owned(), content));
            Ok(())
        })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let room = self.room(self.files.is_full);
        let is_short = self.strikes(Fault::DiskShortWrite);
        let part = match (is_short, room.is_ok()) {
            (false, true) => bytes.len(),
            _ => self.world.borrow_mut().random.index(bytes.len()),
        };
        self.step(Fault::DiskWriteFails, |files| {
            if let Some(content) = files.contents.get_mut(&files.created) {
                let written = Rc::make_mut(&mut content.bytes);
                written.extend_from_slice(&bytes[..part]);
                content.is_synced = false;
            }
            room?;
            if is_short {
                Err(ErrorKind::StorageFull.into())
            } else {
                Ok(())
            }
        })
    }

    fn sync(&mut self) -> io::Result<()> {
        let fails = self.strikes(Fault::DiskSyncFails);
        self.step(Fault::DiskWriteFails, |files| {
            let Some(content) = files.contents.get_mut(&files.created) else {
                return Err(ErrorKind::NotFound.into());
            };
            content.is_lost |= fails;
            content.is_synced = !content.is_lost;
            if fails {
                Err(io::Error::from_raw_os_error(EIO))
            } else {
                Ok(())
            }
        })
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(Fault::DiskRenameFails, |files| {
            if !files.names.contains_key(from) {
                return Err(ErrorKind::NotFound.into());
            }
            files.change(NameChange::Rename(from.to_owned(), to.to_owned()));
            Ok(())
        })
    }

    fn sync_folder(&mut self, _: &Path) -> io::Result<()> {
        self.step(Fault::DiskFolderSyncFails, |files| {
            files.sync_names();
            Ok(())
        })
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.step(Fault::DiskRemoveFails, |files| {
            if !files.names.contains_key(path) {
                return Err(ErrorKind::NotFound.into());
            }
            files.change(NameChange::Remove(path.to_owned()));
            Ok(())
        })
    }

    fn kind(&mut self, path: &Path) -> FileKind {
        if self.files.names.contains_key(path) {
            FileKind::File
        } else {
            FileKind::Missing
        }
    }

    fn read(&mut self, path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
        self.step(Fault::DiskReadFails, |files| {
            let content = files.content(path).ok_or(ErrorKind::NotFound)?;
            if content.bytes.len() as u64 > max_bytes {
                Err(ErrorKind::FileTooLarge.into())
            } else {
                Ok(content.bytes.to_vec())
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Faults, Random, World};
    use super::*;

    const FILE: &str = "folder/file";

    /// Replaces the file in five steps, each of which relies on those before.
    fn replace(disk: &mut HostDisk, file: &Path, bytes: &[u8]) -> io::Result<()> {
        let new = Path::new("folder/new");
        disk.create(new)?;
        disk.write(bytes)?;
        disk.sync()?;
        disk.rename(new, file)?;
        disk.sync_folder(Path::new("folder"))
    }

    fn world(seed: u64) -> (World, HostId) {
        let world = World::new(Random::new(seed), Faults::none()).unwrap();
        let host = world.add_host([10, 0, 0, 1].into());
        (world, host)
    }

    fn read(world: &World, host: HostId) -> Option<Vec<u8>> {
        world.disk(host).read(Path::new(FILE), 1000).ok()
    }

    /// Returns the content of the file after this many steps of a second replacement and a crash.
    fn found(seed: u64, steps: usize, in_order: bool) -> Option<Vec<u8>> {
        let (world, host) = world(seed);
        let file = Path::new(FILE);
        let mut disk = world.disk(host);
        replace(&mut disk, file, b"old").unwrap();
        let (_, files) = disk.steps().pop_back().unwrap();
        world.put_files(host, files);
        let mut disk = world.disk(host);
        if in_order {
            replace(&mut disk, file, b"newer").unwrap();
        } else {
            let new = Path::new("folder/new");
            disk.create(new).unwrap();
            disk.write(b"newer").unwrap();
            disk.rename(new, file).unwrap();
        }
        for (_, files) in disk.steps().into_iter().take(steps) {
            world.put_files(host, files);
        }
        world.crash(host);
        read(&world, host)
    }

    #[test]
    fn keeps_synced_bytes_and_maybe_others_in_a_crash() {
        let (old, new) = (Some(b"old".to_vec()), Some(b"newer".to_vec()));
        for (steps, wanted) in [(3, vec![&old]), (4, vec![&old, &new]), (5, vec![&new])] {
            let mut seen: Vec<_> = (0..100).map(|seed| found(seed, steps, true)).collect();
            seen.sort();
            seen.dedup();
            let mut wanted: Vec<_> = wanted.into_iter().cloned().collect();
            wanted.sort();
            assert_eq!(seen, wanted, "{steps}");
        }
        let torn = (0..100).filter(|seed| ![&old, &new].contains(&&found(*seed, 3, false)));
        assert!(torn.count() > 10);
    }

    #[test]
    fn keeps_written_bytes_of_a_killed_process() {
        let (world, host) = world(1);
        let mut disk = world.disk(host);
        disk.create(Path::new(FILE)).unwrap();
        disk.write(b"bytes").unwrap();
        assert_eq!(read(&world, host), None, "not on the disk yet");
        for (_, files) in disk.steps() {
            world.put_files(host, files);
        }
        assert_eq!(read(&world, host).as_deref(), Some(&b"bytes"[..]));
    }

    #[test]
    fn rejects_writes_on_a_full_disk_and_keeps_its_files() {
        let (world, host) = world(1);
        let mut disk = world.disk(host);
        replace(&mut disk, Path::new(FILE), b"old").unwrap();
        world.put_files(host, disk.steps().pop_back().unwrap().1);
        world.fill_disk(host, true);
        let mut disk = world.disk(host);
        let error = replace(&mut disk, Path::new(FILE), b"new").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        assert_eq!(disk.read(Path::new(FILE), 3).unwrap(), b"old");
        world.heal();
        let mut disk = world.disk(host);
        replace(&mut disk, Path::new(FILE), b"new").unwrap();
    }
}
