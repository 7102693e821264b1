//! A server with nothing between it and epoll, to compare others with: it does the same bytes to the
//! same sockets, and knows nothing.
//!
//! Its tasks come on standard input, and it ends with that. It depends on nothing else of this crate.

use std::collections::VecDeque;
use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventFlags as Flags};
use rustix::net::{self, SocketFlags, sockopt};
use serde::{Deserialize, Serialize};

const FRAME_END: &[u8] = "¶".as_bytes();
const BACKLOG: i32 = 4096;
const EVENTS_PER_WAIT: usize = 1024;
const READ_BYTES: usize = 64 << 10;
/// In place of a socket's fd, the tasks on standard input.
const TASKS: u64 = 0;

/// What it does with its connections.
#[derive(Clone, Serialize, Deserialize, Debug)]
pub(crate) enum Task {
    /// Sends back what comes.
    Echo,
    /// Sends this to each that connects.
    Hold { greeting: String },
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
        joined: String,
        left: String,
        mark: Mark,
    },
}

/// What is sent of a node that joins contains a part of its registration.
#[derive(Clone, Serialize, Deserialize, Debug)]
pub(crate) struct Mark {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) width: usize,
}

impl Mark {
    fn copy(&self, registration: &[u8], joined: &mut String) {
        let mark = registration.get(self.from..self.from + self.width);
        let place = self.to..self.to + self.width;
        if let Some(Ok(mark)) = mark.map(str::from_utf8)
            && joined.get(place.clone()).is_some()
        {
            joined.replace_range(place, mark);
        }
    }
}

struct Peer {
    stream: TcpStream,
    /// The beginning of its registration.
    input: Vec<u8>,
    has_registered: bool,
    is_watcher: bool,
    /// What the socket had no room for.
    unsent: VecDeque<u8>,
}

struct Server {
    epoll: OwnedFd,
    listener: TcpListener,
    /// By fd.
    peers: Vec<Option<Peer>>,
    open: usize,
    task: Task,
    /// Since the task was set.
    registered: usize,
    watchers: Vec<usize>,
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
    epoll::add(&epoll, &listener, data_of(&listener), Flags::IN)?;
    let mut stdin = io::stdin().lock();
    let tasks = epoll::EventData::new_u64(TASKS);
    epoll::add(&epoll, io::stdin(), tasks, Flags::IN)?;
    print_line(&addr.to_string())?;

    let mut server = Server {
        epoll,
        listener,
        peers: Vec::new(),
        open: 0,
        task: Task::Echo,
        registered: 0,
        watchers: Vec::new(),
        scratch: vec![0; READ_BYTES],
    };
    let mut events = Vec::with_capacity(EVENTS_PER_WAIT);
    loop {
        events.clear();
        match epoll::wait(&server.epoll, spare_capacity(&mut events), None) {
            Err(rustix::io::Errno::INTR) => continue,
            other => other?,
        };
        for event in &events {
            let (flags, data) = (event.flags, event.data);
            if data.u64() == TASKS {
                let mut line = String::new();
                if stdin.read_line(&mut line)? == 0 {
                    return Ok(());
                }
                server.task = serde_json::from_str(&line)?;
                server.registered = 0;
                server.watchers.clear();
                print_line("ok")?;
            } else if data.u64() == data_of(&server.listener).u64() {
                server.accept()?;
            } else {
                let fd = usize::try_from(data.u64()).unwrap_or(usize::MAX);
                if flags.contains(Flags::OUT)
                    && let Some(Some(peer)) = server.peers.get_mut(fd)
                {
                    peer.flush();
                }
                if flags.intersects(!Flags::OUT) {
                    server.read(fd, flags.intersects(!(Flags::OUT | Flags::IN)));
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

fn fd_number(socket: &impl AsFd) -> usize {
    usize::try_from(socket.as_fd().as_raw_fd()).unwrap_or(usize::MAX)
}

fn data_of(socket: &impl AsFd) -> epoll::EventData {
    epoll::EventData::new_u64(fd_number(socket) as u64)
}

impl Server {
    fn accept(&mut self) -> io::Result<()> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        while let Ok(accepted) = net::accept_with(&self.listener, flags) {
            let readiness = Flags::IN | Flags::OUT | Flags::RDHUP | Flags::ET;
            epoll::add(&self.epoll, &accepted, data_of(&accepted), readiness)?;
            let fd = fd_number(&accepted);
            if fd >= self.peers.len() {
                self.peers.resize_with(fd + 1, || None);
            }
            if let Some(place) = self.peers.get_mut(fd) {
                let peer = place.insert(Peer {
                    stream: TcpStream::from(accepted),
                    input: Vec::new(),
                    has_registered: false,
                    is_watcher: false,
                    unsent: VecDeque::new(),
                });
                self.open += 1;
                if let Task::Hold { greeting } = &self.task {
                    peer.send(greeting);
                }
            }
        }
        Ok(())
    }

    /// One read, as a rule: a short one has taken all there is, and epoll reports what comes later.
    /// Only a connection that has ended is read to its end.
    fn read(&mut self, fd: usize, has_ended: bool) {
        let mut is_empty = false;
        while !is_empty {
            let Some(Some(peer)) = self.peers.get_mut(fd) else {
                return;
            };
            match (&peer.stream).read(&mut self.scratch) {
                Ok(count) if count > 0 => {
                    is_empty = count < READ_BYTES && !has_ended;
                    let bytes = self.scratch.get(..count).unwrap_or_default();
                    if matches!(self.task, Task::Echo) {
                        peer.send(bytes);
                    } else if !peer.has_registered {
                        peer.input.extend_from_slice(bytes);
                        if peer.input.ends_with(FRAME_END) {
                            peer.has_registered = true;
                            let registration = std::mem::take(&mut peer.input);
                            self.on_registration(fd, &registration);
                        }
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                _ => return self.on_close(fd),
            }
        }
    }

    fn on_registration(&mut self, fd: usize, registration: &[u8]) {
        self.registered += 1;
        match &mut self.task {
            Task::Acceptor { count, list, .. } if self.registered == *count => {
                for peer in self.peers.iter_mut().flatten() {
                    peer.send(&*list);
                }
            }
            Task::FanOut { count, reply, .. } if self.registered <= *count => {
                self.watchers.push(fd);
                if let Some(Some(peer)) = self.peers.get_mut(fd) {
                    peer.is_watcher = true;
                    peer.send(reply);
                }
            }
            Task::FanOut { joined, mark, .. } => {
                mark.copy(registration, joined);
                send_to(&mut self.peers, &self.watchers, joined);
            }
            Task::Acceptor { .. } | Task::Hold { .. } | Task::Echo => {}
        }
    }

    fn on_close(&mut self, fd: usize) {
        let Some(peer) = self.peers.get_mut(fd).and_then(Option::take) else {
            return;
        };
        self.open -= 1;
        match &self.task {
            Task::Acceptor { count, goodbye, .. }
                if self.registered == *count && self.open == 1 =>
            {
                for peer in self.peers.iter_mut().flatten() {
                    peer.send(goodbye);
                }
            }
            Task::FanOut { left, .. } if !peer.is_watcher => {
                send_to(&mut self.peers, &self.watchers, left);
            }
            _ => {}
        }
    }
}

fn send_to(peers: &mut [Option<Peer>], watchers: &[usize], frame: &str) {
    for watcher in watchers {
        if let Some(Some(peer)) = peers.get_mut(*watcher) {
            peer.send(frame);
        }
    }
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
