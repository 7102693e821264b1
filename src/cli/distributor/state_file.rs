//! The list on disk, so that a restart goes unnoticed: read once at the start, and then written by a
//! thread of its own. Whatever the disk does, the loop does not wait for it.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::distributor::{Config, State, UnsavedState};
use crate::store::{self, Disk, OsDisk};
use rustix::fs::{FlockOperation, flock, fstat, stat};
use tracing::{info, warn};

use crate::cli::failure::Failure;

/// A Distributor that is being stopped needs its file a little longer.
const LONGEST_WAIT_FOR_LOCK: Duration = Duration::from_secs(3);
/// No list is nearly as long; some other file may be.
const MIN_READ_BYTES: u64 = 256 << 20;

/// A lock beside the state file that keeps other Distributors from writing it.
pub(crate) struct Lock {
    path: PathBuf,
    file: Option<File>,
    warned: bool,
}

/// The file that the path leads to: a link to it is to stay one.
pub(crate) fn resolve(path: PathBuf) -> PathBuf {
    match std::fs::canonicalize(&path) {
        Ok(file) => file,
        // It is not there yet, or can't be reached: that is said when it is read.
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
    let until = Instant::now() + LONGEST_WAIT_FOR_LOCK;
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
                    warn!(path, %error, "cannot lock the state file: let no other Distributor use it");
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

/// The list of the last run, if there is one that can be read. What can't be is said in a line, and
/// set aside.
pub(crate) fn load(path: &Path, config: &Config) -> Option<State> {
    let mut disk = OsDisk::default();
    let list = u64::try_from(config.capacity.max_encoded_bytes).unwrap_or(u64::MAX);
    let read = disk.read(path, MIN_READ_BYTES.max(list.saturating_mul(2)));
    let why = match read {
        Ok(bytes) => match State::decode(&bytes, &config.registration) {
            Ok(state) => return Some(state),
            Err(why) => why.to_string(),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => {
            info!(
                path = &*path.to_string_lossy(),
                "no list of an earlier run: this is the first with this file"
            );
            return None;
        }
        Err(error) if error.kind() == ErrorKind::InvalidInput => {
            warn!(path = &*path.to_string_lossy(), %error, "the list of an earlier run can't be read, and none can be kept");
            return None;
        }
        Err(error) => error.to_string(),
    };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    match store::set_aside(&mut disk, path, now.unwrap_or_default().as_secs()) {
        Ok(aside) => {
            warn!(
                path = &*path.to_string_lossy(),
                aside = &*aside.to_string_lossy(),
                why,
                "starting without a list of an earlier run: the file was set aside"
            );
        }
        Err(error) => {
            warn!(path = &*path.to_string_lossy(), why, %error, "starting without a list of an earlier run: the file can't be set aside, and may be overwritten");
        }
    }
    None
}

/// A list that could not be written is tried again after this, though it has not changed.
const RETRY: Duration = Duration::from_secs(1);
/// A disk that goes on failing is complained of this often.
const COMPLAINT: Duration = Duration::from_secs(10);

/// Writes the list in a thread of its own. The newest one takes the place of one that waits.
pub(crate) struct Saver {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    saved: AtomicU64,
    failed: AtomicU64,
}

#[derive(Default)]
struct Waiting {
    newest: Option<UnsavedState>,
    is_last: bool,
    is_done: bool,
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Saver {
    /// Errors are the system's, for want of threads.
    pub(crate) fn start(path: PathBuf, lock: Lock) -> io::Result<Saver> {
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
        Ok(Saver { shared })
    }

    /// Has this list written as soon as the disk can take it.
    pub(crate) fn save(&self, state: UnsavedState) {
        self.shared.waiting().newest = Some(state);
        self.shared.changed.notify_all();
    }

    /// Lists that were written so far, and tries that failed.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (count(&self.shared.saved), count(&self.shared.failed))
    }

    /// Waits until the last list is written, or could not be, but no longer than this. Returns the
    /// last [`Saver::counts`].
    pub(crate) fn finish(self, longest: Duration) -> (u64, u64) {
        let mut waiting = self.shared.waiting();
        waiting.is_last = true;
        self.shared.changed.notify_all();
        let waited = self
            .shared
            .changed
            .wait_timeout_while(waiting, longest, |waiting| !waiting.is_done);
        let (waiting, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if !waiting.is_done {
            warn!("stopping although the disk has not taken the last list");
        }
        drop(waiting);
        self.counts()
    }
}

struct Writer {
    shared: Arc<Shared>,
    path: PathBuf,
    lock: Lock,
    unwritten: Option<Vec<u8>>,
    /// The failures that there were before the disk began to fail.
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
                self.shared.waiting().is_done = true;
                self.shared.changed.notify_all();
                return;
            }
        }
    }

    /// The next list, or none if it is time to try the last one again.
    fn wait(&self) -> (Option<UnsavedState>, bool) {
        let waiting = self.shared.waiting();
        let is_idle = |waiting: &mut Waiting| waiting.newest.is_none() && !waiting.is_last;
        let longest = match self.unwritten {
            Some(_) => RETRY,
            None => Duration::MAX,
        };
        let waited = self
            .shared
            .changed
            .wait_timeout_while(waiting, longest, is_idle);
        let (mut waiting, _) = waited.unwrap_or_else(PoisonError::into_inner);
        (waiting.newest.take(), waiting.is_last)
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
        match written {
            Ok(()) => {
                self.unwritten = None;
                self.shared.saved.fetch_add(1, Ordering::Relaxed);
                self.complained_at = None;
                if let Some(before) = self.failing_since_total.take() {
                    let failures = self.shared.failed.load(Ordering::Relaxed) - before;
                    info!(
                        path = &*self.path.to_string_lossy(),
                        failures, "the list is on disk again"
                    );
                }
            }
            Err(error) => {
                let before = self.shared.failed.fetch_add(1, Ordering::Relaxed);
                self.failing_since_total.get_or_insert(before);
                if self
                    .complained_at
                    .is_none_or(|at| at.elapsed() >= COMPLAINT)
                {
                    self.complained_at = Some(Instant::now());
                    let failures = before + 1;
                    warn!(path = &*self.path.to_string_lossy(), %error, failures, "cannot keep the list on disk; trying on");
                }
            }
        }
    }
}
