//! Many plain peers, and the resources of a process.

use std::fs;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::note;
use crate::support::{Client, Distributor, names, skip_or_require, wait_until};

/// A peer that registers, reads lists, and reconnects.
pub struct PlainPeer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    name: String,
    is_over: AtomicBool,
    stream: Mutex<Option<TcpStream>>,
    lists: Mutex<Vec<Vec<String>>>,
}

impl PlainPeer {
    pub fn start(addr: SocketAddr, name: &str) -> PlainPeer {
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            is_over: AtomicBool::new(false),
            stream: Mutex::new(None),
            lists: Mutex::new(Vec::new()),
        });
        let in_thread = Arc::clone(&shared);
        PlainPeer {
            shared,
            thread: Some(thread::spawn(move || in_thread.live(addr))),
        }
    }

    /// Returns the names in each list so far.
    pub fn lists(&self) -> Vec<Vec<String>> {
        self.shared.lists.lock().unwrap().clone()
    }

    pub fn last_list(&self) -> Vec<String> {
        let lists = self.shared.lists.lock().unwrap();
        lists.last().cloned().unwrap_or_default()
    }

    /// Forgets the lists so far.
    pub fn forget_lists(&self) {
        self.shared.lists.lock().unwrap().clear();
    }
}

impl Shared {
    fn live(&self, addr: SocketAddr) {
        while !self.is_over.load(Ordering::SeqCst) {
            if let Ok(stream) = TcpStream::connect(addr) {
                *self.stream.lock().unwrap() = stream.try_clone().ok();
                if self.is_over.load(Ordering::SeqCst) {
                    return;
                }
                let mut client = Client::on(stream);
                client.register(&self.name, 1);
                while let Some(text) = client.next_text() {
                    let frame = serde_json::from_str(&text).expect("frames are JSON");
                    self.lists.lock().unwrap().push(names(&frame));
                }
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for PlainPeer {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        if let Some(stream) = self.shared.stream.lock().unwrap().take() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Waits until the last list of each peer has these names, in any order.
#[track_caller]
pub fn converge(peers: &[PlainPeer], names: &[String]) {
    let mut wanted = names.to_vec();
    wanted.sort();
    for peer in peers {
        wait_until(
            &format!("the last list to have {} names", wanted.len()),
            || {
                let mut list = peer.last_list();
                list.sort();
                list == wanted
            },
        );
    }
}

/// The resources of an idle Distributor.
pub struct Baseline {
    fds: usize,
    memory_kib: usize,
}

/// The memory that an allocator may keep.
const MEMORY_KEPT_KIB: usize = 16 << 10;

impl Baseline {
    pub fn of(distributor: &Distributor) -> Baseline {
        let fds_before = fds(distributor);
        distributor.assert_serves();
        wait_until("the end of the first connection", || {
            fds(distributor) <= fds_before
        });
        Baseline {
            fds: fds_before,
            memory_kib: memory_kib(distributor),
        }
    }

    /// Waits until the Distributor uses no more than this.
    #[track_caller]
    pub fn wait_for(&self, distributor: &Distributor, after: &str) {
        wait_until(&format!("{} fds after {after}", self.fds), || {
            fds(distributor) <= self.fds
        });
        let before = self.memory_kib;
        wait_until(
            &format!("about {before} KiB of memory after {after}"),
            || memory_kib(distributor) <= before + MEMORY_KEPT_KIB,
        );
        note(format_args!(
            "after {after}: {} fds, {} KiB of memory, at first {before} KiB",
            self.fds,
            memory_kib(distributor)
        ));
    }
}

fn fds(distributor: &Distributor) -> usize {
    let fds = fs::read_dir(format!("/proc/{}/fd", distributor.program.pid()));
    fds.unwrap().count()
}

fn memory_kib(distributor: &Distributor) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", distributor.program.pid()));
    let status = status.unwrap();
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    memory
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

/// Returns how many of `wanted` connections the fd limit allows beside other files.
pub fn affordable(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, all).unwrap();
    let limit = usize::try_from(limit.maximum.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
    let affordable = wanted.min(limit.saturating_sub(1000));
    if affordable < wanted {
        let missing = wanted - affordable;
        let why = format!("{missing} of {wanted} connections: the fd limit is {limit}");
        skip_or_require("fds", &why);
    }
    affordable
}
