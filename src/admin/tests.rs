//! Tests of the admin API on a scripted system: the cost of requests for the nodes.

use std::time::Duration;

use serde_json::{Value, json};

use super::{AdminApi, Config, why};
use crate::distributor::{self, Distributor};
use crate::reactor::{Limits as LoopLimits, Reactor};
use crate::sys::SocketId;
use crate::testing::scripted::Scripted;
use crate::time::Time;

const MILLI: Duration = Duration::from_millis(1);

/// A Distributor with an admin API, in virtual time.
struct Bench {
    system: Scripted,
    reactor: Reactor,
    distributor: Distributor,
    admin: AdminApi,
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
        let mut admin = AdminApi::new(Config::default());
        let addr = |port| ([127, 0, 0, 1], port).into();
        admin
            .listen(reactor.net(), &mut distributor, addr(9001))
            .unwrap();
        distributor.listen(reactor.net(), addr(9000)).unwrap();
        Bench {
            system,
            reactor,
            distributor,
            admin,
        }
    }

    fn turn(&mut self, wait: Duration) {
        let mut both = self.admin.beside(&mut self.distributor);
        self.reactor.turn(Some(wait), &mut both).unwrap();
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
        self.system.world().connect(listener);
        self.turn(Duration::ZERO);
        self.system.world().last_accepted()
    }

    fn join(&mut self, name: &str, session: &Value) -> SocketId {
        let socket = self.connect(NODE_LISTENER);
        self.system.world().register(socket, name, session);
        self.turn(Duration::ZERO);
        socket
    }

    fn get(&mut self, target: &str) -> SocketId {
        let socket = self.connect(HTTP_LISTENER);
        self.get_on(socket, target);
        socket
    }

    fn get_on(&mut self, socket: SocketId, target: &str) {
        let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        self.system.world().arrive(socket, request.as_bytes());
    }

    /// Returns the time of the first bytes of the response.
    fn answered_at(&mut self, socket: SocketId) -> Time {
        while self.system.world().socket(socket).written.is_empty() {
            self.turn(MILLI);
        }
        self.now()
    }
}

#[test]
fn waits_for_costs_beyond_the_estimate() {
    let mut bench = Bench::new();
    // The system calls that write a response take a second.
    bench.system.world().write_takes = Duration::from_secs(1);
    let first = bench.get("/healthz");
    let answered = bench.answered_at(first);
    bench.system.world().write_takes = Duration::ZERO;
    let second = bench.get("/healthz");
    let waited = bench.answered_at(second).saturating_since(answered);
    assert!(waited >= Duration::from_secs(3), "{waited:?}");
    assert!(waited <= Duration::from_secs(5), "{waited:?}");
    // The next request is fast again.
    let now = bench.now();
    let third = bench.get("/healthz");
    let waited = bench.answered_at(third).saturating_since(now);
    assert!(waited <= 10 * MILLI, "{waited:?}");
}

#[test]
fn writes_long_lists_over_many_turns() {
    let mut bench = Bench::new();
    for number in 0..600 {
        bench.join(&format!("n{number}"), &Value::Null);
    }
    let client = bench.get("/nodes");
    let answers = |bench: &Bench| bench.system.world().socket(client).written.len();
    let mut turns = 0;
    while answers(&bench) == 0 {
        bench.turn(MILLI);
        turns += 1;
    }
    // At most 128 nodes in one turn, with turns for the nodes in between.
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

#[test]
fn answers_health_checks_first() {
    let mut bench = Bench::new();
    for number in 0..600 {
        bench.join(&format!("n{number}"), &Value::Null);
    }
    let clients: Vec<SocketId> = (0..10).map(|_| bench.connect(HTTP_LISTENER)).collect();
    let probe = bench.connect(HTTP_LISTENER);
    for client in &clients {
        bench.get_on(*client, "/nodes");
    }
    bench.get_on(probe, "/healthz");
    bench.answered_at(probe);
    let mut world = bench.system.world();
    let answered = clients
        .iter()
        .filter(|client| !world.socket(**client).written.is_empty());
    assert_eq!(answered.count(), 0);
}

#[test]
fn why_lists_late_sessions_of_each_change() {
    let mut bench = Bench::new();
    let sessions: Vec<SocketId> = (0..3)
        .map(|number| bench.join(&format!("n{number}"), &json!({"watch": "delta"})))
        .collect();
    let pushed = |bench: &mut Bench| {
        for _ in 0..10 {
            bench.turn(20 * MILLI);
        }
        bench.distributor.registry().revision()
    };
    pushed(&mut bench);
    let mut changes = Vec::new();
    for _ in 0..2 {
        let socket = bench.join("flapping", &Value::Null);
        changes.push(pushed(&mut bench));
        bench.system.world().end(socket);
        changes.push(pushed(&mut bench));
    }
    let late = |bench: &Bench| -> Vec<(u64, u64)> {
        let answer = why::explain(&bench.distributor, Some("flapping"), 100);
        let why: Value = serde_json::from_slice(&answer.body).unwrap();
        let pushes = why["events"].as_array().unwrap().iter();
        pushes
            .map(|event| {
                let push = &event["push"];
                let names = push["late_names"].as_array().map_or(0, Vec::len);
                assert_eq!(names as u64, push["late"], "{event}");
                (
                    push["rev"].as_u64().unwrap(),
                    push["late"].as_u64().unwrap(),
                )
            })
            .collect()
    };
    let requested = |bench: &Bench, name| -> Vec<Value> {
        let answer = why::explain(&bench.distributor, Some(name), 100);
        let why: Value = serde_json::from_slice(&answer.body).unwrap();
        let events = why["events"].as_array().unwrap().iter();
        events
            .map(|event| event["push"]["ack_asked"].clone())
            .collect()
    };
    assert_eq!(requested(&bench, "flapping"), [false; 4]);
    let each = |late: [u64; 4]| -> Vec<(u64, u64)> { changes.iter().copied().zip(late).collect() };
    assert_eq!(late(&bench), each([3, 3, 3, 3]));
    for (socket, revision) in sessions.into_iter().zip([changes[1], changes[3]]) {
        bench.system.world().beat(socket, revision);
    }
    bench.settle();
    assert_eq!(late(&bench), each([1, 1, 2, 2]));

    // One change per second requests an acknowledgement at once.
    for _ in 0..6 {
        pushed(&mut bench);
    }
    bench.join("calm", &Value::Null);
    pushed(&mut bench);
    assert_eq!(requested(&bench, "calm"), [true]);
}

#[test]
fn many_followers_take_turns_and_catch_up() {
    const FOLLOWERS: usize = 100;
    let mut bench = Bench::new();
    let all: Vec<SocketId> = (0..FOLLOWERS).map(|_| bench.get("/events")).collect();
    for socket in &all {
        bench.answered_at(*socket);
    }
    let received = |bench: &Bench, name: &str| {
        let mut world = bench.system.world();
        let of_it = |socket: &&SocketId| {
            let written = &world.socket(**socket).written;
            let end = &written[written.len().saturating_sub(500)..];
            memchr::memmem::find(end, name.as_bytes()).is_some()
        };
        all.iter().filter(of_it).count()
    };
    let pass_until_received = |bench: &mut Bench, name: &str| {
        let began = bench.now();
        while received(bench, name) < FOLLOWERS {
            bench.turn(MILLI);
        }
        bench.now().saturating_since(began)
    };
    let node = bench.join("alone", &Value::Null);
    let took = pass_until_received(&mut bench, "\"alone\"");
    assert!(took >= 400 * MILLI && took <= 600 * MILLI, "{took:?}");

    // Several times the amount that a follower receives at once.
    let rename = |bench: &mut Bench, name: &str| {
        bench.system.world().register(node, name, &Value::Null);
        bench.turn(Duration::ZERO);
    };
    for number in 0..2000 {
        rename(&mut bench, &format!("name-{number}"));
    }
    rename(&mut bench, "last");
    let took = pass_until_received(&mut bench, "\"last\"");
    assert!(took <= 1000 * MILLI, "{took:?}");
}

/// Returns the status, with the samples after the one with this number.
fn status(bench: &mut Bench, since: u64) -> Value {
    let client = bench.get(&format!("/status?since={since}"));
    bench.answered_at(client);
    let written = bench.system.world().socket(client).written.clone();
    let text = String::from_utf8(written).unwrap();
    serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[test]
fn keeps_figures_of_an_hour() {
    let mut bench = Bench::new();
    bench.turn(Duration::ZERO);
    let nodes: Vec<SocketId> = (0..3)
        .map(|number| bench.join(&format!("n{number}"), &Value::Null))
        .collect();
    bench.system.world().end(nodes[0]);
    bench.settle();
    let first = status(&mut bench, 0);
    let history = &first["history"];
    assert_eq!(history["last"], 1);
    let now = |name: &str| history["now"][name].clone();
    assert_eq!([now("nodes"), now("joined"), now("left")], [2, 3, 1]);
    assert_eq!(first["listen"], json!(["127.0.0.1:9000"]));

    let began = bench.now();
    while bench.now().saturating_since(began) < Duration::from_secs(2 * 3600) {
        bench.turn(Duration::from_secs(20));
    }
    let late = status(&mut bench, 0);
    let samples = late["history"]["samples"].as_array().unwrap();
    assert_eq!(samples.len(), 360);
    let time = |sample: &Value| sample["unix_ms"].as_u64().unwrap();
    for two in samples.windows(2) {
        let step = time(&two[1]) - time(&two[0]);
        assert!((10_000..10_100).contains(&step), "{step}");
        assert_eq!(two[1]["joined"], 0);
    }
    let last = late["history"]["last"].as_u64().unwrap();
    let since = |bench: &mut Bench, number| status(bench, number)["history"]["samples"].clone();
    assert_eq!(since(&mut bench, last), json!([]));
    assert_eq!(since(&mut bench, last - 2).as_array().unwrap().len(), 2);
    // A number of another run may be higher.
    assert_eq!(since(&mut bench, last + 100), json!([]));
}

#[test]
fn counts_sessions_that_are_late() {
    let mut bench = Bench::new();
    let session = bench.join("slow", &json!({"watch": "delta"}));
    let late = |bench: &mut Bench| status(bench, 0)["history"]["now"]["late"].clone();
    bench.join("new", &Value::Null);
    let pass = |bench: &mut Bench, seconds: u64| {
        let began = bench.now();
        while bench.now().saturating_since(began) < Duration::from_secs(seconds) {
            // Only enough that it is not silent.
            bench.system.world().beat(session, 1);
            bench.turn(Duration::ZERO);
            bench.turn(Duration::from_secs(1));
        }
    };
    assert_eq!(late(&mut bench), 0);
    pass(&mut bench, 9);
    assert_eq!(late(&mut bench), 0);
    pass(&mut bench, 14);
    assert_eq!(late(&mut bench), 1);
    let newest = bench.distributor.registry().revision();
    bench.system.world().beat(session, newest);
    bench.settle();
    assert_eq!(late(&mut bench), 0);
}
