//! A server with nothing between it and epoll, to compare others with: it does the same bytes to the
//! same sockets, and knows nothing.
//!
//! Its tasks come on standard input, and it ends with that. It depends on nothing else of this crate.

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
/// What events are about, if it is not the peer with this number.
const TASKS: u64 = u64::MAX;
const LISTENER: u64 = u64::MAX - 1;

/// What it does with its connections.
#[derive(Clone, Serialize, Deserialize, Debug)]
pub(crate) enum Task {
    Echo,
    /// Sends this to each that connects.
    Hold {
        greeting: String,
    },
    /// Reads this many registrations, then sends each the list; to the last that stays, the goodbye.
    Acceptor {
        count: usize,
        list: String,
        goodbye: String,
    },
    /// Replies to this many watchers that register. Then tells them of every other that comes and
    /// goes.
    FanOut {
        count: usize,
        reply: String,
        /// Contains the name of a joiner, in place of which it puts that of each.
        joined: String,
        joiner: String,
        left: String,
    },
}

struct Peer {
    stream: TcpStream,
    /// The beginning of its registration, until that is complete.
    input: Option<Vec<u8>>,
    is_watcher: bool,
    /// What the socket had no room for.
    unsent: VecDeque<u8>,
}

struct Server {
    epoll: OwnedFd,
    listener: TcpListener,
    peers: Slab<Peer>,
    task: Task,
    /// Since the task was set.
    registered: usize,
    scratch: Vec<u8>,
}

/// Serves until standard input ends. Prints its address first, then `ok` for each task.
pub(crate) fn serve() -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    // Accepted connections inherit it.
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
        task: Task::Echo,
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
            if let Task::Hold { greeting } = &self.task {
                peer.send(greeting);
            }
        }
        Ok(())
    }

    /// One read, as a rule: a short one has taken all there is, and epoll reports what comes later.
    /// Only a connection that has ended is read to its end.
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
                    if matches!(self.task, Task::Echo) {
                        peer.send(bytes);
                    } else if let Some(input) = &mut peer.input {
                        input.extend_from_slice(bytes);
                        if let Some(registration) =
                            peer.input.take_if(|input| input.ends_with(FRAME_END))
                        {
                            self.on_registration(number, &registration);
                        }
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                _ => return self.on_close(number),
            }
        }
    }

    fn on_registration(&mut self, number: usize, registration: &[u8]) {
        self.registered += 1;
        match &self.task {
            Task::Acceptor { count, list, .. } if self.registered == *count => {
                send_to(self.peers.iter_mut(), list);
            }
            Task::FanOut { count, reply, .. } if self.registered <= *count => {
                if let Some(peer) = self.peers.get_mut(number) {
                    peer.is_watcher = true;
                    peer.send(reply);
                }
            }
            Task::FanOut { joined, joiner, .. } => {
                let registration = String::from_utf8_lossy(registration);
                let name = registration.split("\"name\":\"").nth(1);
                let name = name.and_then(|rest| rest.split('"').next());
                let joined = joined.replace(joiner, name.unwrap_or_default());
                send_to(watchers(&mut self.peers), &joined);
            }
            Task::Acceptor { .. } | Task::Hold { .. } | Task::Echo => {}
        }
    }

    fn on_close(&mut self, number: usize) {
        let Some(peer) = self.peers.try_remove(number) else {
            return;
        };
        match &self.task {
            Task::Acceptor { count, goodbye, .. }
                if self.registered == *count && self.peers.len() == 1 =>
            {
                send_to(self.peers.iter_mut(), goodbye);
            }
            Task::FanOut { left, .. } if !peer.is_watcher => {
                send_to(watchers(&mut self.peers), left);
            }
            _ => {}
        }
    }
}

fn watchers(peers: &mut Slab<Peer>) -> impl Iterator<Item = (usize, &mut Peer)> {
    peers.iter_mut().filter(|(_, peer)| peer.is_watcher)
}

fn send_to<'a>(peers: impl Iterator<Item = (usize, &'a mut Peer)>, frame: &str) {
    peers.for_each(|(_, peer)| peer.send(frame));
}

impl Peer {
    /// One write, as a rule. A failed connection is found out by reading.
    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        let mut sent = 0;
        if self.unsent.is_empty() {
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
