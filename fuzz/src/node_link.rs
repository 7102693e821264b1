//! A node survives whatever its Distributor sends.

use std::net::SocketAddr;
use std::time::Duration;

use pilcrow::node::{Config, Context, LinkState, Node};
use pilcrow::reactor::{Limits, Reactor};
use pilcrow::testing::sim::{Faults, Process, ProcessId, Random, Socket, World};
use pilcrow_simulation::wire::Wire;

use crate::script::Script;

const MILLI: Duration = Duration::from_millis(1);

/// A node whose Distributor follows a script.
pub(crate) struct Bench {
    world: World,
    reactor: Reactor,
    node: Node<()>,
    node_process: ProcessId,
    distributor: Process,
    /// `None` while connections are refused.
    listener: Option<Socket>,
    /// The last connection of the node.
    link: Option<Wire>,
}

impl Bench {
    pub(crate) fn new() -> Bench {
        let world = World::new(Random::new(0), Faults::none()).expect("a world begins");
        world.keep_trace(0);
        let [node_host, host] = [1, 2].map(|number: u8| world.add_host([10, 0, 0, number].into()));
        let process = world.start(node_host);
        let mut bench = Bench {
            node_process: process.id(),
            reactor: Reactor::simulated(process, Limits::default()),
            node: Node::new(
                Config::new("n")
                    .advertised_port(7000)
                    .distributor(address())
                    .max_list_bytes(1 << 20),
                (),
            ),
            distributor: world.start(host),
            world,
            listener: None,
            link: None,
        };
        bench.node.start(bench.reactor.net()).expect("it starts");
        bench
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.world.now() + time;
        for _ in 0..20_000 {
            self.world.advance(self.world.now());
            let now = self.world.now();
            let is_due = |at| at <= now;
            if self.world.is_ready(self.node_process)
                || self.reactor.next_deadline().is_some_and(is_due)
            {
                let turned = self.reactor.turn(Some(Duration::ZERO), &mut self.node);
                turned.expect("the system does not fail");
            }
            self.serve();
            if now >= end {
                return;
            }
            let next = self.world.next_event().unwrap_or(end).min(end);
            let next = self.reactor.next_deadline().unwrap_or(end).min(next);
            self.world.advance(next.max(now + MILLI / 50));
        }
        panic!("the loop turns without end");
    }

    /// Accepts, reads and writes what there is. Fails for a frame that is not a packet.
    fn serve(&mut self) {
        self.distributor.take_ready();
        if let Some(listener) = self.listener
            && let Ok((socket, _)) = self.distributor.accept(listener)
        {
            self.close();
            self.link = Some(Wire::new(socket));
        }
        let Some(link) = &mut self.link else {
            return;
        };
        let read = link.read(&mut self.distributor);
        while let Some(frame) = link.frames.next_frame() {
            let packet: Result<serde_json::Value, _> = serde_json::from_slice(&frame);
            assert!(packet.is_ok(), "{}", String::from_utf8_lossy(&frame));
        }
        let written = link.write(&mut self.distributor);
        if read.and(written).is_err() {
            self.close();
        }
    }

    fn close(&mut self) {
        if let Some(link) = self.link.take() {
            self.distributor.close(link.socket);
        }
    }

    pub(crate) fn open(&mut self) {
        if self.listener.is_none() {
            let listener = self.distributor.listen(address());
            self.listener = Some(listener.expect("the port is free"));
        }
        self.pass(MILLI);
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        if let Some(link) = &mut self.link {
            link.out.extend_from_slice(bytes);
        }
        self.pass(2 * MILLI);
    }

    fn end(&mut self, refuses: bool) {
        if refuses && let Some(listener) = self.listener.take() {
            self.distributor.close(listener);
        }
        self.close();
        self.pass(MILLI);
    }

    pub(crate) fn context(&mut self) -> Context<'_> {
        self.node.context(self.reactor.net())
    }
}

fn address() -> SocketAddr {
    ([10, 0, 0, 2], 9000).into()
}

const WORDS: [&str; 24] = [
    r#"{"uri":"/distributes","method":"GET","key":0,"params":["#,
    r#"{"uri":"/distributes","method":"PATCH","key":0,"params":{"joined":["#,
    r#"{"port":1,"name":"a","urls":["GET/a"],"host":"10.0.0.1"}"#,
    r#"{"port":"2","name":"\u00b6","urls":"x","host":"::1"}"#,
    r#"{"port":1,"port":2}"#,
    "null",
    ",",
    "]",
    "}",
    r#"],"left":["#,
    r#"{"id":1,"cause":"closed"}"#,
    r#"{"id":18446744073709551615}"#,
    r#"},"session":{"epoch":"e1","#,
    r#","session":{"epoch":"e1","#,
    r#""rev":1,"from":0,"#,
    r#""rev":2,"from":1,"ack":true,"#,
    r#""complete":false,"#,
    r#""complete":true,"#,
    r#""ids":[1,2]}}¶"#,
    r#""ids":[]}}¶"#,
    r#"{"uri":"/distributes","method":"PATCH","session":{"draining":true,"retry_after_ms":7}}¶"#,
    r#"{"key":1,"errorcode":0,"results":{"id":1,"epoch":"e1","rev":0,"heartbeat_ms":0}}¶"#,
    r#"{"key":1,"errorcode":5,"errormessage":{}}¶"#,
    "¶",
];

/// The input decides what the Distributor sends and does, and when the node drains.
pub fn node_link(input: &[u8]) {
    let mut script = Script::new(input);
    let mut bench = Bench::new();
    while !script.is_over() {
        match script.pick(12) {
            0 => bench.open(),
            1 => bench.end(script.pick(2) == 1),
            2 => bench.pass(Duration::from_millis(1 << script.pick(15))),
            3 => bench.send(script.bytes()),
            4 => {
                let wait = Duration::from_millis(u64::from(script.byte()));
                bench.context().drain(wait);
            }
            5 => {
                let cx = bench.context();
                let members = cx.roster().members();
                for member in members {
                    let named = cx.roster().named(&member.node.name);
                    assert!(named.count() > 0, "it is found by its name");
                }
            }
            6 => {
                let frame = r#"{"uri":"/distributes","method":"GET","key":0,"params":["#.to_owned()
                    + script.one_of(&WORDS)
                    + "]}¶";
                bench.send(frame.as_bytes());
            }
            _ => bench.send(script.one_of(&WORDS).as_bytes()),
        }
    }
    bench.end(true);
    let state = bench.context().link();
    assert_ne!(state, LinkState::Registered, "its connection has ended");
}
