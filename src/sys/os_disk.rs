//! The disk of the operating system.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;

use super::disk::{Disk, FileKind};

/// The operating system's files.
#[derive(Debug, Default)]
pub(crate) struct OsDisk {
    created: Option<File>,
}

impl OsDisk {
    fn created(&self) -> io::Result<&File> {
        let created = self.created.as_ref();
        created.ok_or_else(|| ErrorKind::NotFound.into())
    }
}

impl Disk for OsDisk {
    fn create(&mut self, path: &Path) -> io::Result<()> {
        self.created = None;
        if let Err(error) = fs::remove_file(path)
            && error.kind() != ErrorKind::NotFound
        {
            return Err(error);
        }
        let mut options = OpenOptions::new();
        // Never follows a link that another user created.
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        self.created = Some(options.open(path)?);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.created()?.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.created()?.sync_all()
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_folder(&mut self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.created = None;
        fs::remove_file(path)
    }

    fn kind(&mut self, path: &Path) -> FileKind {
        match fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_file() => FileKind::File,
            Ok(_) => FileKind::Other,
            Err(_) => FileKind::Missing,
        }
    }

    fn read(&mut self, path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
        // Checked before it is opened, since opening a pipe would block.
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::new(ErrorKind::InvalidInput, "not a file"));
        }
        let mut bytes = Vec::new();
        File::open(path)?
            .take(max_bytes.saturating_add(1))
            .read_to_end(&mut bytes)?;
        if bytes.len() as u64 > max_bytes {
            return Err(io::Error::new(ErrorKind::FileTooLarge, "too large"));
        }
        Ok(bytes)
    }
}
