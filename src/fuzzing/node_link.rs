//! A node outlives whatever its Distributor says.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use super::script::Script;
use crate::node::{Config, Context, LinkState, Node};
use crate::reactor::{Limits, Reactor};
use crate::sys::SocketId;
use crate::testing::scripted::{Scripted, World};

/// A node whose Distributor is played by the script.
pub(super) struct Bench {
    system: Scripted,
    reactor: Reactor,
    node: Node<()>,
}

impl Bench {
    pub(super) fn new() -> Bench {
        let system = Scripted::new();
        let mut bench = Bench {
            reactor: Reactor::on(Box::new(system.clone()), Limits::default()),
            system,
            node: Node::new(
                Config {
                    name: "n".to_owned(),
                    advertised_port: Some(7000),
                    distributor: Some(SocketAddr::from(([127, 0, 0, 1], 9000)).into()),
                    max_list_bytes: 1 << 20,
                    ..Config::default()
                },
                (),
            ),
        };
        bench.node.start(bench.reactor.net()).expect("it starts");
        bench
    }

    fn world(&self) -> std::cell::RefMut<'_, World> {
        self.system.world()
    }

    /// The connection to the Distributor, if there is one or one is being made.
    fn link(&self) -> Option<SocketId> {
        let world = self.world();
        let mut sockets = world.sockets.iter();
        let link = sockets.find(|(_, socket)| socket.peer.is_some_and(|peer| peer.port() == 9000));
        link.map(|(id, _)| SocketId(id))
    }

    pub(super) fn pass(&mut self, time: Duration) {
        let until = self.world().now + time;
        for _ in 0..20_000 {
            let left = until.saturating_since(self.world().now);
            let turned = self.reactor.turn(Some(left), &mut self.node);
            turned.expect("the system does not fail");
            if self.world().now >= until {
                return;
            }
        }
        panic!("it turns and turns, and time does not pass");
    }

    pub(super) fn open(&mut self) {
        if let Some(link) = self.link() {
            self.world().socket(link).connected = Some(Ok(()));
            self.world().event(link, false, true, false);
        }
        self.pass(Duration::from_millis(1));
    }

    pub(super) fn say(&mut self, bytes: &[u8]) {
        if let Some(link) = self.link()
            && self.world().socket(link).connected == Some(Ok(()))
        {
            self.world().arrive(link, bytes);
        }
        self.pass(Duration::from_millis(2));
    }

    fn end(&mut self, refused: bool) {
        if let Some(link) = self.link() {
            if refused && self.world().socket(link).connected.is_none() {
                let refused = Err(ErrorKind::ConnectionRefused);
                self.world().socket(link).connected = Some(refused);
                self.world().event(link, true, true, true);
            } else {
                self.world().end(link);
            }
        }
        self.pass(Duration::from_millis(1));
    }

    pub(super) fn context(&mut self) -> Context<'_> {
        self.node.context(self.reactor.net())
    }

    /// What the node has said last on its link.
    fn said(&self) -> String {
        let written = self
            .link()
            .map(|link| self.world().socket(link).written.clone());
        String::from_utf8(written.unwrap_or_default()).expect("packets are text")
    }
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

/// The input says what the Distributor says and does, and what the node is told to do.
pub fn node_link(input: &[u8]) {
    let mut script = Script::new(input);
    let mut bench = Bench::new();
    while !script.is_over() {
        match script.pick(12) {
            0 => bench.open(),
            1 => bench.end(script.pick(2) == 1),
            2 => bench.pass(Duration::from_millis(1 << script.pick(15))),
            3 => bench.say(script.bytes()),
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
                bench.say(frame.as_bytes());
            }
            _ => bench.say(script.one_of(&WORDS).as_bytes()),
        }
        // Whatever it heard, what it says is packets.
        for frame in bench.said().split_terminator('¶') {
            let packet: Result<serde_json::Value, _> = serde_json::from_str(frame);
            assert!(packet.is_ok(), "{frame}");
        }
    }
    bench.end(false);
    let state = bench.context().link();
    assert_ne!(state, LinkState::Registered, "its connection has ended");
}
