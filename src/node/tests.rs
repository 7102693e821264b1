//! Tests of the node on a scripted system: every order and every failure, in virtual time.

mod calls;
mod drains;
mod lists;
mod names;
mod own;
mod peers;
mod registration;
mod subscriptions;

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::calls::AssignedCalls;
use super::node_core::MAX_POSTED_PER_TURN;
use super::*;
use crate::protocol::{Reply, Route};
use crate::reactor::{CloseReason, ConnId, Handler, Limits, Origin, Reactor, TimerId};
use crate::sys::{Event as SystemEvent, SocketId};
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

/// Records results and events as text, and replies to each request with its path.
#[derive(Default)]
struct Notes {
    outcomes: Vec<(CallId, String)>,
    events: Vec<String>,
    requests: usize,
    forwards: bool,
    /// Replies with results that cannot be encoded.
    garbles: bool,
    /// Arms a timer for each request.
    arms: bool,
    timers: Vec<u64>,
    own: Vec<(ConnId, String)>,
}

impl Service for Notes {
    fn on_request(&mut self, cx: &mut Context<'_>, request: &Request<'_>, reply_to: ReplyTo) {
        self.requests += 1;
        if self.arms {
            let (owner, at) = (cx.net().owner(), cx.net().now() + MILLI);
            cx.net().arm(owner, at, 16_777_218);
        }
        if self.forwards {
            cx.call(&Route::get("/goods"), &json!({}), 10 * SECOND);
        }
        if self.garbles {
            let unencodable = std::collections::BTreeMap::from([((1, 2), 3)]);
            return cx.reply(reply_to, &unencodable);
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
            Ok(reply) => format!("reply {}", reply.raw_results()),
            Err(CallError::Refused(reply)) => format!("refused {}", reply.errorcode),
            Err(CallError::Deadline) => "deadline".to_owned(),
            Err(CallError::ConnectionLost) => "lost".to_owned(),
            Err(CallError::Unavailable) => "unavailable".to_owned(),
            Err(error) => error.to_string(),
        };
        self.outcomes.push((call, words));
    }

    fn on_timer(&mut self, _cx: &mut Context<'_>, _timer: TimerId, tag: u64) {
        self.timers.push(tag);
    }

    fn on_open(&mut self, _cx: &mut Context<'_>, conn: ConnId, _origin: Origin) {
        self.own.push((conn, "open".to_owned()));
    }

    fn on_frame(&mut self, _cx: &mut Context<'_>, conn: ConnId, frame: &[u8]) {
        self.own
            .push((conn, String::from_utf8_lossy(frame).into_owned()));
    }

    fn on_close(&mut self, _cx: &mut Context<'_>, conn: ConnId, _why: CloseReason) {
        self.own.push((conn, "close".to_owned()));
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

/// A node on a scripted system.
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

    /// Returns a node with a session, and these ports in its view, with ids starting at 1.
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

    /// Runs turns until all that waits for the next turn was reported.
    fn settle(&mut self) {
        self.pass(2 * MILLI);
    }

    /// Advances virtual time, in as many turns as the reactor requests.
    fn pass(&mut self, time: Duration) {
        self.system.pass(&mut self.reactor, &mut self.node, time);
        self.turn();
    }

    #[track_caller]
    fn pass_until(&mut self, done: impl Fn(&Bench) -> bool) {
        let until = self.now() + 60 * SECOND;
        while !done(self) {
            assert!(self.now() < until, "the condition was not met within 60 s");
            self.pass(10 * MILLI);
        }
    }

    /// Returns the open sockets that connect to `addr`, the oldest first.
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
        *self.sockets(addr).last().expect("a socket to this address")
    }

    /// Completes the connect to `addr`.
    #[track_caller]
    fn open(&mut self, addr: SocketAddr) -> SocketId {
        let socket = self.socket(addr);
        self.world().socket(socket).connected = Some(Ok(()));
        self.world().event(socket, false, true, false);
        self.turn();
        socket
    }

    /// Accepts a connection to the node.
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

    /// Takes the packets that were written to `socket`.
    fn sent(&mut self, socket: SocketId) -> Vec<Value> {
        self.world().take_sent(socket)
    }

    /// Replies to the registration as a Distributor with sessions does.
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
        if is_idempotent {
            cx.call_idempotent(&Route::get("/goods"), &json!({}), deadline)
        } else {
            cx.call(&Route::get("/goods"), &json!({}), deadline)
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

fn delta(from: u64, rev: u64, ack: bool, joined: &[u16], ids: &[u64], left: &[u64]) -> Value {
    let joined: Vec<Value> = joined.iter().map(|port| entry(*port)).collect();
    let left: Vec<Value> = left
        .iter()
        .map(|id| json!({"id": id, "cause": "closed"}))
        .collect();
    json!({"uri": "/distributes", "method": "PATCH", "key": 0, "params": {"joined": joined, "left": left},
        "session": {"epoch": "e1", "from": from, "rev": rev, "ack": ack, "ids": ids}})
}
