//! `push_fanout`: pushing one change to all nodes, beside a bare loop that sends the same bytes to
//! as many sockets.
//!
//! Compares the processor time of the sending thread, including the kernel's part. The receivers
//! are in a process of their own.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

mod side_by_side;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use pilcrow::distributor::{Config, Distributor};
use pilcrow::reactor::{Limits, Reactor};
use pilcrow_test_client::{registration, session};
use serde_json::Value;
use side_by_side::{compare, cpu_of, is_selected, print_head};

const HOUR: Duration = Duration::from_secs(3600);
const ROUNDS: usize = 15;
/// The argument that makes this program the receivers.
const READERS: &str = "--readers";

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if args.get(1).is_some_and(|arg| arg == READERS) {
        return read(&args[2], &args[3], args[4].parse().unwrap(), &args[5]);
    }
    print_head();
    for (row, receivers, session) in [
        ("a list of 1,000 entries, to 1,000, each", 1000, Value::Null),
        (
            "a change as a delta, to 1,000 sessions, each",
            1000,
            session("delta", None, None),
        ),
        (
            "a change as a delta, to 5,000 sessions, each",
            5000,
            session("delta", None, None),
        ),
    ] {
        if is_selected(row) {
            fan_out(row, receivers, &session);
        }
    }
}

fn fan_out(row: &str, receivers: u32, session: &Value) {
    let mut fleet = Fleet::gather(receivers, session);
    // The bytes of a push on the wire, measured by one that is not counted.
    let (_, bytes) = fleet.push(None);
    let frame = vec![b'x'; usize::try_from(bytes).unwrap() / fleet.bare.len()];
    let (mut sockets, mut left) = (std::mem::take(&mut fleet.bare), Vec::new());
    compare(
        &format!("{row} {} bytes", frame.len()),
        ROUNDS,
        receivers,
        || fleet.push(Some(bytes)).0,
        || {
            thread::sleep(Duration::from_millis(50));
            cpu_of(|| send_bare(&mut sockets, &frame, &mut left))
        },
    );
    let (system_calls, turns) = fleet.system_calls;
    println!(
        "  {:.3} system calls to write each, and {turns} to wait for all",
        system_calls as f64 / f64::from(receivers)
    );
}

/// A Distributor in this thread, its sessions, and as many bare connections.
struct Fleet {
    reactor: Reactor,
    distributor: Distributor,
    bare: Vec<TcpStream>,
    /// Registers repeatedly, each time under another name.
    changer: TcpStream,
    changes: u64,
    /// Of the last push: writes, and turns of the loop.
    system_calls: (u64, u64),
    readers: Child,
}

impl Fleet {
    fn gather(receivers: u32, session: &Value) -> Fleet {
        let receivers = usize::try_from(receivers).unwrap();
        let any_port: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let limits = Limits {
            max_connections: 2 * receivers,
            first_byte_timeout: HOUR,
            ..Limits::default()
        };
        let mut reactor = Reactor::new(limits).unwrap();
        let mut distributor = Distributor::new(
            Config::default()
                .heartbeat(HOUR)
                .silence(HOUR)
                .warm_up(Duration::ZERO),
        );
        let ours = distributor.listen(reactor.net(), any_port).unwrap();
        let listener = TcpListener::bind(any_port).unwrap();
        let bare_addr = listener.local_addr().unwrap();
        let readers = Command::new(std::env::current_exe().unwrap())
            .args([READERS, &ours.to_string(), &bare_addr.to_string()])
            .args([receivers.to_string(), session.to_string()])
            .spawn()
            .unwrap();
        let accept = |_| {
            let (socket, _) = listener.accept().unwrap();
            socket.set_nonblocking(true).unwrap();
            socket.set_nodelay(true).unwrap();
            socket
        };
        let bare: Vec<TcpStream> = (0..receivers).map(accept).collect();
        while distributor.registry().len() < receivers {
            reactor.turn(None, &mut distributor).unwrap();
        }
        let changer = TcpStream::connect(ours).unwrap();
        let mut answers = changer.try_clone().unwrap();
        thread::spawn(move || std::io::copy(&mut answers, &mut std::io::sink()));
        let mut fleet = Fleet {
            reactor,
            distributor,
            bare,
            changer,
            changes: 0,
            system_calls: (0, 0),
            readers,
        };
        // Until the lists that the joins caused are all received.
        let mut written = 0;
        while written != fleet.reactor.net().counters().bytes_written {
            written = fleet.reactor.net().counters().bytes_written;
            fleet.settle();
        }
        fleet
    }

    /// Turns until nothing is left to send.
    fn settle(&mut self) {
        let until = Instant::now() + Duration::from_millis(1050);
        while Instant::now() < until {
            self.reactor
                .turn(Some(Duration::from_millis(100)), &mut self.distributor)
                .unwrap();
        }
    }

    /// Pushes one change to all. Returns its cost and the bytes written: those to the node that
    /// makes the change too, which has no session and is not counted as a receiver.
    fn push(&mut self, expected_bytes: Option<u64>) -> (Duration, u64) {
        // Long enough for each change to be one that requests an acknowledgement (at most one per
        // second), so that all are equally long, and for the last one to be received.
        self.settle();
        self.changes += 1;
        let name = format!("changer-{:06}", self.changes);
        let params =
            format!(r#"{{"port":9010,"name":"{name}","urls":["GET/changer","POST/changer"]}}"#);
        let registration = registration(1, params, &session("none", None, None));
        self.changer.write_all(registration.as_bytes()).unwrap();
        let before = *self.reactor.net().counters();
        let cost = cpu_of(|| {
            let silence = Duration::from_millis(300);
            loop {
                let seen = self.reactor.net().counters().bytes_written;
                let wait = if expected_bytes.is_some() {
                    Duration::from_secs(10)
                } else {
                    silence
                };
                self.reactor
                    .turn(Some(wait), &mut self.distributor)
                    .unwrap();
                let written = self.reactor.net().counters().bytes_written;
                match expected_bytes {
                    Some(expected) if written - before.bytes_written >= expected => break,
                    None if written == seen && written > before.bytes_written => break,
                    _ => {}
                }
            }
        });
        let after = *self.reactor.net().counters();
        self.system_calls = (after.writes - before.writes, after.turns - before.turns);
        let written = after.bytes_written - before.bytes_written;
        if let Some(expected) = expected_bytes {
            assert_eq!(written, expected, "each push is as long as the first");
        }
        (cost, written)
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let _ = self.readers.kill();
        let _ = self.readers.wait();
    }
}

/// Writes to each socket once, and again where one write was not enough.
fn send_bare(sockets: &mut [TcpStream], frame: &[u8], left: &mut Vec<(usize, usize)>) {
    for (index, socket) in sockets.iter_mut().enumerate() {
        match socket.write(frame) {
            Ok(written) if written == frame.len() => {}
            Ok(written) => left.push((index, written)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => left.push((index, 0)),
            Err(error) => panic!("{error}"),
        }
    }
    while !left.is_empty() {
        left.retain_mut(|(index, sent)| {
            match sockets[*index].write(&frame[*sent..]) {
                Ok(written) => *sent += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => panic!("{error}"),
            }
            *sent < frame.len()
        });
        thread::sleep(Duration::from_micros(200));
    }
}

/// Reads from connections to both until they end.
fn read(ours: &str, bare: &str, count: usize, session: &str) {
    let session: Value = serde_json::from_str(session).unwrap();
    let mut poll = Poll::new().unwrap();
    let mut streams = Vec::new();
    let connect = |addr: &str| TcpStream::connect(addr).unwrap();
    for _ in 0..count {
        streams.push(connect(bare));
    }
    for index in 0..count {
        let mut stream = connect(ours);
        let params = format!(
            r#"{{"port":9010,"name":"svc-{index:05}","urls":["GET/svc-{index:05}","POST/svc-{index:05}"]}}"#
        );
        let registration = registration(1, params, &session);
        stream.write_all(registration.as_bytes()).unwrap();
        streams.push(stream);
    }
    let mut streams: Vec<mio::net::TcpStream> = streams
        .into_iter()
        .map(|stream| {
            stream.set_nonblocking(true).unwrap();
            mio::net::TcpStream::from_std(stream)
        })
        .collect();
    for (index, stream) in streams.iter_mut().enumerate() {
        poll.registry()
            .register(stream, Token(index), Interest::READABLE)
            .unwrap();
    }
    let mut events = Events::with_capacity(1024);
    let mut bytes = vec![0; 256 << 10];
    loop {
        poll.poll(&mut events, None).unwrap();
        for event in &events {
            let stream = &mut streams[event.token().0];
            loop {
                match stream.read(&mut bytes) {
                    Ok(0) => return,
                    Ok(count) if count < bytes.len() => break,
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(_) => return,
                }
            }
        }
    }
}
