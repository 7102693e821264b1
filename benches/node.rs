//! A node's look-ups, and its calls beside a bare epoll echo of the same bytes in the same run.

#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::hint::black_box;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use pilcrow::node::{CallId, Config, Fleet, Node, Outcome, ReplyTo, Request, Service};
use pilcrow::reactor::{Limits, Reactor};
use serde_json::value::RawValue;

criterion_group!(benches, look_up, round_trip);
criterion_main!(benches);

/// About 64 bytes.
const PARAMS: &str = r#"{"name":"apples","count":12,"note":"sixty-four bytes of JSON"}"#;
const SECOND: Duration = Duration::from_secs(1);

/// Sends a list of so many nodes to whoever connects, as a Distributor without sessions does.
fn distributor_of(nodes: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let entries: Vec<String> = (0..nodes)
        .map(|n| format!(r#"{{"port":{},"name":"service-{n}","urls":["GET/service-{n}","POST/service-{n}"],"host":"127.0.0.1"}}"#, n + 1))
        .collect();
    let list = format!(
        r#"{{"uri":"/distributes","method":"GET","key":0,"params":[{}]}}¶"#,
        entries.join(",")
    );
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.write_all(list.as_bytes()).unwrap();
            // Held open for as long as the bench runs.
            std::mem::forget(stream);
        }
    });
    addr
}

fn look_up(criterion: &mut Criterion) {
    const NODES: usize = 1000;
    let mut reactor = Reactor::new(Limits::default()).unwrap();
    let config = Config {
        distributor: Some(distributor_of(NODES)),
        ..Config::default()
    };
    let mut node = Node::new(config, ());
    node.start(reactor.net()).unwrap();
    while node.fleet(reactor.net()).roster().members().len() < NODES {
        reactor.turn(Some(SECOND), &mut node).unwrap();
    }
    let fleet = node.fleet(reactor.net());
    let roster = fleet.roster();
    let paths: Vec<String> = (0..NODES).map(|n| format!("/service-{n}")).collect();
    let longer: Vec<String> = paths.iter().map(|path| format!("{path}/17")).collect();

    let mut group = criterion.benchmark_group("roster of 1000");
    let mut next = 0;
    group.bench_function("METHOD/path", |bencher| {
        bencher.iter(|| {
            next = (next + 1) % NODES;
            roster
                .serving(black_box("GET"), black_box(&paths[next]))
                .count()
        });
    });
    group.bench_function("longest prefix", |bencher| {
        bencher.iter(|| {
            next = (next + 1) % NODES;
            roster
                .serving_prefix(black_box("GET"), black_box(&longer[next]))
                .count()
        });
    });
    group.finish();
}

struct Echo;

impl Service for Echo {
    fn on_request(&mut self, fleet: &mut Fleet<'_>, request: &Request<'_>, reply_to: ReplyTo) {
        let params: &RawValue = request.parse_params().unwrap();
        fleet.reply(reply_to, params);
    }
}

#[derive(Default)]
struct Caller(u64);

impl Service for Caller {
    fn on_outcome(&mut self, _: &mut Fleet<'_>, _: CallId, outcome: Outcome<'_>) {
        assert!(matches!(outcome, Outcome::Reply(_)));
        self.0 += 1;
    }
}

/// A node that echoes, in a thread of its own.
fn echo_node() -> SocketAddr {
    let mut reactor = Reactor::new(Limits::default()).unwrap();
    let config = Config {
        listen: Some("127.0.0.1:0".parse().unwrap()),
        ..Config::default()
    };
    let mut node = Node::new(config, Echo);
    let addr = node.start(reactor.net()).unwrap().unwrap();
    // A reactor stays in the thread it was made in, so this one is made again there.
    drop((node, reactor));
    thread::spawn(move || {
        let mut reactor = Reactor::new(Limits::default()).unwrap();
        let config = Config {
            listen: Some(addr),
            ..Config::default()
        };
        let mut node = Node::new(config, Echo);
        node.start(reactor.net()).unwrap();
        loop {
            reactor.turn(None, &mut node).unwrap();
        }
    });
    addr
}

/// An echo with nothing between it and epoll, in a thread of its own.
fn bare_echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut stream = mio::net::TcpStream::from_std(stream);
        let mut poll = mio::Poll::new().unwrap();
        let mut events = mio::Events::with_capacity(8);
        let interest = mio::Interest::READABLE;
        poll.registry()
            .register(&mut stream, mio::Token(0), interest)
            .unwrap();
        let mut bytes = [0; 65536];
        loop {
            poll.poll(&mut events, None).unwrap();
            match stream.read(&mut bytes) {
                Ok(0) => return,
                Ok(count) => stream.write_all(&bytes[..count]).unwrap(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => panic!("{error}"),
            }
        }
    });
    addr
}

fn round_trip(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("round trip of 64-byte params");
    let params = RawValue::from_string(PARAMS.to_owned()).unwrap();

    // The same loop of poll, write and read on both sides; only what is between differs.
    let mut stream = mio::net::TcpStream::from_std({
        let stream = TcpStream::connect(bare_echo()).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_nonblocking(true).unwrap();
        stream
    });
    let request = format!(
        r#"{{"uri":"/echo","method":"GET","key":1234567,"deadline_ms":1000,"params":{PARAMS}}}¶"#
    );
    let mut poll = mio::Poll::new().unwrap();
    let mut events = mio::Events::with_capacity(8);
    poll.registry()
        .register(&mut stream, mio::Token(0), mio::Interest::READABLE)
        .unwrap();
    let mut bytes = [0; 65536];
    group.bench_function("bare epoll", |bencher| {
        bencher.iter(|| {
            stream.write_all(request.as_bytes()).unwrap();
            let mut missing = request.len();
            while missing > 0 {
                poll.poll(&mut events, None).unwrap();
                match stream.read(&mut bytes) {
                    Ok(count) => missing -= count,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => panic!("{error}"),
                }
            }
        });
    });

    let addr = echo_node();
    thread::sleep(Duration::from_millis(100));
    let mut reactor = Reactor::new(Limits::default()).unwrap();
    let mut node = Node::new(Config::default(), Caller::default());
    node.start(reactor.net()).unwrap();
    group.bench_function("node to node", |bencher| {
        bencher.iter(|| {
            let before = node.service().0;
            node.fleet(reactor.net())
                .call_at(addr, "GET", "/echo", &*params, SECOND);
            while node.service().0 == before {
                reactor.turn(None, &mut node).unwrap();
            }
        });
    });
    group.finish();
}
