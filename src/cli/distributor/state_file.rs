//! The state file, which keeps the list across restarts.
//!
//! It is read once at the start, and written on a separate thread: the loop never waits for the
//! disk.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{FlockOperation, flock, fstat, stat};
use tracing::{info, warn};

use crate::cli::failure::{Failure, reason};
use crate::cli::value::shown_path;
use crate::distributor::{Config, Restored, Snapshot, SnapshotCounts, SnapshotSink};
use crate::store;
use crate::sys::{Disk, OsDisk};

/// Maximum wait for the lock: another Distributor may be stopping.
const LOCK_TIMEOUT: Duration = Duration::from_secs(3);
/// Maximum size of a state file that is read. Larger if the configuration allows longer lists.
const MAX_READ_BYTES: u64 = 256 << 20;
/// Time after which a failed write is retried, even if the list has not changed.
const RETRY: Duration = Duration::from_secs(1);
/// Interval between log lines about a failing disk.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// A lock file next to the state file that keeps other Distributors from writing it.
pub(crate) struct Lock {
    path: PathBuf,
    file: Option<File>,
    warned: bool,
}

/// Locks the state file. On a file system without locks, logs a warning and continues.
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
                "--state {}: in use by another Distributor; give each one its own file",
                shown_path(path)
            )));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(lock)
}

impl Lock {
    /// Acquires the lock, unless it is held. Returns `false` if another process holds it.
    ///
    /// If the lock file was deleted, for example with its folder, a lock on it excludes no process:
    /// a new file is created and locked.
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
                if !mem::replace(&mut self.warned, true) {
                    let path = &*self.path.to_string_lossy();
                    warn!(
                        path, error = %reason(&error),
                        "failed to lock state file: do not share it"
                    );
                }
            }
        }
        true
    }

    fn is_held(&self) -> bool {
        let (Some(file), Ok(current)) = (&self.file, stat(&self.path)) else {
            return false;
        };
        fstat(file).is_ok_and(|held| (held.st_dev, held.st_ino) == (current.st_dev, current.st_ino))
    }
}

/// Reads the list of the last run. An unusable file is logged and set aside.
pub(crate) fn load(path: &Path, config: &Config) -> Option<Restored> {
    let mut disk = OsDisk::default();
    let list = u64::try_from(config.capacity.max_encoded_bytes).unwrap_or(u64::MAX);
    let shown = &*path.to_string_lossy();
    let why = match disk.read(path, MAX_READ_BYTES.max(list.saturating_mul(2))) {
        Ok(bytes) => match Restored::decode(&bytes, &config.registration) {
            Ok(restored) => return Some(restored),
            Err(why) => why.to_string(),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => {
            info!(path = shown, "no state file yet");
            return None;
        }
        Err(error) if error.kind() == ErrorKind::InvalidInput => {
            warn!(
                path = shown, error = %reason(&error),
                "unusable state file: the list is not persisted"
            );
            return None;
        }
        Err(error) => reason(&error),
    };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    match store::set_aside(&mut disk, path, now.unwrap_or_default().as_secs()) {
        Ok(aside) => {
            let aside = &*aside.to_string_lossy();
            warn!(path = shown, aside, why, "invalid state file set aside");
        }
        Err(error) => {
            warn!(
                path = shown, why, error = %reason(&error),
                "invalid state file not set aside: it may be overwritten"
            );
        }
    }
    None
}

/// Writes snapshots to the state file. Clones share one thread, which writes only the newest.
#[derive(Clone)]
pub(crate) struct StateFile {
    requests: Sender<Request>,
    shared: Arc<Shared>,
}

enum Request {
    /// Write the newest snapshot.
    Write,
    /// Write the newest snapshot, and end.
    Finish(Sender<()>),
}

#[derive(Default)]
struct Shared {
    newest: Mutex<Option<Snapshot>>,
    persisted: AtomicU64,
    failures: AtomicU64,
}

impl SnapshotSink for StateFile {
    fn persist(&mut self, snapshot: Snapshot) {
        let newest = self.shared.newest.lock();
        *newest.unwrap_or_else(PoisonError::into_inner) = Some(snapshot);
        // Sending fails only after the thread has written the last snapshot.
        let _ = self.requests.send(Request::Write);
    }

    fn counts(&self) -> SnapshotCounts {
        SnapshotCounts {
            persisted: self.shared.persisted.load(Ordering::Relaxed),
            failures: self.shared.failures.load(Ordering::Relaxed),
        }
    }
}

impl StateFile {
    /// Starts the thread.
    pub(crate) fn start(path: PathBuf, lock: Lock) -> io::Result<StateFile> {
        let (requests, received) = mpsc::channel();
        let shared = Arc::<Shared>::default();
        let mut writer = Writer {
            shared: Arc::clone(&shared),
            path,
            lock,
            unwritten: None,
            failing: None,
        };
        thread::Builder::new()
            .name("state".to_owned())
            .spawn(move || writer.run(&received))?;
        Ok(StateFile { requests, shared })
    }

    /// Waits until writing the last snapshot has succeeded or failed, but at most for `timeout`.
    pub(crate) fn finish(self, timeout: Duration) {
        let (done, is_done) = mpsc::channel();
        let _ = self.requests.send(Request::Finish(done));
        if is_done.recv_timeout(timeout).is_err() {
            warn!("stopping before the last snapshot is written");
        }
    }
}

struct Writer {
    shared: Arc<Shared>,
    path: PathBuf,
    lock: Lock,
    unwritten: Option<Vec<u8>>,
    failing: Option<Failing>,
}

/// A series of failures since the last successful write.
struct Failing {
    failures: u64,
    logged_at: Instant,
}

impl Writer {
    fn run(&mut self, requests: &Receiver<Request>) {
        loop {
            let timeout = self.unwritten.as_ref().map_or(Duration::MAX, |_| RETRY);
            let request = requests.recv_timeout(timeout);
            let newest = self.shared.newest.lock();
            let newest = newest.unwrap_or_else(PoisonError::into_inner).take();
            match (newest, &request) {
                (Some(newest), _) => self.unwritten = Some(newest.into_bytes()),
                // An earlier request has already written it.
                (None, Ok(Request::Write)) => continue,
                (None, _) => {}
            }
            self.write();
            match request {
                Ok(Request::Write) | Err(RecvTimeoutError::Timeout) => {}
                Ok(Request::Finish(done)) => {
                    let _ = done.send(());
                    return;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
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
                if let Some(Failing { failures, .. }) = self.failing.take() {
                    info!(path, failures, "state file written again");
                }
            }
            Err(error) => {
                self.shared.failures.fetch_add(1, Ordering::Relaxed);
                let now = Instant::now();
                let is_first = self.failing.is_none();
                let failing = self.failing.get_or_insert(Failing {
                    failures: 0,
                    logged_at: now,
                });
                failing.failures += 1;
                if is_first || now - failing.logged_at >= LOG_INTERVAL {
                    failing.logged_at = now;
                    let failures = failing.failures;
                    warn!(
                        path, error = %reason(&error), failures,
                        "failed to write state file, retrying"
                    );
                }
            }
        }
    }
}
