//! Clients of a Distributor's HTTP side that read slowly, each in a thread. Half of them follow
//! `/events`, half ask for `/metrics` again and again. Those that are cut come again.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::mem;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::format::Unit;
use super::report::Report;
use super::stop::Halt;
use super::target::HttpLoad;

/// What each reads at once. The receive buffer is as small: what it has not read is kept by the
/// server, and not by the kernel here.
const READ_BYTES: usize = 4096;
const READ_INTERVAL: Duration = Duration::from_millis(400);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// As long as browsers wait.
const RECONNECT_DELAY: Duration = Duration::from_secs(2);
/// They read at this many different times.
const SPREAD: f64 = 20.0;
const STACK_BYTES: usize = 128 << 10;

/// Clients that read until they are stopped or dropped.
#[derive(Debug)]
pub(crate) struct HttpReaders {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Tally>>,
}

/// What came of it.
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
        let failed = |error| {
            Halt::failed(format!(
                "the HTTP side at {} cannot be read: {error}",
                load.at
            ))
        };
        try_one(load.at).map_err(failed)?;
        let mut readers = HttpReaders {
            stop: Arc::default(),
            threads: Vec::new(),
        };
        for number in 0..load.readers {
            readers.add(load.at, number).map_err(failed)?;
        }
        Ok(readers)
    }

    fn add(&mut self, to: SocketAddr, number: usize) -> io::Result<()> {
        let path = if number.is_multiple_of(2) {
            "events"
        } else {
            "metrics"
        };
        let stop = Arc::clone(&self.stop);
        let mut reader = Reader::connect(to, path, &stop)?;
        // They do not all read at the same time.
        reader.input.get_mut().pause = READ_INTERVAL.mul_f64(number as f64 / SPREAD % 1.0);
        let run = move || {
            let mut tally = Tally::default();
            while !stop.load(Ordering::Relaxed) {
                reader.read_to_end(&mut tally);
                thread::park_timeout(RECONNECT_DELAY);
                if let Ok(again) = Reader::connect(to, path, &stop) {
                    reader = again;
                }
            }
            tally
        };
        let thread = thread::Builder::new().stack_size(STACK_BYTES);
        self.threads.push(thread.spawn(run)?);
        Ok(())
    }

    pub(crate) fn stop(mut self) -> Result<Tally, Halt> {
        self.signal();
        let mut tally = Tally::default();
        for thread in self.threads.drain(..) {
            let panicked = |_| Halt::failed("a thread of the HTTP readers panicked");
            tally.add(thread.join().map_err(panicked)?);
        }
        Ok(tally)
    }

    fn signal(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads
            .iter()
            .for_each(|thread| thread.thread().unpark());
    }
}

impl Drop for HttpReaders {
    fn drop(&mut self) {
        self.signal();
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

struct Reader {
    input: BufReader<SlowStream>,
    path: &'static str,
}

impl Reader {
    /// Connects and asks.
    fn connect(to: SocketAddr, path: &'static str, stop: &Arc<AtomicBool>) -> io::Result<Reader> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        socket.set_recv_buffer_size(READ_BYTES)?;
        socket.connect_timeout(&to.into(), CONNECT_TIMEOUT)?;
        let stream = SlowStream {
            stream: socket.into(),
            stop: Arc::clone(stop),
            pause: READ_INTERVAL,
            bytes: 0,
        };
        let input = BufReader::with_capacity(READ_BYTES, stream);
        let mut reader = Reader { input, path };
        reader.ask()?;
        reader.input.get_ref().stream.set_nonblocking(true)?;
        Ok(reader)
    }

    fn ask(&mut self) -> io::Result<()> {
        let request = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", self.path);
        self.input.get_mut().stream.write_all(request.as_bytes())
    }

    /// Reads responses, and asks again after each, until the connection ends.
    fn read_to_end(&mut self, tally: &mut Tally) {
        let end = loop {
            let Some(length) = self.read_head() else {
                break &mut tally.refused;
            };
            let mut body = self.input.by_ref().take(length);
            let read = io::copy(&mut body, &mut io::sink());
            if read.ok() != Some(length) || self.ask().is_err() {
                break &mut tally.cut;
            }
        };
        let stream = self.input.get_ref();
        *end += u64::from(!stream.stop.load(Ordering::Relaxed));
        tally.bytes += stream.bytes;
    }

    /// Returns the length of the body, which is endless if none is named; `None` if there is an error
    /// instead of a page. If there are too many readers, the last are closed without an answer.
    fn read_head(&mut self) -> Option<u64> {
        let mut line = String::new();
        self.input.read_line(&mut line).ok()?;
        let is_ok = line.split(' ').nth(1) == Some("200");
        let mut length = u64::MAX;
        while line != "\r\n" {
            line.clear();
            self.input
                .read_line(&mut line)
                .ok()
                .filter(|read| *read > 0)?;
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().ok()?;
            }
        }
        is_ok.then_some(length)
    }
}

/// Reads a little, now and then, until it is stopped.
struct SlowStream {
    stream: TcpStream,
    stop: Arc<AtomicBool>,
    /// Before the next read.
    pause: Duration,
    bytes: u64,
}

impl Read for SlowStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(READ_BYTES);
        loop {
            thread::park_timeout(mem::replace(&mut self.pause, READ_INTERVAL));
            if self.stop.load(Ordering::Relaxed) {
                return Err(io::Error::other("stopped"));
            }
            match self.stream.read(buffer.get_mut(..most).unwrap_or_default()) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Ok(count) => {
                    self.bytes += count as u64;
                    return Ok(count);
                }
                other => return other,
            }
        }
    }
}
