//! A server directly on epoll, for comparison: it sends the same bytes to the same sockets, and
//! keeps no state of a registry.
//!
//! It reads its tasks from standard input, and ends when that ends. It uses nothing else of this
//! crate.

use std::collections::VecDeque;
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
    /// Sent to each watcher that registers.
    pub(crate) reply: String,
    /// Sent to all watchers when the last of them has registered.
    pub(crate) list: String,
    /// Sent to all watchers when another peer registers, with its name in place of `joiner`.
    pub(crate) joined: String,
    pub(crate) joiner: String,
    /// Sent to all watchers when another peer leaves.
    pub(crate) left: String,
    /// Sent to the last watcher when all others have left.
    pub(crate) goodbye: String,
}

struct Peer {
    stream: TcpStream,
    /// Beginning of its registration, until that is complete.
    input: Option<Vec<u8>>,
    is_watcher: bool,
    /// Bytes that the socket had no room for.
    unsent: VecDeque<u8>,
}

struct Server {
    epoll: OwnedFd,
    listener: TcpListener,
    peers: Slab<Peer>,
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
        let task = &self.task;
        self.registered += 1;
        if self.registered <= task.watchers {
            if let Some(peer) = self.peers.get_mut(number) {
                peer.is_watcher = true;
                peer.send(task.reply.as_bytes());
            }
            if self.registered == task.watchers {
                send_to_watchers(&mut self.peers, &task.list);
            }
        } else if !task.joined.is_empty() {
            let registration = String::from_utf8_lossy(registration);
            let name = registration.split("\"name\":\"").nth(1);
            let name = name.and_then(|rest| rest.split('"').next());
            let joined = task.joined.replace(&task.joiner, name.unwrap_or_default());
            send_to_watchers(&mut self.peers, &joined);
        }
    }

    fn on_close(&mut self, number: usize) {
        if let Some(peer) = self.peers.try_remove(number) {
            if !peer.is_watcher {
                send_to_watchers(&mut self.peers, &self.task.left);
            } else if self.registered == self.task.watchers && self.peers.len() == 1 {
                send_to_watchers(&mut self.peers, &self.task.goodbye);
            }
        }
    }
}

fn send_to_watchers(peers: &mut Slab<Peer>, frame: &str) {
    let watchers = peers.iter_mut().filter(|(_, peer)| peer.is_watcher);
    watchers.for_each(|(_, peer)| peer.send(frame.as_bytes()));
}

impl Peer {
    /// Normally writes once. Reading reports a failed connection.
    fn send(&mut self, bytes: &[u8]) {
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
