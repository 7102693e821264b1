//! Clients of a Distributor's HTTP side that read slowly, in a thread of their own. Half of them follow
//! `/events`, half ask for `/metrics`, and again when they have read the answer. Who is cut comes again.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::cli::failure::Failure;
use crate::cli::flood::format::Unit;
use crate::cli::flood::report::Report;

/// Each reads so much
const BYTES_AT_ONCE: usize = 4096;
/// when it is its group's turn: every 400 ms.
const TICK: Duration = Duration::from_millis(20);
const GROUPS: usize = 20;
/// What has been sent to who does not read is kept by the server, and not by the kernel here.
const RECEIVE_BUFFER_BYTES: usize = BYTES_AT_ONCE;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// As long as browsers wait.
const COMES_AGAIN_AFTER: Duration = Duration::from_secs(2);

/// They read until they are stopped.
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
    /// Connections that were closed, or told another status, before there was an answer.
    refused: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Tally) {
        self.bytes += other.bytes;
        self.cut += other.cut;
        self.refused += other.refused;
    }

    pub(crate) fn report(&self, report: &mut Report) {
        let mut figure = |name, unit, value: u64| {
            report.figure(name, unit, Some(value as f64), None);
        };
        figure(
            "read from the HTTP side, all rounds",
            Unit::Bytes,
            self.bytes,
        );
        figure("HTTP readers cut, all rounds", Unit::Count, self.cut);
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
    pub(crate) fn start(to: SocketAddr, count: usize) -> io::Result<HttpReaders> {
        try_one(to)?;
        let all = (0..count).map(|number| Reader::connect(to, number));
        let mut all = all.collect::<io::Result<Vec<Reader>>>()?;
        let stop = Arc::new(AtomicBool::new(false));
        let is_stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut tally = Tally::default();
            let mut due = Instant::now();
            for group in (0..GROUPS).cycle() {
                due += TICK;
                thread::sleep(due.saturating_duration_since(Instant::now()));
                if is_stopped.load(Ordering::Relaxed) {
                    break;
                }
                let of_group = all.iter_mut().skip(group).step_by(GROUPS);
                for reader in of_group.take_while(|_| !is_stopped.load(Ordering::Relaxed)) {
                    reader.read(to, &mut tally);
                }
            }
            tally
        });
        Ok(HttpReaders {
            stop,
            thread: Some(thread),
        })
    }

    pub(crate) fn stop(mut self) -> Result<Tally, Failure> {
        let tally = self.join().transpose();
        let panicked = |_| Failure::failed("the thread of the HTTP readers panicked");
        Ok(tally.map_err(panicked)?.unwrap_or_default())
    }

    fn join(&mut self) -> Option<thread::Result<Tally>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join)
    }
}

impl Drop for HttpReaders {
    fn drop(&mut self) {
        self.join();
    }
}

/// Fails where nobody would be answered.
fn try_one(to: SocketAddr) -> io::Result<()> {
    let config = ureq::Agent::config_builder().proxy(None);
    let config = config.timeout_global(Some(CONNECT_TIMEOUT));
    let asked = config
        .build()
        .new_agent()
        .get(format!("http://{to}/metrics"));
    asked.call().map(drop).map_err(io::Error::other)
}

#[derive(Debug)]
struct Reader {
    number: usize,
    /// Or since when it has none.
    stream: Result<TcpStream, Instant>,
    answer: Answer,
}

impl Reader {
    fn connect(to: SocketAddr, number: usize) -> io::Result<Reader> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
        socket.connect_timeout(&to.into(), CONNECT_TIMEOUT)?;
        let mut reader = Reader {
            number,
            stream: Ok(socket.into()),
            answer: Answer::default(),
        };
        reader.ask()?;
        if let Ok(stream) = &reader.stream {
            stream.set_nonblocking(true)?;
        }
        Ok(reader)
    }

    fn follows_events(&self) -> bool {
        self.number.is_multiple_of(2)
    }

    fn ask(&mut self) -> io::Result<()> {
        let path = if self.follows_events() {
            "events"
        } else {
            "metrics"
        };
        match &mut self.stream {
            Ok(stream) => write!(stream, "GET /{path} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
            Err(_) => Ok(()),
        }
    }

    fn read(&mut self, to: SocketAddr, tally: &mut Tally) {
        let stream = match &mut self.stream {
            Ok(stream) => stream,
            Err(since) if since.elapsed() < COMES_AGAIN_AFTER => return,
            Err(since) => {
                *since = Instant::now();
                if let Ok(again) = Reader::connect(to, self.number) {
                    *self = again;
                }
                return;
            }
        };
        let mut bytes = [0; BYTES_AT_ONCE];
        let came = match stream.read(&mut bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Ok(count) if count > 0 => bytes.get(..count).unwrap_or_default(),
            _ => &[],
        };
        let has_head = self.answer.left.is_some();
        let goes_on = match self.answer.take(came) {
            // Too many are closed before they are answered.
            Taken::Part if came.is_empty() && !has_head => {
                tally.refused += 1;
                self.stream = Err(Instant::now());
                return;
            }
            _ if came.is_empty() => false,
            Taken::Part => true,
            Taken::End => self.ask().is_ok(),
            Taken::Refused => {
                tally.refused += 1;
                self.stream = Err(Instant::now());
                return;
            }
        };
        tally.bytes += came.len() as u64;
        if !goes_on {
            tally.cut += 1;
            self.stream = Err(Instant::now());
        }
    }
}

/// How far an answer has come.
#[derive(Default, Debug)]
struct Answer {
    head: Vec<u8>,
    /// Of the body, once the head is there. What says no length has no end.
    left: Option<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Taken {
    Part,
    /// All of it: what comes next is of another answer.
    End,
    /// It is not what was asked for.
    Refused,
}

impl Answer {
    fn take(&mut self, bytes: &[u8]) -> Taken {
        let left = match self.left {
            Some(left) => left.saturating_sub(bytes.len()),
            None => {
                self.head.extend_from_slice(bytes);
                match head_of(&self.head) {
                    Some(Head {
                        is_ok: true,
                        body_at,
                        length,
                    }) => (body_at.saturating_add(length)).saturating_sub(self.head.len()),
                    Some(_) => return Taken::Refused,
                    None => return Taken::Part,
                }
            }
        };
        if left == 0 {
            *self = Answer::default();
            return Taken::End;
        }
        self.left = Some(left);
        Taken::Part
    }
}

struct Head {
    is_ok: bool,
    body_at: usize,
    length: usize,
}

/// `None` if it is not all there.
fn head_of(bytes: &[u8]) -> Option<Head> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(bytes);
    let body_at = match parsed {
        Ok(httparse::Status::Complete(body_at)) => body_at,
        Ok(httparse::Status::Partial) => return None,
        Err(_) => 0,
    };
    let is_length = |name: &str| name.eq_ignore_ascii_case("content-length");
    let length = response
        .headers
        .iter()
        .find(|header| is_length(header.name));
    let length = length.and_then(|header| std::str::from_utf8(header.value).ok()?.parse().ok());
    Some(Head {
        is_ok: parsed.is_ok() && response.code == Some(200),
        body_at,
        length: length.unwrap_or(usize::MAX),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_where_its_length_says_however_it_is_cut() {
        let text = b"HTTP/1.1 200 OK\r\nA: b\r\ncontent-length: 5\r\n\r\nhello";
        for size in 1..=text.len() {
            let mut answer = Answer::default();
            for _ in 0..2 {
                let pieces = text.chunks(size);
                let last = pieces.len() - 1;
                let taken: Vec<Taken> = pieces.map(|piece| answer.take(piece)).collect();
                let end = taken.iter().position(|taken| *taken == Taken::End);
                assert_eq!(end, Some(last), "{size}");
            }
        }
    }

    #[test]
    fn a_stream_has_no_end_and_a_refusal_is_none() {
        let mut answer = Answer::default();
        for piece in [&b"HTTP/1.1 200 OK\r\n\r\ndata: 1\n\n"[..], b"data: 2\n\n"] {
            assert_eq!(answer.take(piece), Taken::Part);
        }
        let refused = b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(Answer::default().take(refused), Taken::Refused);
        assert_eq!(Answer::default().take(b"no HTTP at all"), Taken::Refused);
    }
}
