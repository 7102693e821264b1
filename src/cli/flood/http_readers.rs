//! Clients of a Distributor's HTTP side that read slowly, all in one thread. Half of them follow
//! `/events`, half ask for `/metrics` again and again. Those that are cut come again.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::format::Unit;
use super::report::Report;
use super::stop::Halt;
use super::target::HttpLoad;

/// What each reads at once. The receive buffer is as small: what it has not read is kept by the
/// server, and not by the kernel here.
const READ_BYTES: usize = 4096;
const READ_INTERVAL: Duration = Duration::from_millis(400);
/// They read at this many different times.
const SLOTS: u32 = 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// As long as browsers wait.
const RECONNECT_DELAY: Duration = Duration::from_secs(2);
const MAX_HEADERS: usize = 32;

/// Clients that read until they are stopped.
#[derive(Debug)]
pub(crate) struct HttpReaders {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Tally>,
}

#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Tally {
    bytes: u64,
    /// Connections that the server ended.
    cut: u64,
    /// Connections that were closed, or answered with an error, instead of a page.
    refused: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Tally) {
        self.bytes += other.bytes;
        self.cut += other.cut;
        self.refused += other.refused;
    }

    pub(crate) fn report(self, report: &mut Report) {
        let name = "read from the HTTP side, all rounds";
        report.figure(name, Unit::Bytes, Some(self.bytes as f64), None);
        let name = "HTTP readers cut, all rounds";
        report.figure(name, Unit::Count, Some(self.cut as f64), None);
        if self.refused > 0 {
            report.notes.push(format!(
                "HTTP readers were refused {} times: they are more than the HTTP side takes",
                self.refused
            ));
        }
    }
}

impl HttpReaders {
    /// Returns when all have connected and asked.
    pub(crate) fn start(load: HttpLoad) -> Result<HttpReaders, Halt> {
        let (at, count) = (load.at, load.readers);
        let failed = |error| Halt::failed(format!("the HTTP side at {at} cannot be read: {error}"));
        try_one(at).map_err(failed)?;
        let paths = ["events", "metrics"].into_iter().cycle();
        let readers = paths.take(count).map(|path| Reader::connect(at, path));
        let readers = readers.collect::<io::Result<Vec<_>>>().map_err(failed)?;
        let stop = Arc::new(AtomicBool::new(false));
        let is_stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || read_in_turn(readers, &is_stopped));
        Ok(HttpReaders { stop, thread })
    }

    pub(crate) fn stop(self) -> Result<Tally, Halt> {
        self.stop.store(true, Ordering::Relaxed);
        let panicked = |_| Halt::failed("the thread of the HTTP readers panicked");
        self.thread.join().map_err(panicked)
    }
}

/// Fails where no client would get an answer.
fn try_one(to: SocketAddr) -> io::Result<()> {
    let config = ureq::Agent::config_builder().proxy(None);
    let config = config.timeout_global(Some(CONNECT_TIMEOUT));
    let agent = config.build().new_agent();
    let response = agent.get(format!("http://{to}/metrics")).call();
    response.map(drop).map_err(io::Error::other)
}

fn read_in_turn(mut readers: Vec<Reader>, stop: &AtomicBool) -> Tally {
    let mut tally = Tally::default();
    let mut next = Instant::now();
    for slot in (0..SLOTS as usize).cycle() {
        next += READ_INTERVAL / SLOTS;
        thread::sleep(next.saturating_duration_since(Instant::now()));
        if stop.load(Ordering::Relaxed) {
            break;
        }
        for reader in readers.iter_mut().skip(slot).step_by(SLOTS as usize) {
            reader.turn(&mut tally);
        }
    }
    tally
}

struct Reader {
    to: SocketAddr,
    path: &'static str,
    stream: TcpStream,
    /// Its connection is over, and it comes again at this time.
    again_at: Option<Instant>,
    /// What is there of the head of a response.
    head: Vec<u8>,
    /// What is left of its body, once the head is complete.
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
            again_at: None,
            head: Vec::new(),
            body: None,
        };
        reader.ask()?;
        Ok(reader)
    }

    fn ask(&mut self) -> io::Result<()> {
        let request = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", self.path);
        self.stream.write_all(request.as_bytes())
    }

    /// Reads once, or connects again when it is time.
    fn turn(&mut self, tally: &mut Tally) {
        let now = Instant::now();
        let goes_on = match self.again_at {
            None => self.read(tally).is_some(),
            Some(at) if at > now => return,
            Some(_) => {
                let again = Reader::connect(self.to, self.path);
                again.map(|reader| *self = reader).is_ok()
            }
        };
        if !goes_on {
            self.again_at = Some(now + RECONNECT_DELAY);
            let end = match self.body.take() {
                Some(_) => &mut tally.cut,
                None => &mut tally.refused,
            };
            *end += 1;
        }
    }

    /// Returns `None` if the connection ended, or if there is an error instead of a page. If there
    /// are too many readers, the last are closed without an answer.
    fn read(&mut self, tally: &mut Tally) -> Option<()> {
        let mut buffer = [0; READ_BYTES];
        let mut count = match self.stream.read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Some(()),
            other => other.ok().filter(|count| *count > 0)?,
        };
        tally.bytes += count as u64;
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
            // Without a length it is endless.
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
            self.ask().ok()?;
            self.body = None;
        }
        Some(())
    }
}
