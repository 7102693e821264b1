//! Disk operations for the state file of a program.

use std::io;
use std::path::Path;

/// Operations to replace a file as a whole. Each can fail, and a crash can occur between any two.
pub trait Disk {
    /// Creates an empty file that only its owner can read, in place of an existing one.
    fn create(&mut self, path: &Path) -> io::Result<()>;

    /// Appends to the most recently created file.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Returns once the bytes of that file survive a crash.
    fn sync(&mut self) -> io::Result<()>;

    /// Renames a file, in place of an existing one.
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()>;

    /// Returns once the names in this folder survive a crash.
    fn sync_folder(&mut self, folder: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&mut self, path: &Path) -> io::Result<()>;

    /// Returns the kind of file at a path.
    fn kind(&mut self, path: &Path) -> FileKind;

    /// Reads a file. Fails if it is longer than `max_bytes` or not a regular file.
    fn read(&mut self, path: &Path, max_bytes: u64) -> io::Result<Vec<u8>>;
}

/// The kind of file at a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileKind {
    /// The file does not exist, or cannot be read.
    Missing,
    /// A regular file.
    File,
    /// A folder, a link, a device, a pipe.
    Other,
}
