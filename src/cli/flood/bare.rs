//! A server directly on epoll, for comparison: it sends the same bytes to the same sockets, and
//! keeps no state of a registry.
//!
//! It reads its tasks from standard input, and ends when that ends. It uses nothing else of this
//! crate.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags as Flags};
use rustix::io::Errno;
use rustix::net::{self, SocketFlags, sockopt};
use serde::{Deserialize, Serialize};
use slab::Slab;

const FRAME_END: &[u8] = "¶".as_bytes();
const BACKLOG: i32 = 4096;
const EVENTS_PER_WAIT: usize = 1024;
const READ_BYTES: usize = 64 << 10;
/// Event data of standard input; any other value is the number of a peer.
const TASKS: u64 = u64::MAX;
const LISTENER: u64 = u64::MAX - 1;

/// The data that the server sends at each event. Nothing is sent for an empty text.
#[derive(Clone, Default, Serialize, Deserialize, Debug)]
pub(crate) struct Task {
    /// All received bytes are sent back, and nothing else happens.
    pub(crate) echo: bool,
    /// Sent to each peer that connects.
    pub(crate) greeting: String,
    /// The first peers that register, up to this number, are watchers.
    pub(crate) watchers: usize,
    /// Sent to each watcher that registers: what the watchers with its subscription get.
    pub(crate) replies: BTreeMap<String, String>,
    /// Sent to each watcher when the last of them has registered.
    pub(crate) lists: BTreeMap<String, String>,
    /// Sent to the watchers that another peer concerns when it registers, with its name and its url
    /// in place of those of the joiner.
    pub(crate) joined: String,
    pub(crate) joiner: String,
    pub(crate) joiner_url: String,
    /// Sent to the watchers that another peer concerns when it leaves.
    pub(crate) left: String,
    /// Sent to the last watcher when all others have left.
    pub(crate) goodbye: String,
}

struct Peer {
    stream: TcpStream,
    /// Beginning of its registration, until that is complete.
    input: Option<Vec<u8>>,
    is_watcher: bool,
    /// Urls that a watcher subscribes to, as its registration has them; empty for all. For other
    /// peers, their url.
    urls: String,
    /// Bytes that the socket had no room for.
    unsent: VecDeque<u8>,
}

struct Server {
    epoll: OwnedFd,
    listener: TcpListener,
    peers: Slab<Peer>,
    /// The watchers by the urls that they subscribe to, those of everything under the empty one.
    watchers: HashMap<String, BTreeSet<usize>>,
    task: Task,
    /// Number of registrations since the task was set.
    registered: usize,
    scratch: Vec<u8>,
}

/// Serves until standard input ends. Prints its address first, then `ok` for each task.
pub(crate) fn serve() -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    // Accepted connections inherit this option.
    sockopt::set_tcp_nodelay(&listener, true)?;
    // Listening again makes the backlog longer.
    net::listen(&listener, BACKLOG)?;
    let addr = listener.local_addr()?;

    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), Flags::IN)?;
    let mut stdin = io::stdin().lock();
    epoll::add(&epoll, io::stdin(), EventData::new_u64(TASKS), Flags::IN)?;
    print_line(&addr.to_string())?;

    let mut server = Server {
        epoll,
        listener,
        peers: Slab::new(),
        watchers: HashMap::new(),
        task: Task::default(),
        registered: 0,
        scratch: vec![0; READ_BYTES],
    };
    let mut events = Vec::with_capacity(EVENTS_PER_WAIT);
    loop {
        events.clear();
        match epoll::wait(&server.epoll, spare_capacity(&mut events), None) {
            Err(Errno::INTR) => continue,
            other => other?,
        };
        for event in &events {
            let (flags, data) = (event.flags, event.data);
            match data.u64() {
                TASKS => {
                    let mut line = String::new();
                    if stdin.read_line(&mut line)? == 0 {
                        return Ok(());
                    }
                    server.task = serde_json::from_str(&line)?;
                    server.registered = 0;
                    print_line("ok")?;
                }
                LISTENER => server.accept()?,
                number => {
                    let number = usize::try_from(number).unwrap_or(usize::MAX);
                    server.on_ready(number, flags);
                }
            }
        }
    }
}

pub(crate) fn print_line(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

impl Server {
    fn accept(&mut self) -> io::Result<()> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        while let Ok(accepted) = net::accept_with(&self.listener, flags) {
            let readiness = Flags::IN | Flags::OUT | Flags::RDHUP | Flags::ET;
            let place = self.peers.vacant_entry();
            let data = EventData::new_u64(place.key() as u64);
            epoll::add(&self.epoll, &accepted, data, readiness)?;
            let peer = place.insert(Peer {
                stream: TcpStream::from(accepted),
                input: Some(Vec::new()),
                is_watcher: false,
                urls: String::new(),
                unsent: VecDeque::new(),
            });
            peer.send(self.task.greeting.as_bytes());
        }
        Ok(())
    }

    /// Normally reads once: a short read has taken everything, and epoll reports later input. Only
    /// a connection that has ended is read to its end.
    fn on_ready(&mut self, number: usize, flags: Flags) {
        let has_ended = flags.intersects(!(Flags::OUT | Flags::IN));
        let mut is_empty = !flags.intersects(!Flags::OUT);
        if flags.contains(Flags::OUT)
            && let Some(peer) = self.peers.get_mut(number)
        {
            peer.flush();
        }
        while !is_empty && let Some(peer) = self.peers.get_mut(number) {
            match (&peer.stream).read(&mut self.scratch) {
                Ok(count) if count > 0 => {
                    is_empty = count < READ_BYTES && !has_ended;
                    let bytes = self.scratch.get(..count).unwrap_or_default();
                    if self.task.echo {
                        peer.send(bytes);
                    } else if let Some(input) = &mut peer.input {
                        input.extend_from_slice(bytes);
                        let complete = peer.input.take_if(|input| input.ends_with(FRAME_END));
                        complete.inspect(|input| self.on_registration(number, input));
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                _ => return self.on_close(number),
            }
        }
    }

    fn on_registration(&mut self, number: usize, registration: &[u8]) {
        let registration = String::from_utf8_lossy(registration);
        let task = &self.task;
        self.registered += 1;
        if self.registered <= task.watchers {
            let urls = between(&registration, "\"only\":{\"urls\":[", "]");
            for url in urls.split(',') {
                let watchers = self.watchers.entry(url.to_owned()).or_default();
                watchers.insert(number);
            }
            if let Some(peer) = self.peers.get_mut(number) {
                peer.is_watcher = true;
                urls.clone_into(&mut peer.urls);
                peer.send(text_for(&task.replies, urls));
            }
            if self.registered == task.watchers {
                let watchers = self.peers.iter_mut().filter(|(_, peer)| peer.is_watcher);
                for (_, peer) in watchers {
                    peer.send(text_for(&task.lists, &peer.urls));
                }
            }
        } else if !task.joined.is_empty() {
            let name = between(&registration, "\"name\":\"", "\"");
            let urls = between(&registration, "\"urls\":[", "]");
            let url = urls.trim_matches('"');
            // The url has the name, unless peers belong to services.
            let mut joined = task.joined.replace(&task.joiner_url, url);
            joined = joined.replace(&task.joiner, name);
            if let Some(peer) = self.peers.get_mut(number) {
                urls.clone_into(&mut peer.urls);
            }
            self.send_to_watchers(urls, &joined);
        }
    }

    fn on_close(&mut self, number: usize) {
        let Some(peer) = self.peers.try_remove(number) else {
            return;
        };
        if !peer.is_watcher {
            let left = std::mem::take(&mut self.task.left);
            self.send_to_watchers(&peer.urls, &left);
            self.task.left = left;
            return;
        }
        for url in peer.urls.split(',') {
            if let Some(watchers) = self.watchers.get_mut(url) {
                watchers.remove(&number);
            }
        }
        if self.registered == self.task.watchers && self.peers.len() == 1 {
            let watchers = self.peers.iter_mut().filter(|(_, peer)| peer.is_watcher);
            watchers.for_each(|(_, peer)| peer.send(&self.task.goodbye));
        }
    }

    /// Sends to the watchers of this url and to those of everything.
    fn send_to_watchers(&mut self, url: &str, frame: &str) {
        for url in ["", url].into_iter().take(1 + usize::from(!url.is_empty())) {
            for number in self.watchers.get(url).into_iter().flatten() {
                if let Some(peer) = self.peers.get_mut(*number) {
                    peer.send(frame);
                }
            }
        }
    }
}

/// Returns the text for the watchers with a subscription; empty if there is none.
fn text_for<'t>(texts: &'t BTreeMap<String, String>, urls: &str) -> &'t str {
    texts.get(urls).map_or("", String::as_str)
}

/// Returns the part of a text between two others; empty if it has none.
fn between<'t>(text: &'t str, start: &str, end: &str) -> &'t str {
    let rest = text.split_once(start).map_or("", |(_, rest)| rest);
    rest.split_once(end).map_or("", |(part, _)| part)
}

impl Peer {
    /// Normally writes once. Reading reports a failed connection.
    fn send(&mut self, text: impl AsRef<[u8]>) {
        let bytes = text.as_ref();
        let mut sent = 0;
        if self.unsent.is_empty() && !bytes.is_empty() {
            sent = (&self.stream).write(bytes).unwrap_or(0);
        }
        self.unsent.extend(bytes.get(sent..).unwrap_or_default());
    }

    fn flush(&mut self) {
        while !self.unsent.is_empty() {
            let (next, _) = self.unsent.as_slices();
            match (&self.stream).write(next) {
                Ok(count) if count > 0 => drop(self.unsent.drain(..count)),
                _ => return,
            }
        }
    }
}
