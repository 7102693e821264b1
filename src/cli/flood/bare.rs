//! A server with nothing between it and epoll, to compare others with: it does the same bytes to
//! the same sockets, and knows nothing.
//!
//! What it does is said on its standard input, and it ends with that. It depends on nothing else of
//! this program.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};

const FRAME_END: &[u8] = "¶".as_bytes();
const BACKLOG: i32 = 4096;
const EVENTS_PER_WAIT: usize = 1024;
const READ_BYTES: usize = 64 << 10;
/// No socket's fd: standard input is not one of them.
const COMMANDS: u64 = 0;

/// What it does with its connections. Said as a line of words, then the bytes whose lengths it names.
enum Task {
    /// `hold GREETING`: sends that to whoever connects.
    Hold { greeting: Vec<u8> },
    /// `acceptor COUNT LIST GOODBYE`: reads so many registrations, then sends each the list; to the
    /// last one that stays, the goodbye.
    Acceptor {
        count: usize,
        registered: usize,
        list: Vec<u8>,
        goodbye: Vec<u8>,
    },
    /// `fanout COUNT REPLY JOINED LEFT FROM TO WIDTH`: replies to so many who register; tells them
    /// of each other one who comes and goes. What is told of one who comes has `WIDTH` bytes from
    /// its registration, which makes it known.
    Fanout {
        count: usize,
        watchers: Vec<usize>,
        reply: Vec<u8>,
        joined: Vec<u8>,
        left: Vec<u8>,
        from: usize,
        to: usize,
        width: usize,
    },
    /// `echo`: sends back what comes.
    Echo,
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
    listener: OwnedFd,
    /// By fd.
    peers: Vec<Option<Peer>>,
    open: usize,
    task: Task,
    scratch: Vec<u8>,
}

/// Serves until standard input ends. The address comes first on standard output, then an `ok` for
/// each command.
pub(crate) fn serve() -> io::Result<()> {
    let listener = net::socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SocketFlags::NONBLOCK | SocketFlags::CLOEXEC,
        None,
    )?;
    // Accepted connections inherit it.
    sockopt::set_tcp_nodelay(&listener, true)?;
    net::bind(&listener, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
    net::listen(&listener, BACKLOG)?;
    let addr = SocketAddr::try_from(net::getsockname(&listener)?)?;

    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let readable = epoll::EventFlags::IN;
    epoll::add(&epoll, &listener, data_of(&listener), readable)?;
    let stdin = io::stdin();
    epoll::add(
        &epoll,
        &stdin,
        epoll::EventData::new_u64(COMMANDS),
        readable,
    )?;
    say(&addr.to_string())?;

    let mut server = Server {
        epoll,
        listener,
        peers: Vec::new(),
        open: 0,
        task: Task::Echo,
        scratch: vec![0; READ_BYTES],
    };
    let mut events = Vec::with_capacity(EVENTS_PER_WAIT);
    let mut commands = Vec::new();
    loop {
        events.clear();
        match epoll::wait(&server.epoll, spare_capacity(&mut events), None) {
            Err(rustix::io::Errno::INTR) => continue,
            other => other?,
        };
        for event in &events {
            let (flags, data) = (event.flags, event.data);
            if data.u64() == COMMANDS {
                let count = rustix::io::read(&stdin, &mut *server.scratch)?;
                if count == 0 {
                    return Ok(());
                }
                commands.extend_from_slice(server.scratch.get(..count).unwrap_or_default());
                while let Some((task, used)) = Task::parse(&commands)? {
                    commands.drain(..used);
                    server.task = task;
                    say("ok")?;
                }
            } else if data.u64() == data_of(&server.listener).u64() {
                server.accept()?;
            } else {
                let fd = usize::try_from(data.u64()).unwrap_or(usize::MAX);
                if flags.contains(epoll::EventFlags::OUT) {
                    server.flush(fd);
                }
                if flags.intersects(!epoll::EventFlags::OUT) {
                    let has_ended =
                        flags.intersects(!(epoll::EventFlags::OUT | epoll::EventFlags::IN));
                    server.read(fd, has_ended);
                }
            }
        }
    }
}

fn say(line: &str) -> io::Result<()> {
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

impl Task {
    /// The first command in `bytes` and its length, once all of it is there.
    fn parse(bytes: &[u8]) -> io::Result<Option<(Task, usize)>> {
        let Some(line_end) = bytes.iter().position(|byte| *byte == b'\n') else {
            return Ok(None);
        };
        let (line, mut rest) = bytes.split_at(line_end + 1);
        let line = String::from_utf8_lossy(line);
        let mut words = line.split_whitespace();
        let name = words.next().unwrap_or_default();
        let numbers: Vec<usize> = words.map_while(|word| word.parse().ok()).collect();
        let mut used = line_end + 1;
        let mut block = |length: usize| {
            let (block, after) = rest.split_at_checked(length)?;
            rest = after;
            used += length;
            Some(block.to_vec())
        };
        let task = match (name, &*numbers) {
            ("hold", [greeting]) => block(*greeting).map(|greeting| Task::Hold { greeting }),
            ("acceptor", [count, list, goodbye]) => {
                block(*list)
                    .zip(block(*goodbye))
                    .map(|(list, goodbye)| Task::Acceptor {
                        count: *count,
                        registered: 0,
                        list,
                        goodbye,
                    })
            }
            ("fanout", [count, reply, joined, left, from, to, width]) => block(*reply)
                .zip(block(*joined))
                .zip(block(*left))
                .map(|((reply, joined), left)| Task::Fanout {
                    count: *count,
                    watchers: Vec::new(),
                    reply,
                    joined,
                    left,
                    from: *from,
                    to: *to,
                    width: *width,
                }),
            ("echo", []) => Some(Task::Echo),
            _ => {
                let what = format!("no such command: {}", line.trim());
                return Err(io::Error::new(ErrorKind::InvalidInput, what));
            }
        };
        Ok(task.map(|task| (task, used)))
    }
}

impl Server {
    fn accept(&mut self) -> io::Result<()> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        while let Ok(accepted) = net::accept_with(&self.listener, flags) {
            let readiness = epoll::EventFlags::IN
                | epoll::EventFlags::OUT
                | epoll::EventFlags::RDHUP
                | epoll::EventFlags::ET;
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

    /// One read, as a rule: a short one has taken all there is, and what comes later is told of
    /// again. Only who has ended is read to the end.
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
                            self.registered(fd, &registration);
                        }
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                _ => return self.closed(fd),
            }
        }
    }

    fn registered(&mut self, fd: usize, registration: &[u8]) {
        match &mut self.task {
            Task::Acceptor {
                count,
                registered,
                list,
                ..
            } => {
                *registered += 1;
                if registered == count {
                    for peer in self.peers.iter_mut().flatten() {
                        peer.send(list);
                    }
                }
            }
            Task::Fanout {
                count,
                watchers,
                reply,
                joined,
                from,
                to,
                width,
                ..
            } => {
                if watchers.len() < *count {
                    watchers.push(fd);
                    if let Some(Some(peer)) = self.peers.get_mut(fd) {
                        peer.is_watcher = true;
                        peer.send(reply);
                    }
                    return;
                }
                if let Some(mark) = registration.get(*from..*from + *width)
                    && let Some(place) = joined.get_mut(*to..*to + *width)
                {
                    place.copy_from_slice(mark);
                }
                for watcher in watchers {
                    if let Some(Some(peer)) = self.peers.get_mut(*watcher) {
                        peer.send(joined);
                    }
                }
            }
            Task::Hold { .. } | Task::Echo => {}
        }
    }

    fn closed(&mut self, fd: usize) {
        let Some(peer) = self.peers.get_mut(fd).and_then(Option::take) else {
            return;
        };
        self.open -= 1;
        match &self.task {
            Task::Acceptor {
                count,
                registered,
                goodbye,
                ..
            } if registered == count && self.open == 1 => {
                for peer in self.peers.iter_mut().flatten() {
                    peer.send(goodbye);
                }
            }
            Task::Fanout { watchers, left, .. } if !peer.is_watcher => {
                for watcher in watchers {
                    if let Some(Some(peer)) = self.peers.get_mut(*watcher) {
                        peer.send(left);
                    }
                }
            }
            _ => {}
        }
    }

    fn flush(&mut self, fd: usize) {
        if let Some(Some(peer)) = self.peers.get_mut(fd) {
            peer.flush();
        }
    }
}

impl Peer {
    /// One write, as a rule. A failed connection is found out by reading.
    fn send(&mut self, bytes: &[u8]) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_taken_when_all_of_it_is_there() {
        let command = b"acceptor 3 4 2\nlistbyhold 0\n";
        for end in 0..21 {
            assert!(Task::parse(&command[..end]).unwrap().is_none(), "{end}");
        }
        let (task, used) = Task::parse(command).unwrap().unwrap();
        let Task::Acceptor {
            count: 3,
            list,
            goodbye,
            ..
        } = task
        else {
            panic!("an acceptor");
        };
        assert_eq!((&*list, &*goodbye, used), (&b"list"[..], &b"by"[..], 21));
        assert!(matches!(
            Task::parse(&command[used..]),
            Ok(Some((Task::Hold { .. }, 7)))
        ));
        assert!(Task::parse(b"fly 3\n").is_err());
    }
}
