//! The operator's side on a scripted system: what asking costs the nodes.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::*;
use crate::distributor;
use crate::reactor::{Limits as LoopLimits, Reactor};
use crate::sys::SocketId;
use crate::sys::scripted::{Accept, Scripted};
use crate::time::Time;

const MILLI: Duration = Duration::from_millis(1);

/// A Distributor with an operator's side, in virtual time.
struct Bench {
    system: Scripted,
    reactor: Reactor,
    distributor: Distributor,
    operator: Operator,
}

const HTTP_LISTENER: SocketId = SocketId(0);
const NODE_LISTENER: SocketId = SocketId(1);

impl Bench {
    fn new() -> Bench {
        let system = Scripted::new();
        let mut reactor = Reactor::on(Box::new(system.clone()), LoopLimits::default());
        let mut distributor = Distributor::new(distributor::Config {
            warm_up: Duration::ZERO,
            ..distributor::Config::default()
        });
        let mut operator = Operator::new(Config::default());
        let addr = |port| ([127, 0, 0, 1], port).into();
        operator
            .listen(reactor.net(), &mut distributor, addr(9001))
            .unwrap();
        distributor.listen(reactor.net(), addr(9000)).unwrap();
        Bench {
            system,
            reactor,
            distributor,
            operator,
        }
    }

    fn turn(&mut self, wait: Duration) {
        let mut both = self.operator.beside(&mut self.distributor);
        self.reactor.turn(Some(wait), &mut both).unwrap();
        let (ended, began) = (self.reactor.now(), self.reactor.turn_began_at());
        self.distributor.note_turn(ended.saturating_since(began));
    }

    fn settle(&mut self) {
        for _ in 0..5 {
            self.turn(Duration::ZERO);
        }
    }

    fn now(&self) -> Time {
        self.system.world().now
    }

    fn connect(&mut self, listener: SocketId) -> SocketId {
        let mut world = self.system.world();
        world.accepts.push_back(Accept::Connection);
        world.event(listener, true, false, false);
        drop(world);
        self.turn(Duration::ZERO);
        *self.system.world().accepted.last().unwrap()
    }

    fn send(&mut self, socket: SocketId, packet: &Value) {
        let frame = format!("{packet}¶");
        self.system.world().arrive(socket, frame.as_bytes());
    }

    fn join(&mut self, name: &str, session: Option<Value>) -> SocketId {
        let socket = self.connect(NODE_LISTENER);
        let mut packet = json!({"uri": "/distributes", "method": "POST", "key": 1,
            "params": {"port": 1, "name": name}});
        if let Some(session) = session {
            packet["session"] = session;
        }
        self.send(socket, &packet);
        self.turn(Duration::ZERO);
        socket
    }

    fn ask(&mut self, target: &str) -> SocketId {
        let socket = self.connect(HTTP_LISTENER);
        let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        self.system.world().arrive(socket, request.as_bytes());
        socket
    }

    /// When something of an answer was there.
    fn answered_at(&mut self, socket: SocketId) -> Time {
        while self.system.world().socket(socket).written.is_empty() {
            self.turn(MILLI);
        }
        self.now()
    }
}

#[test]
fn what_took_longer_than_was_reckoned_is_waited_for_as_well() {
    let mut bench = Bench::new();
    // The system calls that write an answer take a second.
    bench.system.world().write_takes = Duration::from_secs(1);
    let first = bench.ask("/healthz");
    let answered = bench.answered_at(first);
    bench.system.world().write_takes = Duration::ZERO;
    let second = bench.ask("/healthz");
    let waited = bench.answered_at(second).saturating_since(answered);
    assert!(waited >= Duration::from_secs(3), "{waited:?}");
    assert!(waited <= Duration::from_secs(5), "{waited:?}");
    // That was once.
    let now = bench.now();
    let third = bench.ask("/healthz");
    let waited = bench.answered_at(third).saturating_since(now);
    assert!(waited <= 10 * MILLI, "{waited:?}");
}

#[test]
fn a_long_list_is_written_in_many_short_turns() {
    let mut bench = Bench::new();
    for number in 0..600 {
        bench.join(&format!("n{number}"), None);
    }
    let client = bench.ask("/nodes");
    let answers = |bench: &Bench| bench.system.world().socket(client).written.len();
    let mut turns = 0;
    while answers(&bench) == 0 {
        bench.turn(MILLI);
        turns += 1;
    }
    // At most 128 in each, and between two of them the loop was left to the nodes.
    assert!(turns >= 5, "{turns}");
    for _ in 0..20 {
        bench.turn(MILLI);
    }
    let written = bench.system.world().socket(client).written.clone();
    let text = String::from_utf8(written).unwrap();
    let (_, body) = text.split_once("\r\n\r\n").unwrap();
    let list: Value = serde_json::from_str(body).unwrap();
    assert_eq!(list["nodes"].as_array().unwrap().len(), 600);
}

/// Each event was looked up among all sessions: with thousands of them the loop stood still for
/// half a second.
#[test]
fn why_takes_no_longer_because_many_are_late() {
    let mut bench = Bench::new();
    let sessions: Vec<SocketId> = (0..1500)
        .map(|number| bench.join(&format!("n{number}"), Some(json!({"watch": "delta"}))))
        .collect();
    for _ in 0..500 {
        let socket = bench.join("flapping", None);
        bench.system.world().end(socket);
        bench.turn(Duration::ZERO);
    }
    bench.turn(100 * MILLI);
    bench.settle();
    let shortest = |bench: &Bench| {
        let ask = |_| {
            let began = Instant::now();
            let answer = why::answer(&bench.distributor, None, Some(1000));
            let took = began.elapsed();
            let why: Value = serde_json::from_slice(&answer.body).unwrap();
            let events = why["events"].as_array().unwrap();
            let late = events
                .iter()
                .filter_map(|event| event["push"]["late"].as_u64());
            (took, late.max())
        };
        let asked: Vec<(Duration, Option<u64>)> = (0..5).map(ask).collect();
        let late = asked[0].1;
        (asked.into_iter().map(|(took, _)| took).min().unwrap(), late)
    };
    let (with_late, late) = shortest(&bench);
    assert_eq!(late, Some(1500));
    let revision = bench.distributor.registry().revision();
    for socket in sessions {
        bench.send(
            socket,
            &json!({"uri": "/distributes/heartbeat", "method": "POST", "key": null,
                "session": {"rev": revision}}),
        );
    }
    bench.settle();
    let (without, late) = shortest(&bench);
    assert_eq!(late, Some(0));
    assert!(with_late < 4 * without, "{with_late:?} and {without:?}");
}
