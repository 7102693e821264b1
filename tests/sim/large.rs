//! A hundred thousand connections to one Distributor.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use pilcrow::distributor::{Config, Distributor};
use pilcrow::reactor::{Limits, Reactor};
use pilcrow::registry::Capacity;
use pilcrow::testing::sim::{Faults, Process, Random, Socket, World};
use pilcrow_simulation::wire::Wire;
use pilcrow_test_client::{Message, registration, session};

use crate::number;

const SECOND: Duration = Duration::from_secs(1);
/// Fewer than one host has ports for.
const CONNECTIONS_PER_HOST: usize = 25_000;

/// Many sessions of one host, in one process.
struct Crowd {
    process: Process,
    sessions: BTreeMap<Socket, Session>,
}

struct Session {
    wire: Wire,
    has_registered: bool,
    revision: u64,
    lists: u64,
}

impl Crowd {
    fn connect(&mut self, addr: SocketAddr, count: usize) {
        for _ in 0..count {
            let socket = self.process.connect(addr).expect("no fault is on");
            let session = Session {
                wire: Wire::new(socket),
                has_registered: false,
                revision: 0,
                lists: 0,
            };
            self.sessions.insert(socket, session);
        }
    }

    fn poke(&mut self, registration: &str) {
        for socket in self.process.take_ready() {
            let Some(session) = self.sessions.get_mut(&socket) else {
                continue;
            };
            if !session.has_registered {
                if !matches!(self.process.connected(socket), Ok(Some(_))) {
                    continue;
                }
                session.has_registered = true;
                session.wire.out.extend_from_slice(registration.as_bytes());
            }
            let read = session.wire.read(&mut self.process);
            read.expect("the Distributor closes no connection");
            let written = session.wire.write(&mut self.process);
            written.expect("the Distributor closes no connection");
            while let Some(frame) = session.wire.frames.next_frame() {
                session.follow(&frame);
            }
        }
    }
}

impl Session {
    fn follow(&mut self, frame: &[u8]) {
        let text = String::from_utf8_lossy(frame);
        let message = Message::read(&text).expect("a packet");
        let (Message::List {
            session: Some(session),
            ..
        }
        | Message::Changes { session, .. }) = message
        else {
            return;
        };
        assert!(
            self.lists == 0 || session.rev > self.revision,
            "revision {} after {}",
            session.rev,
            self.revision
        );
        self.revision = session.rev;
        self.lists += 1;
    }
}

/// Takes a minute or two: `cargo test --release --test sim -- --ignored --nocapture large`.
#[test]
#[ignore = "takes minutes: run with --ignored large"]
fn large() {
    let connections =
        number("CONNECTIONS").map_or(100_000, |count| usize::try_from(count).expect("it fits"));
    let began = Instant::now();
    let mut faults = Faults::none();
    faults.call = Duration::from_micros(1);
    let world = World::new(Random::new(1), faults).expect("/dev/null opens");
    world.keep_trace(1);
    let host = world.add_host(Ipv4Addr::new(10, 0, 0, 1).into());
    let process = world.start(host);
    let id = process.id();
    let limits = Limits {
        max_connections: connections + 1000,
        max_accepts_per_turn: 512,
        listen_backlog: u32::MAX,
        ..Limits::default()
    };
    let mut reactor = Reactor::simulated(process, limits);
    let mut distributor = Distributor::new(
        Config::default()
            .capacity(Capacity {
                max_entries: connections + 1000,
                ..Capacity::default()
            })
            // Heartbeats are rare: the test is about lists.
            .heartbeat(600 * SECOND)
            .silence(1800 * SECOND),
    );
    let addr: SocketAddr = ([10, 0, 0, 1], 9000).into();
    distributor
        .listen(reactor.net(), addr)
        .expect("the port is free");

    let mut crowds: Vec<Crowd> = Vec::new();
    let mut left = connections;
    while left > 0 {
        let number = u8::try_from(crowds.len() + 1).expect("few hosts");
        let host = world.add_host(Ipv4Addr::new(10, 1, 0, number).into());
        let mut crowd = Crowd {
            process: world.start(host),
            sessions: BTreeMap::new(),
        };
        let count = left.min(CONNECTIONS_PER_HOST);
        crowd.connect(addr, count);
        left -= count;
        crowds.push(crowd);
    }
    // Watchers are not listed: otherwise each of their joins would be a change for all others.
    let watcher = registration(1, r#"{"name":"w"}"#, &session("delta", None, None));
    let params = r#"{"port":9010,"name":"n"}"#;
    let node = registration(1, params, &session("none", None, None));

    let mut turns = 0_u64;
    let mut run = |time: Duration,
                   reactor: &mut Reactor,
                   distributor: &mut Distributor,
                   crowds: &mut Vec<Crowd>,
                   nodes: &mut Vec<Crowd>| {
        let end = world.now() + time;
        while world.now() < end {
            world.advance(world.now());
            let deadline = reactor.next_deadline();
            if world.is_ready(id) || deadline.is_some_and(|at| at <= world.now()) {
                reactor
                    .turn(Some(Duration::ZERO), distributor)
                    .expect("no fault is on");
                turns += 1;
            }
            crowds.iter_mut().for_each(|crowd| crowd.poke(&watcher));
            nodes.iter_mut().for_each(|crowd| crowd.poke(&node));
            let next = world.next_event().unwrap_or(end).min(end);
            let next = reactor.next_deadline().map_or(next, |at| next.min(at));
            world.advance(next.max(world.now() + Duration::from_micros(20)));
        }
    };

    let mut nodes: Vec<Crowd> = Vec::new();
    run(
        12 * SECOND,
        &mut reactor,
        &mut distributor,
        &mut crowds,
        &mut nodes,
    );
    assert_eq!(reactor.net().connections(), connections);
    let connected = began.elapsed();
    for step in 0..40_u8 {
        if step % 4 == 3 {
            nodes.remove(0);
        } else {
            let host = world.add_host(Ipv4Addr::new(10, 2, 0, step).into());
            let mut crowd = Crowd {
                process: world.start(host),
                sessions: BTreeMap::new(),
            };
            crowd.connect(addr, 1);
            nodes.push(crowd);
        }
        run(
            SECOND / 20,
            &mut reactor,
            &mut distributor,
            &mut crowds,
            &mut nodes,
        );
    }
    run(
        6 * SECOND,
        &mut reactor,
        &mut distributor,
        &mut crowds,
        &mut nodes,
    );
    let revision = distributor.registry().revision();
    let mut news = 0;
    for session in crowds.iter().flat_map(|crowd| crowd.sessions.values()) {
        assert_eq!(
            session.revision, revision,
            "a session does not know the last list"
        );
        news += session.lists;
    }
    let pushed = began.elapsed() - connected;
    drop(std::mem::take(&mut crowds));
    drop(std::mem::take(&mut nodes));
    run(
        5 * SECOND,
        &mut reactor,
        &mut distributor,
        &mut crowds,
        &mut nodes,
    );
    assert_eq!(reactor.net().connections(), 0);
    assert_eq!(distributor.registry().len(), 0);
    assert_eq!(world.sockets(id), 1);
    assert!(
        reactor.net().timers() <= 3,
        "{} timers are left",
        reactor.net().timers()
    );
    eprintln!(
        "{connections} connections: made in {connected:.1?}, {news} lists and changes in \
         {pushed:.1?}, all gone after {:.1?}; {turns} turns, {:?} of virtual time",
        began.elapsed(),
        world.now()
    );
}
