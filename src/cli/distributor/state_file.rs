//! The state file, which holds the list over a restart.
//!
//! It is read once at the start, and written by a thread of its own: the loop never waits for the
//! disk.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::distributor::{Config, Restored, Snapshot, SnapshotCounts, SnapshotSink};
use crate::store::{self, Disk, OsDisk};
use rustix::fs::{FlockOperation, flock, fstat, stat};
use tracing::{info, warn};

use crate::cli::failure::Failure;

/// A Distributor that is being stopped holds its file a little longer.
const LOCK_TIMEOUT: Duration = Duration::from_secs(3);
/// Largest file that is read, unless lists may be even longer.
const MAX_READ_BYTES: u64 = 256 << 20;

/// A lock beside the state file that keeps other Distributors from writing it.
pub(crate) struct Lock {
    path: PathBuf,
    file: Option<File>,
    warned: bool,
}

/// Returns the file that a path leads to, so that a link to it stays a link.
pub(crate) fn resolve(path: PathBuf) -> PathBuf {
    match std::fs::canonicalize(&path) {
        Ok(file) => file,
        // Missing or unreachable: reported when it is read.
        Err(_) => path,
    }
}

/// Locks the state file. Where files cannot be locked, this only warns.
pub(crate) fn lock(path: &Path) -> Result<Lock, Failure> {
    let mut lock = Lock {
        path: store::beside(path, ".lock"),
        file: None,
        warned: false,
    };
    let until = Instant::now() + LOCK_TIMEOUT;
    while !lock.acquire() {
        if Instant::now() >= until {
            return Err(Failure::failed(format!(
                "--state {path:?}: in use by another Distributor; give each one its own file"
            )));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(lock)
}

impl Lock {
    /// Takes the lock, unless it is held already. `false`: another process holds it.
    ///
    /// A lock file that was deleted, as with its folder, excludes nobody: then a new one is locked.
    fn acquire(&mut self) -> bool {
        if self.is_held() {
            return true;
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let locked = options.open(&self.path).and_then(|file| {
            flock(&file, FlockOperation::NonBlockingLockExclusive)?;
            Ok(file)
        });
        match locked {
            Ok(file) => self.file = Some(file),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(error) => {
                if !std::mem::replace(&mut self.warned, true) {
                    let path = &*self.path.to_string_lossy();
                    warn!(path, %error, "failed to lock state file: do not share it");
                }
            }
        }
        true
    }

    fn is_held(&self) -> bool {
        let (Some(file), Ok(there)) = (&self.file, stat(&self.path)) else {
            return false;
        };
        fstat(file).is_ok_and(|ours| (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino))
    }
}

/// Reads the list of the last run. A file that is unusable is logged and set aside.
pub(crate) fn load(path: &Path, config: &Config) -> Option<Restored> {
    let mut disk = OsDisk::default();
    let list = u64::try_from(config.capacity.max_encoded_bytes).unwrap_or(u64::MAX);
    let shown = &*path.to_string_lossy();
    let read = disk.read(path, MAX_READ_BYTES.max(list.saturating_mul(2)));
    let why = match read {
        Ok(bytes) => match Restored::decode(&bytes, &config.registration) {
            Ok(restored) => return Some(restored),
            Err(why) => why.to_string(),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => {
            info!(path = shown, "no state file yet");
            return None;
        }
        Err(error) if error.kind() == ErrorKind::InvalidInput => {
            warn!(path = shown, %error, "unusable state file: the list is not persisted");
            return None;
        }
        Err(error) => error.to_string(),
    };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    match store::set_aside(&mut disk, path, now.unwrap_or_default().as_secs()) {
        Ok(aside) => {
            let aside = &*aside.to_string_lossy();
            warn!(path = shown, aside, why, "invalid state file set aside");
        }
        Err(error) => {
            warn!(path = shown, why, %error, "invalid state file not set aside: it may be overwritten");
        }
    }
    None
}

/// Time after which a failed write is retried, though the list has not changed.
const RETRY: Duration = Duration::from_secs(1);
/// Time between two log lines about a disk that goes on failing.
const COMPLAINT: Duration = Duration::from_secs(10);

/// Writes snapshots to the state file. Clones share one thread, which writes only the newest.
#[derive(Clone)]
pub(crate) struct StateFile {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    pending: Mutex<Pending>,
    changed: Condvar,
    persisted: AtomicU64,
    failures: AtomicU64,
}

#[derive(Default)]
struct Pending {
    newest: Option<Snapshot>,
    is_last: bool,
    is_done: bool,
}

impl Shared {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SnapshotSink for StateFile {
    fn persist(&mut self, snapshot: Snapshot) {
        self.shared.pending().newest = Some(snapshot);
        self.shared.changed.notify_all();
    }

    fn counts(&self) -> SnapshotCounts {
        SnapshotCounts {
            persisted: self.shared.persisted.load(Ordering::Relaxed),
            failures: self.shared.failures.load(Ordering::Relaxed),
        }
    }
}

impl StateFile {
    /// Starts the thread. Errors are the system's, for want of threads.
    pub(crate) fn start(path: PathBuf, lock: Lock) -> io::Result<StateFile> {
        let shared = Arc::new(Shared::default());
        let writer = Writer {
            shared: Arc::clone(&shared),
            path,
            lock,
            unwritten: None,
            failing_since_total: None,
            complained_at: None,
        };
        thread::Builder::new()
            .name("state".to_owned())
            .spawn(move || writer.run())?;
        Ok(StateFile { shared })
    }

    /// Waits until the last snapshot is written, or failed to be, but at most for `timeout`.
    pub(crate) fn finish(self, timeout: Duration) {
        let mut pending = self.shared.pending();
        pending.is_last = true;
        self.shared.changed.notify_all();
        let is_pending = |pending: &mut Pending| !pending.is_done;
        let changed = &self.shared.changed;
        let waited = changed.wait_timeout_while(pending, timeout, is_pending);
        if !waited.unwrap_or_else(PoisonError::into_inner).0.is_done {
            warn!("stopping before the last snapshot is written");
        }
    }
}

struct Writer {
    shared: Arc<Shared>,
    path: PathBuf,
    lock: Lock,
    unwritten: Option<Vec<u8>>,
    /// The number of failures before the disk began to fail.
    failing_since_total: Option<u64>,
    complained_at: Option<Instant>,
}

impl Writer {
    fn run(mut self) {
        loop {
            let (newest, is_last) = self.wait();
            if let Some(newest) = newest {
                self.unwritten = Some(newest.into_bytes());
            }
            self.write();
            if is_last {
                self.shared.pending().is_done = true;
                self.shared.changed.notify_all();
                return;
            }
        }
    }

    /// Returns the next snapshot, or none if it is time to retry.
    fn wait(&self) -> (Option<Snapshot>, bool) {
        let pending = self.shared.pending();
        let is_idle = |pending: &mut Pending| pending.newest.is_none() && !pending.is_last;
        let timeout = self.unwritten.as_ref().map_or(Duration::MAX, |_| RETRY);
        let changed = &self.shared.changed;
        let waited = changed.wait_timeout_while(pending, timeout, is_idle);
        let (mut pending, _) = waited.unwrap_or_else(PoisonError::into_inner);
        (pending.newest.take(), pending.is_last)
    }

    fn write(&mut self) {
        let Some(bytes) = &self.unwritten else {
            return;
        };
        let written = if self.lock.acquire() {
            store::replace(&mut OsDisk::default(), &self.path, bytes)
        } else {
            Err(io::Error::other("in use by another Distributor"))
        };
        let path = &*self.path.to_string_lossy();
        match written {
            Ok(()) => {
                self.unwritten = None;
                self.shared.persisted.fetch_add(1, Ordering::Relaxed);
                self.complained_at = None;
                if let Some(before) = self.failing_since_total.take() {
                    let failures = self.shared.failures.load(Ordering::Relaxed) - before;
                    info!(path, failures, "state file written again");
                }
            }
            Err(error) => {
                let before = self.shared.failures.fetch_add(1, Ordering::Relaxed);
                self.failing_since_total.get_or_insert(before);
                let is_due = |at: Instant| at.elapsed() >= COMPLAINT;
                if self.complained_at.is_none_or(is_due) {
                    self.complained_at = Some(Instant::now());
                    let failures = before + 1;
                    warn!(path, %error, failures, "failed to write state file, retrying");
                }
            }
        }
    }
}
