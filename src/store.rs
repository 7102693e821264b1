//! Atomic replacement of a file: after any crash it has its old or its new content, never a part.

use std::io;
use std::path::{Path, PathBuf};

use crate::sys::{Disk, FileKind};

/// Replaces the content of `path` with `bytes`. Returns once the new content survives a crash.
///
/// After an error the file has its old or its new content, and no other file is left. Fails if
/// `path` is not a regular file, since devices must not be replaced.
pub fn replace(disk: &mut dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    if disk.kind(path) == FileKind::Other {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file"));
    }
    let new = beside(path, ".new");
    let written = disk
        .create(&new)
        .and_then(|()| disk.write(bytes))
        // Before the rename: otherwise the name could survive a crash, but not the bytes.
        .and_then(|()| disk.sync())
        .and_then(|()| disk.rename(&new, path));
    if let Err(error) = written {
        // The new file may be what fills the disk. An error of the removal is ignored.
        let _ = disk.remove(&new);
        return Err(error);
    }
    disk.sync_folder(folder_of(path))
}

/// Renames an unusable file, so that an administrator can inspect it, and returns the new name:
/// with `.broken-`, the time, and a number if that name is in use.
pub fn set_aside(disk: &mut dyn Disk, path: &Path, unix_seconds: u64) -> io::Result<PathBuf> {
    let mut aside = beside(path, &format!(".broken-{unix_seconds}"));
    let mut number = 0;
    while disk.kind(&aside) != FileKind::Missing {
        number += 1;
        aside = beside(path, &format!(".broken-{unix_seconds}.{number}"));
    }
    disk.rename(path, &aside)?;
    Ok(aside)
}

/// Returns the path with a suffix after its last part.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Returns the folder of a file.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::OsDisk;
    use std::collections::BTreeMap;

    #[derive(Clone, Default)]
    struct Content {
        written: Vec<u8>,
        synced: Vec<u8>,
    }

    type Names = BTreeMap<PathBuf, usize>;

    /// A disk that fails, or loses power, at a chosen step.
    #[derive(Clone, Default)]
    struct Fake {
        files: Vec<Content>,
        names: Names,
        /// Names that survive a crash.
        synced_names: Names,
        created: usize,
        steps: usize,
        fails_at: Option<usize>,
        /// Later steps fail as well.
        is_dead: bool,
    }

    impl Fake {
        fn step(&mut self) -> io::Result<()> {
            self.steps += 1;
            match self.fails_at {
                Some(step) if step == self.steps || self.is_dead && step < self.steps => {
                    Err(io::ErrorKind::StorageFull.into())
                }
                _ => Ok(()),
            }
        }

        fn content(&self, names: &Names, path: &str) -> Option<&Content> {
            names.get(Path::new(path)).map(|file| &self.files[*file])
        }

        /// Returns the possible contents after a crash now: names and bytes each as they were
        /// synced, as they were last, or half of the bytes.
        fn after_a_crash(&self, path: &str) -> Vec<Option<Vec<u8>>> {
            let mut found = Vec::new();
            for names in [&self.names, &self.synced_names] {
                let Some(content) = self.content(names, path) else {
                    found.push(None);
                    continue;
                };
                found.push(Some(content.synced.clone()));
                if content.synced != content.written {
                    found.push(Some(content.written.clone()));
                    let half = content.written.len() / 2;
                    found.push(Some(content.written[..half].to_vec()));
                }
            }
            found
        }

        fn now(&self, path: &str) -> Option<Vec<u8>> {
            self.content(&self.names, path)
                .map(|content| content.written.clone())
        }
    }

    impl Disk for Fake {
        fn create(&mut self, path: &Path) -> io::Result<()> {
            self.step()?;
            self.created = self.files.len();
            self.files.push(Content::default());
            self.names.insert(path.to_owned(), self.created);
            Ok(())
        }

        fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
            let half = bytes.len() / 2;
            self.files[self.created]
                .written
                .extend_from_slice(&bytes[..half]);
            self.step()?;
            self.files[self.created]
                .written
                .extend_from_slice(&bytes[half..]);
            Ok(())
        }

        fn sync(&mut self) -> io::Result<()> {
            self.step()?;
            let file = &mut self.files[self.created];
            file.synced = file.written.clone();
            Ok(())
        }

        fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
            self.step()?;
            let file = self.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
            self.names.insert(to.to_owned(), file);
            Ok(())
        }

        fn sync_folder(&mut self, folder: &Path) -> io::Result<()> {
            assert_eq!(folder, Path::new("folder"));
            self.step()?;
            self.synced_names = self.names.clone();
            Ok(())
        }

        fn remove(&mut self, path: &Path) -> io::Result<()> {
            self.step()?;
            self.names.remove(path);
            Ok(())
        }

        fn kind(&mut self, path: &Path) -> FileKind {
            if self.names.contains_key(path) {
                FileKind::File
            } else {
                FileKind::Missing
            }
        }

        fn read(&mut self, path: &Path, _: u64) -> io::Result<Vec<u8>> {
            let path = path.to_str().unwrap();
            self.now(path).ok_or_else(|| io::ErrorKind::NotFound.into())
        }
    }

    const FILE: &str = "folder/file";

    fn with_old() -> Fake {
        let mut disk = Fake::default();
        replace(&mut disk, Path::new(FILE), b"old").unwrap();
        disk.steps = 0;
        disk
    }

    #[test]
    fn survives_a_crash_after_any_step_with_the_old_or_new_content() {
        let new: &[u8] = b"new and longer";
        for steps in 1..=6 {
            let mut disk = with_old();
            (disk.fails_at, disk.is_dead) = (Some(steps), true);
            let done = replace(&mut disk, Path::new(FILE), new);
            assert_eq!(done.is_ok(), steps == 6, "five steps");
            for found in disk.after_a_crash(FILE) {
                let found = found.expect("one of them is there");
                assert!(found == b"old" || found == new, "{steps}: {found:?}");
                assert!(done.is_err() || found == new, "reported as done");
            }
        }
    }

    #[test]
    fn detects_a_missing_sync() {
        let mut disk = with_old();
        let new = Path::new("folder/file.new");
        disk.create(new).unwrap();
        disk.write(b"new").unwrap();
        disk.rename(new, Path::new(FILE)).unwrap();
        let found = disk.after_a_crash(FILE);
        assert!(found.contains(&Some(b"".to_vec())) && found.contains(&Some(b"n".to_vec())));
    }

    #[test]
    fn leaves_no_other_file_after_an_error() {
        for step in 1..=4 {
            let mut disk = with_old();
            disk.fails_at = Some(step);
            let error = replace(&mut disk, Path::new(FILE), b"new").unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
            assert_eq!(disk.now(FILE).as_deref(), Some(&b"old"[..]));
            assert_eq!(disk.names.len(), 1, "{step}");
            disk.fails_at = None;
            replace(&mut disk, Path::new(FILE), b"newer").unwrap();
            assert_eq!(disk.now(FILE).as_deref(), Some(&b"newer"[..]));
        }
    }

    #[test]
    fn sets_files_aside_under_distinct_names() {
        let mut disk = Fake::default();
        let mut names = Vec::new();
        for _ in 0..3 {
            replace(&mut disk, Path::new(FILE), b"torn").unwrap();
            names.push(set_aside(&mut disk, Path::new(FILE), 7).unwrap());
        }
        let wanted = ["", ".1", ".2"].map(|end| PathBuf::from(format!("{FILE}.broken-7{end}")));
        assert_eq!(names, wanted);
        assert_eq!(disk.kind(Path::new(FILE)), FileKind::Missing);
    }

    #[test]
    fn restricts_the_file_to_its_owner() {
        let folder = std::env::temp_dir().join(format!("pilcrow-store-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("file");
        let mut disk = OsDisk::default();
        for bytes in [&b"one"[..], b"two"] {
            replace(&mut disk, &path, bytes).unwrap();
            assert_eq!(disk.read(&path, 3).unwrap(), bytes);
        }
        assert!(disk.read(&path, 2).is_err());
        assert!(disk.read(&folder, 100).is_err());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        assert!(replace(&mut disk, &folder, b"x").is_err());
        #[cfg(unix)]
        {
            let socket = folder.join("socket");
            let _bound = std::os::unix::net::UnixListener::bind(&socket).unwrap();
            assert!(replace(&mut disk, &socket, b"x").is_err());
            assert_eq!(disk.kind(&socket), FileKind::Other);
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
