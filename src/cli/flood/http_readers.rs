//! Clients of a Distributor's HTTP side that read slowly, in a thread of their own. Half of them follow
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
/// One group reads each tick, so that each client reads every 400 ms.
const TICK: Duration = Duration::from_millis(20);
const GROUPS: usize = 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// As long as browsers wait.
const RECONNECT_DELAY: Duration = Duration::from_secs(2);

/// Clients that read until they are stopped or dropped.
#[derive(Debug)]
pub(crate) struct HttpReaders {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Tally>>,
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
        HttpReaders::connect(load.at, load.readers).map_err(|error| {
            Halt::failed(format!(
                "the HTTP side at {} cannot be read: {error}",
                load.at
            ))
        })
    }

    fn connect(to: SocketAddr, count: usize) -> io::Result<HttpReaders> {
        try_one(to)?;
        let all = (0..count).map(|number| Reader::connect(to, number));
        let mut all = all.collect::<io::Result<Vec<Reader>>>()?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut tally = Tally::default();
            let mut due = Instant::now();
            for group in (0..GROUPS).cycle() {
                due += TICK;
                thread::sleep(due.saturating_duration_since(Instant::now()));
                for reader in all.iter_mut().skip(group).step_by(GROUPS) {
                    if stopped.load(Ordering::Relaxed) {
                        return tally;
                    }
                    reader.turn(to, &mut tally);
                }
            }
            tally
        });
        Ok(HttpReaders {
            stop,
            thread: Some(thread),
        })
    }

    pub(crate) fn stop(mut self) -> Result<Tally, Halt> {
        let panicked = || Halt::failed("the thread of the HTTP readers panicked");
        self.join().ok_or_else(panicked)
    }

    fn join(&mut self) -> Option<Tally> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take()?.join().ok()
    }
}

impl Drop for HttpReaders {
    fn drop(&mut self) {
        self.join();
    }
}

/// Fails where no client would get an answer.
fn try_one(to: SocketAddr) -> io::Result<()> {
    let config = ureq::Agent::config_builder().proxy(None);
    let agent = config
        .timeout_global(Some(CONNECT_TIMEOUT))
        .build()
        .new_agent();
    let response = agent.get(format!("http://{to}/metrics")).call();
    response.map(drop).map_err(io::Error::other)
}

#[derive(Debug)]
struct Reader {
    number: usize,
    /// Or since when it has none.
    stream: Result<TcpStream, Instant>,
    response: Response,
}

impl Reader {
    fn connect(to: SocketAddr, number: usize) -> io::Result<Reader> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        socket.set_recv_buffer_size(READ_BYTES)?;
        socket.connect_timeout(&to.into(), CONNECT_TIMEOUT)?;
        let mut stream = TcpStream::from(socket);
        ask(&mut stream, number)?;
        stream.set_nonblocking(true)?;
        Ok(Reader {
            number,
            stream: Ok(stream),
            response: Response::default(),
        })
    }

    /// Reads once, or comes again after a while.
    fn turn(&mut self, to: SocketAddr, tally: &mut Tally) {
        let stream = match &mut self.stream {
            Ok(stream) => stream,
            Err(since) if since.elapsed() < RECONNECT_DELAY => return,
            Err(since) => {
                *since = Instant::now();
                if let Ok(again) = Reader::connect(to, self.number) {
                    *self = again;
                }
                return;
            }
        };
        let mut buffer = [0; READ_BYTES];
        let bytes = match stream.read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Ok(count) => buffer.get(..count).unwrap_or_default(),
            Err(_) => &[],
        };
        let progress = match self.response.left {
            // If there are too many, the last are closed before they are answered.
            None if bytes.is_empty() => Progress::Refused,
            _ => self.response.take(bytes),
        };
        if progress != Progress::Refused {
            tally.bytes += bytes.len() as u64;
        }
        let is_over = match progress {
            Progress::Refused => {
                tally.refused += 1;
                true
            }
            _ if bytes.is_empty() => {
                tally.cut += 1;
                true
            }
            Progress::Partial => false,
            Progress::Complete => {
                let asked = ask(stream, self.number);
                tally.cut += u64::from(asked.is_err());
                asked.is_err()
            }
        };
        if is_over {
            self.stream = Err(Instant::now());
        }
    }
}

fn ask(stream: &mut TcpStream, number: usize) -> io::Result<()> {
    let path = if number.is_multiple_of(2) {
        "events"
    } else {
        "metrics"
    };
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

/// A response that arrives in pieces.
#[derive(Default, Debug)]
struct Response {
    head: Vec<u8>,
    /// Bytes left of the body, once the head is there. Without a length it has no end.
    left: Option<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Progress {
    Partial,
    /// What comes next is of another response.
    Complete,
    /// It has another status than 200, or is not HTTP.
    Refused,
}

impl Response {
    fn take(&mut self, bytes: &[u8]) -> Progress {
        let mut of_body = bytes.len();
        if self.left.is_none() {
            self.head.extend_from_slice(bytes);
            let mut headers = [httparse::EMPTY_HEADER; 32];
            let mut head = httparse::Response::new(&mut headers);
            let body_at = match head.parse(&self.head) {
                Ok(httparse::Status::Complete(body_at)) if head.code == Some(200) => body_at,
                Ok(httparse::Status::Partial) => return Progress::Partial,
                _ => return Progress::Refused,
            };
            let is_length = |name: &str| name.eq_ignore_ascii_case("content-length");
            let length = head.headers.iter().find(|header| is_length(header.name));
            let length = length.and_then(|header| str::from_utf8(header.value).ok()?.parse().ok());
            self.left = Some(length.unwrap_or(usize::MAX));
            of_body = self.head.len() - body_at;
        }
        self.left = self.left.map(|left| left.saturating_sub(of_body));
        if self.left == Some(0) {
            *self = Response::default();
            return Progress::Complete;
        }
        Progress::Partial
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_ends_where_its_length_says_however_it_is_cut() {
        let text = b"HTTP/1.1 200 OK\r\nA: b\r\ncontent-length: 5\r\n\r\nhello";
        for size in 1..=text.len() {
            let mut response = Response::default();
            for _ in 0..2 {
                let taken: Vec<_> = text
                    .chunks(size)
                    .map(|piece| response.take(piece))
                    .collect();
                let (last, others) = taken.split_last().unwrap();
                assert_eq!(*last, Progress::Complete, "{size}");
                assert!(
                    others.iter().all(|taken| *taken == Progress::Partial),
                    "{size}"
                );
            }
        }
    }

    #[test]
    fn a_stream_has_no_end_and_a_refusal_is_not_a_response() {
        let mut response = Response::default();
        for piece in [&b"HTTP/1.1 200 OK\r\n\r\ndata: 1\n\n"[..], b"data: 2\n\n"] {
            assert_eq!(response.take(piece), Progress::Partial);
        }
        for refusal in [
            &b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n"[..],
            b"not HTTP",
        ] {
            assert_eq!(Response::default().take(refusal), Progress::Refused);
        }
    }
}
