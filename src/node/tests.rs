//! The node on a scripted system: every order and every failure, in virtual time.

mod names;

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::node_core::MAX_POSTED_PER_TURN;
use super::*;
use crate::protocol::Route;
use crate::reactor::{Limits, Reactor};
use crate::sys::SocketId;
use crate::testing::scripted::{Scripted, World, Write};
use crate::time::Time;

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn distributor() -> SocketAddr {
    "127.0.0.1:9000".parse().unwrap()
}

fn peer(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Notes all that it is told, in words, and answers requests by what `serve` says.
#[derive(Default)]
struct Notes {
    outcomes: Vec<(CallId, String)>,
    events: Vec<String>,
    requests: usize,
    forwards: bool,
}

impl Service for Notes {
    fn on_request(&mut self, cx: &mut Context<'_>, request: &Request<'_>, reply_to: ReplyTo) {
        self.requests += 1;
        if self.forwards {
            cx.call(&Route::get("/goods"), &json!({}), 10 * SECOND);
        }
        cx.reply(reply_to, &request.route.path);
    }

    fn on_result(
        &mut self,
        _cx: &mut Context<'_>,
        call: CallId,
        result: Result<Reply<'_>, CallError<'_>>,
    ) {
        let words = match result {
            Ok(reply) => format!("reply {}", reply.results()),
            Err(CallError::Refused(reply)) => format!("refused {}", reply.errorcode),
            Err(CallError::Deadline) => "deadline".to_owned(),
            Err(CallError::ConnectionLost) => "lost".to_owned(),
            Err(CallError::Unavailable) => "unavailable".to_owned(),
        };
        self.outcomes.push((call, words));
    }

    fn on_event(&mut self, _cx: &mut Context<'_>, event: Event) {
        self.events.push(match event {
            Event::Link(state) => format!("{state:?}"),
            Event::RegistrationRefused(reply) => format!("refused {}", reply.errorcode),
            Event::Joined(member) => format!("+{}", member.node.port.unwrap_or(0)),
            Event::Left(member) => format!("-{}", member.node.port.unwrap_or(0)),
            Event::Waited(_, there) => format!("waited {there}"),
            Event::Drained(drained) => format!("drained {} of {}", drained.acked, drained.total),
            Event::DrainedUnproven => "drained unproven".to_owned(),
        });
    }
}

/// A node on a scripted system, and what is around it.
struct Bench {
    system: Scripted,
    reactor: Reactor,
    node: Node<Notes>,
}

impl Bench {
    fn new() -> Bench {
        Bench::with(Config::default())
    }

    fn with(config: Config) -> Bench {
        let system = Scripted::new();
        let config = Config {
            name: "n".to_owned(),
            listen: Some("127.0.0.1:7000".parse().unwrap()),
            distributor: Some(distributor().into()),
            ..config
        };
        let mut bench = Bench {
            reactor: Reactor::on(Box::new(system.clone()), Limits::default()),
            system,
            node: Node::new(config, Notes::default()),
        };
        bench.node.start(bench.reactor.net()).unwrap();
        bench
    }

    /// A node with a session, and these ports in its view, numbered from 1.
    fn registered(ports: &[u16]) -> Bench {
        let mut bench = Bench::new();
        let link = bench.open(distributor());
        bench.welcome(link, "e1", 5000);
        bench.list(
            link,
            ports,
            json!({"epoch": "e1", "rev": 1, "complete": true}),
        );
        bench.node.service.events.clear();
        bench.sent(link);
        bench
    }

    fn world(&self) -> std::cell::RefMut<'_, World> {
        self.system.world()
    }

    fn now(&self) -> Time {
        self.world().now
    }

    fn turn(&mut self) {
        self.reactor
            .turn(Some(Duration::ZERO), &mut self.node)
            .unwrap();
    }

    /// Turns until what waits for the next turn is told, too.
    fn settle(&mut self) {
        self.pass(2 * MILLI);
    }

    /// Lets virtual time pass, in as many turns as the reactor wants.
    fn pass(&mut self, time: Duration) {
        self.system.pass(&mut self.reactor, &mut self.node, time);
        self.turn();
    }

    #[track_caller]
    fn pass_until(&mut self, done: impl Fn(&Bench) -> bool) {
        let until = self.now() + 60 * SECOND;
        while !done(self) {
            assert!(self.now() < until, "it never comes to that");
            self.pass(10 * MILLI);
        }
    }

    /// The open sockets that were told to connect to `addr`, the oldest first.
    fn sockets(&self, addr: SocketAddr) -> Vec<SocketId> {
        let world = self.world();
        let connects = world.sockets.iter();
        connects
            .filter(|(_, socket)| socket.peer == Some(addr))
            .map(|(id, _)| SocketId(id))
            .collect()
    }

    #[track_caller]
    fn socket(&self, addr: SocketAddr) -> SocketId {
        *self.sockets(addr).last().expect("it connects")
    }

    /// Lets the connect to `addr` succeed.
    #[track_caller]
    fn open(&mut self, addr: SocketAddr) -> SocketId {
        let socket = self.socket(addr);
        self.world().socket(socket).connected = Some(Ok(()));
        self.world().event(socket, false, true, false);
        self.turn();
        socket
    }

    /// Somebody connects to the node.
    fn accept(&mut self) -> SocketId {
        self.world().connect(SocketId(0));
        self.turn();
        self.world().last_accepted()
    }

    #[track_caller]
    fn refuse(&mut self, addr: SocketAddr) {
        let socket = self.socket(addr);
        self.world().socket(socket).connected = Some(Err(ErrorKind::ConnectionRefused));
        self.world().event(socket, true, true, true);
        self.settle();
    }

    fn end(&mut self, socket: SocketId) {
        self.world().end(socket);
        self.settle();
    }

    fn receive(&mut self, socket: SocketId, packet: &Value) {
        self.world().send(socket, packet);
        self.settle();
    }

    /// The packets that `socket` was sent since the last look.
    fn sent(&mut self, socket: SocketId) -> Vec<Value> {
        self.world().take_sent(socket)
    }

    /// Answers the registration as a Distributor with sessions does.
    fn welcome(&mut self, link: SocketId, epoch: &str, heartbeat_ms: u64) {
        let post = self.sent(link).pop().expect("a registration");
        assert_eq!(post["method"], "POST");
        let results = json!({"id": 1, "epoch": epoch, "rev": 0, "heartbeat_ms": heartbeat_ms});
        self.receive(
            link,
            &json!({"key": post["key"], "errorcode": 0, "errormessage": "success", "results": results}),
        );
    }

    /// Sends a list of nodes on these ports, with a session if it is an object.
    fn list(&mut self, link: SocketId, ports: &[u16], mut session: Value) {
        let entries: Vec<Value> = ports.iter().map(|port| entry(*port)).collect();
        let mut list = json!({"uri": "/distributes", "method": "GET", "key": 0, "params": entries});
        if session.is_object() {
            session["ids"] = (1..=ports.len()).collect();
            list["session"] = session;
        }
        self.receive(link, &list);
    }

    fn call(&mut self) -> CallId {
        self.call_with(SECOND, false)
    }

    fn call_with(&mut self, deadline: Duration, is_idempotent: bool) -> CallId {
        let mut cx = self.node.context(self.reactor.net());
        match is_idempotent {
            true => cx.call_idempotent(&Route::get("/goods"), &json!({}), deadline),
            false => cx.call(&Route::get("/goods"), &json!({}), deadline),
        }
    }

    fn reply(&mut self, socket: SocketId, request: &Value) {
        self.receive(
            socket,
            &json!({"key": request["key"], "errorcode": 0, "errormessage": "success", "results": 7}),
        );
    }

    fn outcomes(&mut self) -> Vec<String> {
        let outcomes = self.node.service.outcomes.drain(..);
        outcomes.map(|(_, words)| words).collect()
    }

    fn events(&mut self) -> Vec<String> {
        std::mem::take(&mut self.node.service.events)
    }

    fn ports(&self) -> Vec<u16> {
        let members = self.node.core.link.roster.members().iter();
        members.filter_map(|member| member.node.port).collect()
    }

    fn state(&self) -> LinkState {
        self.node.core.link.state()
    }
}

fn entry(port: u16) -> Value {
    json!({"port": port, "name": "goods", "urls": ["GET/goods"], "host": "127.0.0.1"})
}

#[test]
fn a_call_connects_and_ends_with_its_reply() {
    let mut bench = Bench::registered(&[1]);
    let call = bench.call();
    assert!(bench.node.service.outcomes.is_empty());
    let socket = bench.open(peer(1));
    let request = bench.sent(socket).remove(0);
    assert_eq!(
        (&request["uri"], &request["method"]),
        (&json!("/goods"), &json!("GET"))
    );
    assert_eq!(request["deadline_ms"], 1000);
    bench.reply(socket, &request);
    bench.reply(socket, &request);
    bench.end(socket);
    bench.pass(2 * SECOND);
    assert_eq!(bench.node.service.outcomes, [(call, "reply 7".to_owned())]);
}

#[test]
fn a_deadline_ends_a_call_once_and_its_late_reply_is_nobodys() {
    let mut bench = Bench::registered(&[1]);
    bench.call();
    let socket = bench.open(peer(1));
    let request = bench.sent(socket).remove(0);
    bench.pass(999 * MILLI);
    assert!(bench.outcomes().is_empty());
    bench.pass(3 * MILLI);
    assert_eq!(bench.outcomes(), ["deadline"]);
    bench.reply(socket, &request);
    assert!(bench.outcomes().is_empty());
    assert_eq!(bench.node.core.caller.len(), 0);
}

#[test]
fn a_nested_call_waits_no_longer_than_whoever_is_served() {
    let mut bench = Bench::registered(&[1]);
    bench.node.service.forwards = true;
    let caller = bench.accept();
    bench.receive(
        caller,
        &json!({"uri": "/x", "method": "GET", "key": 5, "deadline_ms": 300, "params": null}),
    );
    assert_eq!(bench.sent(caller)[0]["results"], "/x");
    bench.pass(100 * MILLI);
    let socket = bench.open(peer(1));
    // What is left when it is sent.
    assert_eq!(bench.sent(socket)[0]["deadline_ms"], 198);
    bench.pass(202 * MILLI);
    assert_eq!(bench.outcomes(), ["deadline"]);

    bench.receive(
        caller,
        &json!({"uri": "/x", "method": "GET", "key": 6, "deadline_ms": 0}),
    );
    assert_eq!(bench.sent(caller)[0]["errorcode"], 7);
    assert_eq!(bench.node.service.requests, 1);
}

#[test]
fn a_call_that_nobody_serves_is_told_so_later() {
    let mut bench = Bench::registered(&[]);
    bench.call();
    assert!(bench.node.service.outcomes.is_empty());
    bench.settle();
    assert_eq!(bench.outcomes(), ["unavailable"]);
}

#[test]
fn what_was_never_written_goes_to_another_node() {
    let mut bench = Bench::registered(&[1, 2]);
    for _ in 0..10 {
        bench.call();
    }
    bench.settle();
    bench.refuse(peer(1));
    let socket = bench.open(peer(2));
    let requests = bench.sent(socket);
    assert_eq!(requests.len(), 10);
    for request in &requests {
        bench.reply(socket, request);
    }
    assert_eq!(bench.outcomes(), ["reply 7"; 10]);
}

#[test]
fn of_what_was_written_in_part_only_the_whole_ones_are_lost() {
    let mut bench = Bench::registered(&[1]);
    for _ in 0..3 {
        bench.call();
    }
    let socket = bench.socket(peer(1));
    let list = json!({"uri": "/distributes", "method": "GET", "key": 0, "params": [entry(1), entry(2)],
        "session": {"epoch": "e1", "rev": 2, "complete": true, "ids": [1, 2]}});
    let link = bench.socket(distributor());
    bench.receive(link, &list);
    // The first request whole, and a little of the second.
    bench
        .world()
        .socket(socket)
        .writes
        .extend([Write::Takes(90), Write::Takes(0)]);
    bench.open(peer(1));
    assert_eq!(bench.sent(socket).len(), 1);
    bench.end(socket);
    assert_eq!(bench.outcomes(), ["lost"]);
    let other = bench.open(peer(2));
    assert_eq!(bench.sent(other).len(), 2);
}

#[test]
fn what_may_have_arrived_is_moved_only_if_it_does_no_harm_twice() {
    for is_idempotent in [false, true] {
        let mut bench = Bench::registered(&[1, 2]);
        bench.call_with(SECOND, is_idempotent);
        bench.settle();
        let first = [1, 2]
            .into_iter()
            .find(|port| !bench.sockets(peer(*port)).is_empty());
        let first = first.unwrap();
        let socket = bench.open(peer(first));
        assert_eq!(bench.sent(socket).len(), 1);
        bench.end(socket);
        if is_idempotent {
            assert!(bench.outcomes().is_empty());
            let socket = bench.open(peer(3 - first));
            let request = bench.sent(socket).remove(0);
            bench.reply(socket, &request);
            assert_eq!(bench.outcomes(), ["reply 7"]);
        } else {
            assert_eq!(bench.outcomes(), ["lost"]);
        }
    }
}

#[test]
fn a_peer_that_refuses_is_asked_again_after_growing_pauses() {
    let mut bench = Bench::registered(&[1, 2]);
    let mut tried_at = Vec::new();
    let mut good = None;
    for random in 0.. {
        if bench.now() > Time::from_millis(12_000) {
            break;
        }
        bench.world().random = random;
        bench.call();
        bench.settle();
        if !bench.sockets(peer(1)).is_empty() {
            tried_at.push(bench.now().as_millis());
            bench.refuse(peer(1));
        }
        if good.is_none() && !bench.sockets(peer(2)).is_empty() {
            good = Some(bench.open(peer(2)));
        }
        if let Some(good) = good {
            for request in bench.sent(good) {
                bench.reply(good, &request);
            }
        }
    }
    let outcomes = bench.outcomes();
    assert!(
        outcomes.iter().all(|outcome| outcome == "reply 7"),
        "{outcomes:?}"
    );
    let pauses: Vec<u64> = tried_at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!((5..=9).contains(&pauses.len()), "{pauses:?}");
    let mut pause = 100;
    for waited in &pauses {
        // Half of it to all of it, and until chance picks the peer again.
        assert!((pause / 2..2 * pause + 200).contains(waited), "{pauses:?}");
        pause *= 2;
    }
}

#[test]
fn nobody_has_more_calls_than_allowed() {
    let mut bench = Bench::with(Config {
        max_in_flight_per_peer: 2,
        ..Config::default()
    });
    let link = bench.open(distributor());
    bench.welcome(link, "e1", 5000);
    bench.list(
        link,
        &[1],
        json!({"epoch": "e1", "rev": 1, "complete": true}),
    );
    for _ in 0..3 {
        bench.call();
    }
    let socket = bench.open(peer(1));
    bench.settle();
    assert_eq!(bench.outcomes(), ["unavailable"]);
    let request = bench.sent(socket).remove(0);
    bench.reply(socket, &request);
    bench.call();
    bench.settle();
    assert_eq!(
        (bench.outcomes(), bench.sent(socket).len()),
        (vec!["reply 7".to_owned()], 1)
    );
}

#[test]
fn the_distributor_is_looked_for_at_once_and_then_every_three_seconds_or_so() {
    let mut bench = Bench::registered(&[]);
    for random in [0, 50, 77, 100] {
        let socket = bench.socket(distributor());
        bench.end(socket);
        assert_eq!(bench.state(), LinkState::Lost);
        for _ in 0..5 {
            bench.world().random = random;
            bench.refuse(distributor());
            let refused_at = bench.now();
            bench.pass_until(|bench| !bench.sockets(distributor()).is_empty());
            let pause = bench.now().saturating_since(refused_at);
            assert!(pause >= 1490 * MILLI && pause <= 4520 * MILLI, "{pause:?}");
        }
        let link = bench.open(distributor());
        let post = bench.sent(link).pop().unwrap();
        assert_eq!(
            (&post["session"]["epoch"], &post["session"]["rev"]),
            (&json!("e1"), &json!(1))
        );
        let results = json!({"id": 1, "epoch": "e1", "rev": 1, "heartbeat_ms": 5000});
        bench.receive(
            link,
            &json!({"key": post["key"], "errorcode": 0, "results": results}),
        );
        assert_eq!(bench.state(), LinkState::Registered);
    }
}

#[test]
fn one_that_takes_the_node_in_and_ends_at_once_is_not_hammered() {
    let mut bench = Bench::new();
    let began_at = bench.now();
    let mut rounds = 0_u32;
    while bench.now().saturating_since(began_at) < 30 * SECOND {
        if !bench.sockets(distributor()).is_empty() {
            let link = bench.open(distributor());
            bench.welcome(link, "e1", 5000);
            bench.end(link);
            rounds += 1;
        }
        bench.pass(10 * MILLI);
    }
    assert!((8..25).contains(&rounds), "{rounds}");
}

#[test]
fn what_a_stopping_distributor_tells_to_wait_is_kept_within_reason() {
    for (told, least, most) in [
        (json!(1500), 1500, 1520),
        (json!(0), 100, 120),
        (json!(u64::MAX), 60_000, 60_020),
        // It does not say: as after any other loss.
        (Value::Null, 0, 20),
    ] {
        let mut bench = Bench::registered(&[]);
        let link = bench.socket(distributor());
        let session = json!({"draining": true, "retry_after_ms": told});
        bench.receive(
            link,
            &json!({"uri": "/distributes", "method": "PATCH", "session": session}),
        );
        let lost_at = bench.now();
        bench.world().end(link);
        bench.turn();
        while bench.sockets(distributor()).is_empty() {
            bench.pass(MILLI);
            let waited = bench.now().saturating_since(lost_at).as_millis();
            assert!(waited <= most, "{told}: {waited}");
        }
        let waited = bench.now().saturating_since(lost_at).as_millis();
        assert!((least..=most).contains(&waited), "{told}: {waited}");
    }
}

#[test]
fn lists_without_an_answer_within_two_seconds_come_from_a_plain_distributor() {
    let mut bench = Bench::new();
    let link = bench.open(distributor());
    bench.list(link, &[1, 2], Value::Null);
    // To know somebody is better than nobody.
    assert_eq!(
        (bench.ports(), bench.state()),
        (vec![1, 2], LinkState::Searching)
    );
    bench.pass(1900 * MILLI);
    assert_eq!(bench.state(), LinkState::Searching);
    bench.pass(200 * MILLI);
    assert_eq!(bench.state(), LinkState::Registered);
    bench.list(link, &[2], Value::Null);
    assert_eq!(bench.ports(), [2]);

    // After it was lost, what it says is merged for ten seconds.
    bench.end(link);
    let link = bench.open(distributor());
    bench.list(link, &[3], Value::Null);
    assert_eq!(bench.ports(), [2]);
    bench.pass(2100 * MILLI);
    assert_eq!(
        (bench.ports(), bench.state()),
        (vec![3, 2], LinkState::Registered)
    );
    bench.pass(9 * SECOND);
    bench.list(link, &[3, 4], Value::Null);
    assert_eq!(bench.ports(), [3, 4, 2]);
    bench.pass(SECOND);
    assert_eq!(bench.ports(), [3, 4]);
}

#[test]
fn one_that_says_nothing_within_two_seconds_is_left() {
    let mut bench = Bench::new();
    let link = bench.open(distributor());
    bench.pass(1900 * MILLI);
    assert_eq!(bench.sockets(distributor()), [link]);
    bench.pass(200 * MILLI);
    assert!(bench.sockets(distributor()).is_empty());
    bench.pass_until(|bench| !bench.sockets(distributor()).is_empty());
}

#[test]
fn a_distributor_that_falls_silent_is_left_after_three_heartbeats() {
    let mut bench = Bench::registered(&[1]);
    let link = bench.socket(distributor());
    let silent_since = bench.now();
    assert_eq!(bench.sockets(distributor()), [link]);
    bench.pass_until(|bench| bench.state() == LinkState::Lost);
    let silence = bench.now().saturating_since(silent_since);
    assert!(
        silence >= 14 * SECOND && silence <= 21 * SECOND,
        "{silence:?}"
    );
    assert_eq!((bench.state(), bench.ports()), (LinkState::Lost, vec![1]));
    // The calls go on meanwhile.
    bench.call();
    let socket = bench.open(peer(1));
    let request = bench.sent(socket).remove(0);
    bench.reply(socket, &request);
    assert_eq!(bench.outcomes(), ["reply 7"]);
}

#[test]
fn heartbeats_say_what_was_applied_and_keep_the_link() {
    let mut bench = Bench::registered(&[1]);
    let link = bench.socket(distributor());
    for _ in 0..100 {
        bench.pass(SECOND);
        for beat in bench.sent(link) {
            assert_eq!(
                (&beat["uri"], &beat["session"]["rev"]),
                (&json!("/distributes/heartbeat"), &json!(1))
            );
            bench.receive(
                link,
                &json!({"key": beat["key"], "errorcode": 0, "results": {"rev": 1}}),
            );
        }
    }
    assert_eq!(bench.sockets(distributor()), [link]);
}

fn delta(from: u64, rev: u64, ack: bool, joined: &[u16], ids: &[u64], left: &[u64]) -> Value {
    let joined: Vec<Value> = joined.iter().map(|port| entry(*port)).collect();
    let left: Vec<Value> = left
        .iter()
        .map(|id| json!({"id": id, "cause": "closed"}))
        .collect();
    json!({"uri": "/distributes", "method": "PATCH", "key": 0, "params": {"joined": joined, "left": left},
        "session": {"epoch": "e1", "from": from, "rev": rev, "ack": ack, "ids": ids}})
}

#[test]
fn a_delta_is_acknowledged_if_that_is_asked_for_and_a_gap_fetches_the_list() {
    let mut bench = Bench::registered(&[1]);
    let link = bench.socket(distributor());
    bench.receive(link, &delta(1, 2, false, &[2], &[2], &[]));
    assert!(bench.sent(link).is_empty());
    bench.receive(link, &delta(2, 4, true, &[], &[], &[1]));
    let ack = json!({"uri": "/distributes/heartbeat", "method": "POST", "key": null, "session": {"rev": 4}});
    assert_eq!((bench.sent(link), bench.ports()), (vec![ack], vec![2]));
    assert_eq!(bench.events(), ["+2", "-1"]);

    bench.receive(link, &delta(5, 6, true, &[3], &[3], &[]));
    let get = bench.sent(link).remove(0);
    assert_eq!((&get["method"], bench.ports()), (&json!("GET"), vec![2]));
    bench.list(
        link,
        &[2, 3],
        json!({"epoch": "e1", "rev": 6, "complete": true}),
    );
    bench.receive(link, &delta(6, 7, false, &[], &[], &[1]));
    assert_eq!(bench.ports(), [3]);
}

#[test]
fn a_new_run_of_the_distributor_is_merged_until_it_is_complete() {
    let mut bench = Bench::registered(&[1, 2, 3]);
    let link = bench.socket(distributor());
    bench.end(link);
    let link = bench.open(distributor());
    bench.welcome(link, "e2", 5000);
    bench.list(
        link,
        &[2],
        json!({"epoch": "e2", "rev": 1, "complete": false}),
    );
    assert_eq!(bench.ports(), [2, 1, 3]);
    bench.list(
        link,
        &[2, 3],
        json!({"epoch": "e2", "rev": 2, "complete": true}),
    );
    assert_eq!(
        (bench.ports(), bench.events().pop()),
        (vec![2, 3], Some("-1".to_owned()))
    );
}

#[test]
fn who_was_merged_does_not_stay_if_the_link_is_lost_meanwhile() {
    let mut bench = Bench::registered(&[1, 2, 3]);
    let link = bench.socket(distributor());
    bench.end(link);
    let link = bench.open(distributor());
    bench.welcome(link, "e2", 5000);
    bench.list(
        link,
        &[2],
        json!({"epoch": "e2", "rev": 1, "complete": false}),
    );
    bench.end(link);
    // Changes since revision 1 would not say that the others are gone.
    bench.pass_until(|bench| !bench.sockets(distributor()).is_empty());
    let link = bench.open(distributor());
    let post = bench.sent(link).pop().unwrap();
    assert_eq!(
        (&post["session"]["epoch"], &post["session"]["rev"]),
        (&Value::Null, &Value::Null)
    );
}

#[test]
fn a_drain_ends_with_who_knows() {
    let mut bench = Bench::registered(&[1]);
    let link = bench.socket(distributor());
    bench.node.context(bench.reactor.net()).drain(5 * SECOND);
    bench.settle();
    let delete = bench.sent(link).remove(0);
    assert_eq!(
        (&delete["method"], &delete["params"]["wait_ms"]),
        (&json!("DELETE"), &json!(5000))
    );
    let results = json!({"rev": 2, "acked": 3, "of": 3, "late": [], "blind": 0});
    bench.receive(
        link,
        &json!({"key": delete["key"], "errorcode": 0, "results": results}),
    );
    assert_eq!(bench.events(), ["drained 3 of 3"]);
    bench.pass(10 * SECOND);
    assert!(bench.events().is_empty());
}

#[test]
fn a_drain_whose_link_is_lost_stays_unproven_until_its_time_is_over() {
    let mut bench = Bench::registered(&[1]);
    let link = bench.socket(distributor());
    bench.node.context(bench.reactor.net()).drain(5 * SECOND);
    bench.settle();
    bench.end(link);
    assert_eq!(bench.events(), ["Lost"]);
    bench.pass(4900 * MILLI);
    assert!(bench.events().is_empty());
    bench.pass(200 * MILLI);
    assert_eq!(bench.events(), ["drained unproven"]);
}

#[test]
fn a_wait_ends_when_somebody_is_there_or_in_vain() {
    let mut bench = Bench::registered(&[]);
    bench
        .node
        .context(bench.reactor.net())
        .wait_for(&[Route::get("/goods")], SECOND);
    bench
        .node
        .context(bench.reactor.net())
        .wait_for(&[Route::get("/other")], SECOND);
    bench.settle();
    assert!(bench.events().is_empty());
    let link = bench.socket(distributor());
    bench.receive(link, &delta(1, 2, false, &[1], &[1], &[]));
    assert_eq!(bench.events(), ["+1", "waited true"]);
    bench.pass(SECOND);
    assert_eq!(bench.events(), ["waited false"]);
}

#[test]
fn a_call_made_while_its_connection_ends_was_never_sent() {
    let mut bench = Bench::registered(&[1]);
    bench.call();
    let socket = bench.open(peer(1));
    let request = bench.sent(socket).remove(0);
    bench.reply(socket, &request);
    bench.outcomes();
    let caller = bench.accept();
    bench.node.service.forwards = true;
    // One turn reads the end and then the request.
    bench.world().end(socket);
    let request = json!({"uri": "/x", "method": "GET", "key": 5});
    bench.receive(caller, &request);
    assert_eq!(bench.outcomes(), [""; 0]);
    let socket = bench.open(peer(1));
    let request = bench.sent(socket).remove(0);
    bench.reply(socket, &request);
    assert_eq!(bench.outcomes(), ["reply 7"]);
}

#[test]
fn what_goes_to_another_node_is_not_written_to_the_first_any_more() {
    let mut bench = Bench::registered(&[1]);
    bench.call();
    let socket = bench.socket(peer(1));
    bench
        .world()
        .socket(socket)
        .writes
        .extend([Write::Takes(0); 2]);
    bench.open(peer(1));
    // The peer sends no more, but could still read.
    bench.world().end(socket);
    bench.turn();
    assert!(!bench.world().is_open(socket));
    bench.settle();
    assert_eq!(bench.outcomes(), [""; 0]);
    assert_eq!(bench.sockets(peer(1)).len(), 1);
}

#[test]
fn a_node_that_stopped_asks_nobody_any_more() {
    let mut bench = Bench::registered(&[1, 2]);
    bench.call();
    bench.node.context(bench.reactor.net()).stop();
    bench.call();
    bench.settle();
    assert_eq!(bench.outcomes().len(), 2);
    bench.pass(10 * SECOND);
    assert!(
        bench
            .world()
            .sockets
            .iter()
            .all(|(_, socket)| socket.peer.is_none())
    );
}

#[test]
fn an_answer_that_comes_late_still_begins_a_session() {
    let mut bench = Bench::new();
    let link = bench.open(distributor());
    let post = bench.sent(link).remove(0);
    bench.list(link, &[1], Value::Null);
    bench.pass(3 * SECOND);
    assert_eq!(bench.state(), LinkState::Registered);
    let results = json!({"id": 1, "epoch": "e1", "rev": 1, "heartbeat_ms": 100});
    bench.receive(
        link,
        &json!({"key": post["key"], "errorcode": 0, "results": results}),
    );
    bench.list(
        link,
        &[1],
        json!({"epoch": "e1", "rev": 1, "complete": true}),
    );
    bench.pass(130 * MILLI);
    assert_eq!(
        bench.sent(link).pop().unwrap()["uri"],
        "/distributes/heartbeat"
    );
}

#[test]
fn a_drain_without_a_session_leaves_the_list_by_leaving_the_distributor() {
    for is_plain in [false, true] {
        let mut bench = Bench::new();
        let link = bench.open(distributor());
        bench.list(link, &[1], Value::Null);
        if is_plain {
            bench.pass(3 * SECOND);
        }
        bench.events();
        bench.node.context(bench.reactor.net()).drain(5 * SECOND);
        bench.pass(4 * SECOND);
        assert!(bench.sockets(distributor()).is_empty());
        bench.pass(2 * SECOND);
        let last = bench.events().pop();
        assert_eq!(last, Some("drained unproven".to_owned()));
        bench.pass(30 * SECOND);
        assert_eq!(
            (bench.sockets(distributor()).len(), bench.events().len()),
            (0, 0)
        );
    }
}

#[test]
fn a_drain_that_is_not_answered_ends_all_the_same() {
    let mut bench = Bench::registered(&[1]);
    let link = bench.socket(distributor());
    bench.node.context(bench.reactor.net()).drain(SECOND);
    bench.settle();
    let delete = bench.sent(link).remove(0);
    bench.pass(4 * SECOND);
    assert_eq!(bench.events(), ["drained unproven"]);
    let results = json!({"rev": 2, "acked": 3, "of": 3, "late": [], "blind": 0});
    bench.receive(
        link,
        &json!({"key": delete["key"], "errorcode": 0, "results": results}),
    );
    bench.end(link);
    bench.pass(4 * SECOND);
    assert_eq!(bench.events(), ["Lost"]);
}

#[test]
fn a_peer_that_reads_nothing_is_full_before_it_is_cut() {
    let mut bench = Bench::registered(&[1]);
    bench.call();
    let socket = bench.socket(peer(1));
    bench
        .world()
        .socket(socket)
        .writes
        .push_back(Write::Takes(0));
    bench.open(peer(1));
    let long = "x".repeat(100 << 10);
    for _ in 0..12 {
        let mut cx = bench.node.context(bench.reactor.net());
        cx.notify("goods", &Route::post("/logs"), &long);
        cx.call(&Route::get("/goods"), &long, SECOND);
    }
    bench.settle();
    assert!(bench.world().is_open(socket));
    assert!((3..9).contains(&bench.outcomes().len()));
    bench.pass(SECOND);
    assert!(bench.outcomes().iter().all(|outcome| outcome == "deadline"));
}

#[test]
fn a_call_dials_no_peer_again_that_could_not_be_reached() {
    let mut bench = Bench::registered(&[1, 2]);
    bench.call();
    for _ in 0..2 {
        bench.settle();
        let port = if bench.sockets(peer(1)).is_empty() {
            2
        } else {
            1
        };
        bench.refuse(peer(port));
    }
    assert_eq!(bench.outcomes(), ["unavailable"]);
    // The next call is no worse off for that.
    bench.call();
    bench.settle();
    let port = if bench.sockets(peer(1)).is_empty() {
        2
    } else {
        1
    };
    let socket = bench.open(peer(port));
    let request = bench.sent(socket).remove(0);
    bench.reply(socket, &request);
    assert_eq!(bench.outcomes(), ["reply 7"]);
}

#[test]
fn a_peer_that_is_called_by_its_address_keeps_its_connection_for_a_while() {
    let mut bench = Bench::registered(&[]);
    let call_at = |bench: &mut Bench, port, params: &str| {
        let mut cx = bench.node.context(bench.reactor.net());
        cx.call_at(peer(port), &Route::get("/goods"), params, SECOND);
    };
    call_at(&mut bench, 8, "");
    let socket = bench.open(peer(8));
    for _ in 0..3 {
        let request = bench.sent(socket).remove(0);
        bench.reply(socket, &request);
        assert_eq!(bench.outcomes(), ["reply 7"]);
        bench.pass(25 * SECOND);
        call_at(&mut bench, 8, "");
        bench.settle();
    }
    assert_eq!(bench.sockets(peer(8)), [socket]);
    // Nor does one stay that could not even be asked.
    call_at(&mut bench, 9, &"x".repeat(2 << 20));
    bench.pass(62 * SECOND);
    assert!(bench.sockets(peer(8)).is_empty());
    assert_eq!(bench.node.core.caller.peers.iter().count(), 0);
}

#[test]
fn a_drain_that_is_refused_leaves_the_list_by_leaving_the_distributor() {
    let mut bench = Bench::registered(&[1]);
    let link = bench.socket(distributor());
    bench.node.context(bench.reactor.net()).drain(5 * SECOND);
    bench.settle();
    let delete = bench.sent(link).remove(0);
    bench.receive(link, &json!({"key": delete["key"], "errorcode": 2}));
    assert_eq!(bench.events(), ["Lost"]);
    assert!(bench.sockets(distributor()).is_empty());
    bench.pass(4900 * MILLI);
    assert!(bench.events().is_empty());
    bench.pass(200 * MILLI);
    assert_eq!(bench.events(), ["drained unproven"]);
}

#[test]
fn a_second_drain_does_not_end_the_first() {
    let mut bench = Bench::registered(&[1]);
    let link = bench.socket(distributor());
    for _ in 0..2 {
        bench.node.context(bench.reactor.net()).drain(5 * SECOND);
        bench.settle();
    }
    let asked = bench.sent(link);
    assert_eq!(asked.len(), 1);
    let results = json!({"rev": 2, "acked": 3, "of": 3, "late": [], "blind": 0});
    bench.receive(
        link,
        &json!({"key": asked[0]["key"], "errorcode": 0, "results": results}),
    );
    assert_eq!(bench.events(), ["drained 3 of 3"]);
}

#[test]
fn one_call_tries_a_peer_that_failed_while_another_can_take_the_others() {
    let mut bench = Bench::registered(&[1, 2]);
    let (mut good, mut is_tried) = (None, false);
    for random in 0..2000 {
        bench.world().random = random;
        for _ in 0..8 {
            bench.call_with(5 * SECOND, false);
        }
        if good.is_none() && !bench.sockets(peer(2)).is_empty() {
            good = Some(bench.open(peer(2)));
        }
        // The other's host is gone: no connect ever ends but by the time it may take.
        let given = |bench: &Bench| {
            let mut peers = bench.node.core.caller.peers.iter();
            peers
                .find(|known| known.addr == peer(1))
                .map_or(0, |known| known.in_flight)
        };
        let before = given(&bench);
        bench.pass(10 * MILLI);
        // For the first time, nobody can know it.
        let has_failed = bench.now() > Time::from_millis(4000);
        assert!(!has_failed || before <= 1, "{before} wait for it");
        is_tried |= has_failed && before > 0;
        if let Some(good) = good {
            for request in bench.sent(good) {
                bench.reply(good, &request);
            }
        }
    }
    assert!(is_tried);
    assert!(bench.outcomes().iter().all(|outcome| outcome == "reply 7"));
}

#[test]
fn a_call_whose_time_is_over_before_it_can_be_sent_is_not() {
    let mut bench = Bench::registered(&[1]);
    bench.call_with(SECOND, false);
    let later = bench.call_with(3 * SECOND, false);
    bench.pass(2 * SECOND);
    assert_eq!(bench.outcomes(), ["unavailable"]);
    let socket = bench.open(peer(1));
    let requests = bench.sent(socket);
    assert_eq!(
        (requests.len(), &requests[0]["deadline_ms"]),
        (1, &json!(1000))
    );
    bench.reply(socket, &requests[0]);
    assert_eq!(bench.node.service.outcomes, [(later, "reply 7".to_owned())]);
}

#[test]
fn what_was_applied_of_another_run_is_not_acknowledged() {
    let mut bench = Bench::registered(&[1]);
    let link = bench.socket(distributor());
    bench.receive(link, &delta(1, 500, false, &[], &[], &[]));
    bench.end(link);
    let link = bench.open(distributor());
    bench.welcome(link, "e2", 100);
    bench.sent(link);
    bench.pass(130 * MILLI);
    // Its list is still on the way.
    assert_eq!(bench.sent(link)[0]["session"]["rev"], 0);
}

#[test]
fn many_posted_calls_do_not_keep_a_turn_from_ending() {
    let mut bench = Bench::registered(&[1]);
    let waker = bench.reactor.waker();
    let handle = bench.node.handle(waker);
    let post = |_| handle.call(&Route::get("/goods"), &(), SECOND);
    let answers: Vec<_> = (0..5000).map(post).collect();
    bench.node.on_wake(bench.reactor.net());
    assert_eq!(bench.node.core.caller.len(), MAX_POSTED_PER_TURN);
    bench.pass(1100 * MILLI);
    assert!(answers.iter().all(|answer| answer.try_recv().is_ok()));
    assert_eq!(bench.node.core.caller.len(), 0);
}

#[test]
fn who_is_not_allowed_in_tries_later_each_time_and_keeps_trying() {
    let mut bench = Bench::new();
    for times in [2, 4, 8, 10, 10, 10] {
        let link = bench.open(distributor());
        let post = bench.sent(link).pop().unwrap();
        let refusal = json!({"key": post["key"], "errorcode": 5, "errormessage": "no"});
        bench.receive(link, &refusal);
        assert_eq!(bench.events(), ["refused 5"]);
        let refused_at = bench.now();
        bench.pass_until(|bench| !bench.sockets(distributor()).is_empty());
        let pause = bench.now().saturating_since(refused_at);
        assert!(pause >= times * 1480 * MILLI && pause <= times * 4520 * MILLI);
    }
    let link = bench.open(distributor());
    bench.welcome(link, "e1", 5000);
    assert_eq!(bench.state(), LinkState::Registered);
}

#[test]
fn who_is_turned_away_is_told_so_and_tries_later() {
    let mut bench = Bench::new();
    let link = bench.open(distributor());
    bench.receive(
        link,
        &json!({"key": null, "errorcode": 6, "errormessage": "try later"}),
    );
    assert_eq!(bench.events(), ["refused 6"]);
    bench.pass(1400 * MILLI);
    assert!(bench.sockets(distributor()).is_empty());
    bench.pass_until(|bench| !bench.sockets(distributor()).is_empty());
}

#[test]
fn the_longest_times_overflow_nothing() {
    let mut bench = Bench::registered(&[1]);
    bench.call_with(Duration::MAX, false);
    let mut cx = bench.node.context(bench.reactor.net());
    cx.wait_for(&[Route::get("/other")], Duration::MAX);
    bench.pass(3600 * SECOND);
    bench.node.context(bench.reactor.net()).drain(Duration::MAX);
    bench.settle();
    assert_eq!(bench.node.core.caller.len(), 0);
    assert_eq!(bench.outcomes(), ["unavailable"]);
}

#[test]
fn nobody_waits_for_less_than_somebody_who_can_be_called() {
    let mut bench = Bench::registered(&[]);
    let mut cx = bench.node.context(bench.reactor.net());
    cx.wait_for(&[Route::get("/goods")], SECOND);
    let link = bench.socket(distributor());
    let (mut named, mut ipv6) = (entry(1), entry(2));
    named["host"] = json!("goods.example");
    ipv6["host"] = json!("::1");
    let list = |entries: &[&Value]| {
        json!({"uri": "/distributes", "method": "GET", "key": 0, "params": entries,
            "session": {"epoch": "e1", "rev": 2, "complete": true, "ids": [1, 2]}})
    };
    bench.receive(link, &list(&[&named]));
    assert_eq!(bench.events(), ["+1"]);
    bench.call();
    bench.settle();
    assert_eq!(bench.outcomes(), ["unavailable"]);
    bench.receive(link, &list(&[&named, &ipv6]));
    assert_eq!(bench.events(), ["+2", "waited true"]);
    bench.call();
    let socket = bench.open("[::1]:2".parse().unwrap());
    assert_eq!(bench.sent(socket).len(), 1);
}

/// A list with a session in which these ports have these ids, all of them plain.
fn plain_list(epoch: &str, rev: u64, ports: &[u16], ids: &[u64]) -> Value {
    let entries: Vec<Value> = ports.iter().map(|port| entry(*port)).collect();
    json!({"uri": "/distributes", "method": "GET", "key": 0, "params": entries,
        "session": {"epoch": epoch, "rev": rev, "complete": true, "ids": ids, "plain": ids}})
}

#[test]
fn calls_an_entry_that_was_registered_anew_on_a_new_connection() {
    let left_then_joined = [
        delta(1, 2, false, &[], &[], &[1]),
        delta(2, 3, false, &[1], &[5], &[]),
    ];
    let in_one_change = [delta(1, 2, false, &[1], &[5], &[1])];
    let in_a_list = [plain_list("e1", 2, &[1], &[5])];
    for changes in [&left_then_joined[..], &in_one_change, &in_a_list] {
        let mut bench = Bench::registered(&[1]);
        bench.call();
        let old = bench.open(peer(1));
        let request = bench.sent(old).remove(0);
        let link = bench.socket(distributor());
        for change in changes {
            bench.receive(link, change);
        }
        bench.call();
        bench.settle();
        let new = bench.open(peer(1));
        assert_ne!(old, new);
        assert_eq!((bench.sent(old).len(), bench.sent(new).len()), (0, 1));
        // The call in flight keeps its connection until it ends.
        assert_eq!(bench.sockets(peer(1)).len(), 2);
        bench.reply(old, &request);
        assert_eq!(bench.outcomes(), ["reply 7"]);
        bench.pass(2 * SECOND);
        assert_eq!(bench.sockets(peer(1)), [new]);
    }
}

#[test]
fn keeps_the_connection_to_an_address_with_other_entries_or_of_another_epoch() {
    let workers = || {
        let mut bench = Bench::registered(&[1]);
        let link = bench.socket(distributor());
        bench.receive(link, &delta(1, 2, false, &[1], &[2], &[]));
        bench
    };
    let worker_restarts: &dyn Fn(&mut Bench) = &|bench| {
        let link = bench.socket(distributor());
        bench.receive(link, &delta(2, 3, false, &[], &[], &[1]));
        bench.receive(link, &delta(3, 4, false, &[1], &[3], &[]));
    };
    let distributor_restarts: &dyn Fn(&mut Bench) = &|bench| {
        let link = bench.socket(distributor());
        bench.end(link);
        let link = bench.open(distributor());
        bench.welcome(link, "e2", 5000);
        bench.receive(link, &plain_list("e2", 1, &[1], &[7]));
    };
    for changes in [worker_restarts, distributor_restarts] {
        let mut bench = workers();
        bench.call();
        let socket = bench.open(peer(1));
        assert_eq!(bench.sent(socket).len(), 1);
        changes(&mut bench);
        bench.call();
        bench.settle();
        assert_eq!(bench.sockets(peer(1)), [socket]);
        assert_eq!(bench.sent(socket).len(), 1);
    }
}

#[test]
fn closes_a_connection_that_answers_nothing_and_dials_after_growing_pauses() {
    let mut bench = Bench::registered(&[1]);
    let mut opened_at = Vec::new();
    while bench.now() < Time::from_millis(60_000) {
        bench.call_with(40 * MILLI, false);
        bench.settle();
        let socket = bench.socket(peer(1));
        if bench.world().socket(socket).connected.is_none() {
            bench.open(peer(1));
            opened_at.push(bench.now().as_millis());
        }
        bench.pass(48 * MILLI);
    }
    let gaps: Vec<u64> = opened_at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!((8..=14).contains(&gaps.len()), "{gaps:?}");
    for (gap, times) in gaps.iter().zip(0..) {
        let pause = (100 << times).min(10_000);
        assert!((pause..pause + 400).contains(gap), "{gaps:?}");
    }
    // A reply ends it.
    bench.call();
    bench.settle();
    let socket = bench.socket(peer(1));
    let request = bench.sent(socket).pop().unwrap();
    bench.reply(socket, &request);
    for _ in 0..2 {
        bench.call_with(40 * MILLI, false);
        bench.pass(50 * MILLI);
    }
    assert_eq!(bench.sockets(peer(1)), [socket]);
    bench.call_with(40 * MILLI, false);
    bench.pass(50 * MILLI);
    assert!(bench.sockets(peer(1)).is_empty());
}

#[test]
fn keeps_a_slow_connection_as_long_as_something_is_read() {
    let mut bench = Bench::registered(&[1]);
    bench.call_with(SECOND, false);
    let socket = bench.open(peer(1));
    for _ in 0..8 {
        bench.call_with(SECOND, false);
        bench.pass(900 * MILLI);
        // Not even a whole frame.
        bench.world().arrive(socket, b"{");
        bench.pass(200 * MILLI);
    }
    assert_eq!(bench.sockets(peer(1)), [socket]);
    assert!(bench.outcomes().iter().all(|outcome| outcome == "deadline"));
}

#[test]
fn has_at_most_32_kib_in_flight_to_a_plain_peer() {
    let with_session = || {
        let mut bench = Bench::registered(&[]);
        let link = bench.socket(distributor());
        bench.receive(link, &plain_list("e1", 2, &[1], &[5]));
        bench
    };
    let with_plain_distributor = || {
        let mut bench = Bench::new();
        let link = bench.open(distributor());
        bench.list(link, &[1], Value::Null);
        bench.pass(3 * SECOND);
        bench
    };
    for mut bench in [with_session(), with_plain_distributor()] {
        let call = |bench: &mut Bench, params: &str, deadline| {
            let mut cx = bench.node.context(bench.reactor.net());
            cx.call(&Route::get("/goods"), params, deadline);
        };
        for _ in 0..512 {
            call(&mut bench, &"x".repeat(200), 10 * SECOND);
        }
        let socket = bench.open(peer(1));
        let (mut unread, mut most, mut replies) = (VecDeque::new(), 0, 0);
        loop {
            unread.extend(bench.sent(socket));
            let bytes: usize = unread
                .iter()
                .map(|packet| packet.to_string().len() + 2)
                .sum();
            most = most.max(bytes);
            let Some(request) = unread.pop_front() else {
                break;
            };
            bench.reply(socket, &request);
            replies += 1;
        }
        assert_eq!(replies, 512);
        assert!((24 << 10..=32 << 10).contains(&most), "{most}");
        bench.outcomes();

        // A longer one waits until all is read, and is sent alone.
        call(&mut bench, "", 10 * SECOND);
        call(&mut bench, &"x".repeat(100 << 10), 10 * SECOND);
        call(&mut bench, "", 10 * SECOND);
        call(&mut bench, "", SECOND);
        bench.settle();
        for _ in 0..2 {
            let request = bench.sent(socket);
            assert_eq!(request.len(), 1);
            bench.pass(600 * MILLI);
            bench.reply(socket, &request[0]);
        }
        // What waited until its deadline was not sent.
        assert_eq!(bench.outcomes(), ["reply 7", "unavailable", "reply 7"]);
        assert_eq!(bench.sent(socket).len(), 1);
    }
}

#[test]
fn what_waits_for_room_at_a_plain_peer_moves_on_when_its_connection_is_lost() {
    let mut bench = Bench::registered(&[]);
    let link = bench.socket(distributor());
    bench.receive(link, &plain_list("e1", 2, &[1], &[5]));
    for _ in 0..2 {
        let mut cx = bench.node.context(bench.reactor.net());
        cx.call(&Route::get("/goods"), &"x".repeat(20 << 10), 10 * SECOND);
    }
    let socket = bench.open(peer(1));
    assert_eq!(bench.sent(socket).len(), 1);
    bench.end(socket);
    assert_eq!(bench.outcomes(), ["lost"]);
    let socket = bench.open(peer(1));
    assert_eq!(bench.sent(socket).len(), 1);
}

#[test]
fn a_call_that_a_node_may_have_done_is_lost_if_no_other_node_is_there() {
    let mut bench = Bench::registered(&[1]);
    bench.call_with(SECOND, true);
    let socket = bench.open(peer(1));
    assert_eq!(bench.sent(socket).len(), 1);
    let link = bench.socket(distributor());
    bench.receive(link, &delta(1, 2, false, &[], &[], &[1]));
    bench.end(socket);
    assert_eq!(bench.outcomes(), ["lost"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever becomes of the peers and whenever, each call has exactly one outcome, in time.
    #[test]
    fn each_call_has_exactly_one_outcome(steps in prop::collection::vec((0..8u8, 1..4u16, 0..400usize), 1..60)) {
        let mut bench = Bench::registered(&[1, 2, 3]);
        let mut calls = Vec::new();
        for (what, port, amount) in steps {
            let socket = bench.sockets(peer(port)).last().copied();
            match (what, socket) {
                (0..=1, _) => calls.push(bench.call_with(SECOND, amount % 2 == 0)),
                (2, _) => bench.pass(Duration::from_millis(amount as u64)),
                (3, Some(socket)) if bench.world().socket(socket).connected.is_none() => {
                    bench.world().socket(socket).writes.push_back(Write::Takes(amount));
                    bench.open(peer(port));
                }
                (4, Some(socket)) if bench.world().socket(socket).connected.is_none() => bench.refuse(peer(port)),
                (5, Some(socket)) if bench.world().socket(socket).connected.is_some() => {
                    for request in bench.sent(socket) {
                        // With its last call a peer that left is let go.
                        if bench.world().is_open(socket) {
                            bench.reply(socket, &request);
                        }
                    }
                }
                (6, Some(socket)) if bench.world().socket(socket).connected.is_some() => {
                    // Calls made in the same turn as the end comes.
                    bench.world().end(socket);
                    calls.push(bench.call());
                    bench.turn();
                    calls.push(bench.call());
                }
                (7, _) => {
                    let link = bench.socket(distributor());
                    let all = [1, 2, 3];
                    bench.list(link, &all[..amount % 4], json!({"epoch": "e1", "rev": 2, "complete": true}));
                }
                _ => {}
            }
        }
        bench.pass(1100 * MILLI);
        let mut told: Vec<CallId> = bench.node.service.outcomes.iter().map(|(call, _)| *call).collect();
        told.sort();
        calls.sort();
        prop_assert_eq!(told, calls);
        prop_assert_eq!(bench.node.core.caller.len(), 0);
        prop_assert!(bench.node.core.caller.peers.iter().all(|peer| peer.in_flight == 0));
    }
}
