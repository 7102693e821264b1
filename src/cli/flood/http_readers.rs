//! Slow HTTP clients of a Distributor, all in one thread. Half of them follow `/events`, half
//! request `/metrics` repeatedly. A client whose connection is closed reconnects.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::group::Group;
use super::record::Unit::{Bytes, Count};
use super::report::Report;
use crate::cli::failure::{Failure, reason};
use crate::cli::http_error::describe;

/// Number of bytes of one read. The receive buffer is as small, so that unread data waits in the
/// server and not in the receive buffer.
const READ_BYTES: usize = 4096;
const READ_INTERVAL: Duration = Duration::from_millis(400);
/// Number of groups of readers that are spread over the interval.
const SLOTS: u32 = 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Pause before reconnecting, as in browsers.
const RECONNECT_DELAY: Duration = Duration::from_secs(2);
const MAX_HEADERS: usize = 32;

/// Clients that read during the rounds against the server, and totals of all rounds.
#[derive(Debug)]
pub(crate) struct HttpReaders {
    to: SocketAddr,
    count: usize,
    bytes: u64,
    /// Number of connections that the server closed during a page.
    cut: u64,
    /// Number of connections that were closed, or that received an error, instead of a page.
    refused: u64,
}

impl HttpReaders {
    pub(crate) fn new((to, count): (SocketAddr, usize)) -> HttpReaders {
        HttpReaders {
            to,
            count,
            bytes: 0,
            cut: 0,
            refused: 0,
        }
    }

    /// Runs `round` while all clients read. It begins when all have connected and sent a request.
    pub(crate) fn read_during<T>(&mut self, round: impl FnOnce() -> T) -> Result<T, Failure> {
        let to = self.to;
        let failed = |why: String| {
            Failure::failed(format!(
                "cannot read from the HTTP API at {to}: {why}; set its address with --http, or \
                 start a Distributor for the run with --spawn"
            ))
        };
        request_once(to).map_err(|error| failed(describe(&error)))?;
        let paths = ["events", "metrics"].into_iter().cycle().take(self.count);
        let readers = paths.map(|path| Reader::connect(to, path));
        let readers = readers.collect::<io::Result<Vec<_>>>();
        let mut readers = readers.map_err(|error| failed(reason(&error)))?;
        let is_over = AtomicBool::new(false);
        Ok(thread::scope(|scope| {
            scope.spawn(|| self.read_until(&is_over, &mut readers));
            let result = round();
            is_over.store(true, Ordering::Relaxed);
            result
        }))
    }

    fn read_until(&mut self, is_over: &AtomicBool, readers: &mut [Reader]) {
        let mut next = Instant::now();
        for slot in (0..SLOTS as usize).cycle() {
            next += READ_INTERVAL / SLOTS;
            thread::sleep(next.saturating_duration_since(Instant::now()));
            if is_over.load(Ordering::Relaxed) {
                return;
            }
            for reader in readers.iter_mut().skip(slot).step_by(SLOTS as usize) {
                reader.turn(self);
            }
        }
    }

    pub(crate) fn report(&self, report: &mut Report) {
        let readers = self.count.to_string();
        report.settings.push(("HTTP readers", readers));
        let name = "read from the HTTP side, all rounds";
        report.figure(Group::Traffic, name, Bytes, [Some(self.bytes as f64), None]);
        let name = "HTTP readers cut, all rounds";
        report.figure(Group::Counts, name, Count, [Some(self.cut as f64), None]);
        if self.refused > 0 {
            report.notes.push(format!(
                "HTTP readers were refused {} times: there are more than the HTTP API admits",
                self.refused
            ));
        }
    }
}

/// Checks that a client receives a page.
fn request_once(to: SocketAddr) -> Result<(), ureq::Error> {
    let config = ureq::Agent::config_builder().proxy(None);
    let config = config.timeout_global(Some(CONNECT_TIMEOUT));
    let agent = config.build().new_agent();
    let response = agent.get(format!("http://{to}/metrics")).call();
    response.map(drop)
}

struct Reader {
    to: SocketAddr,
    path: &'static str,
    stream: TcpStream,
    /// Time to reconnect, set when the connection has ended.
    reconnect_at: Option<Instant>,
    /// The beginning of the head of a response.
    head: Vec<u8>,
    /// Number of unread bytes of its body, once the head is complete.
    body: Option<u64>,
}

impl Reader {
    fn connect(to: SocketAddr, path: &'static str) -> io::Result<Reader> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        socket.set_recv_buffer_size(READ_BYTES)?;
        socket.connect_timeout(&to.into(), CONNECT_TIMEOUT)?;
        socket.set_nonblocking(true)?;
        let mut reader = Reader {
            to,
            path,
            stream: socket.into(),
            reconnect_at: None,
            head: Vec::new(),
            body: None,
        };
        reader.request()?;
        Ok(reader)
    }

    fn request(&mut self) -> io::Result<()> {
        let request = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", self.path);
        self.stream.write_all(request.as_bytes())
    }

    /// Reads once, or reconnects when that is due.
    fn turn(&mut self, readers: &mut HttpReaders) {
        let now = Instant::now();
        let is_open = match self.reconnect_at {
            None => self.read(readers).is_some(),
            Some(at) if at > now => return,
            Some(_) => {
                let again = Reader::connect(self.to, self.path);
                again.map(|reader| *self = reader).is_ok()
            }
        };
        if !is_open {
            self.reconnect_at = Some(now + RECONNECT_DELAY);
            match self.body.take() {
                Some(_) => readers.cut += 1,
                None => readers.refused += 1,
            }
        }
    }

    /// Reads once. Returns `None` if the connection ended, or if an error arrived instead of a
    /// page. If there are too many readers, the last are closed without a response.
    fn read(&mut self, readers: &mut HttpReaders) -> Option<()> {
        let mut buffer = [0; READ_BYTES];
        let mut count = match self.stream.read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Some(()),
            other => other.ok().filter(|count| *count > 0)?,
        };
        readers.bytes += count as u64;
        if self.body.is_none() {
            self.head.extend_from_slice(buffer.get(..count)?);
            let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
            let mut response = httparse::Response::new(&mut headers);
            let httparse::Status::Complete(head) = response.parse(&self.head).ok()? else {
                return Some(());
            };
            if response.code != Some(200) {
                return None;
            }
            let mut headers = response.headers.iter();
            let length = headers.find(|header| header.name.eq_ignore_ascii_case("content-length"));
            // A stream of events has no length, and no end.
            let length = length.map_or(Some(u64::MAX), |length| {
                str::from_utf8(length.value).ok()?.parse().ok()
            });
            self.body = Some(length?);
            count = self.head.len() - head;
            self.head.clear();
        }
        let left = self.body?.saturating_sub(count as u64);
        self.body = Some(left);
        if left == 0 {
            self.request().ok()?;
            self.body = None;
        }
        Some(())
    }
}
