//! The loop on a scripted system: every order and every failure, in virtual time.

mod accepting;
mod closing;
mod connecting;
mod deadlines;
mod reading;
mod turn;
mod writing;

use std::io::ErrorKind;
use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use super::*;
use crate::sys::{Event, SocketId};
use crate::testing::scripted::{Accept, Read, Scripted, World, Write};
use crate::time::Time;

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Records callbacks as text.
#[derive(Default)]
struct Recorder {
    log: Vec<String>,
    opened: Vec<ConnId>,
    /// Callback for each frame, after it is recorded.
    react: Option<Reaction>,
    consume: usize,
    on_turn_end: Option<Action>,
    on_close: Option<Action>,
    on_drained: Option<Reaction>,
}

type Reaction = Box<dyn FnMut(&mut Net, ConnId, &[u8])>;
type Action = Box<dyn FnMut(&mut Net)>;

impl Recorder {
    fn take_log(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }

    fn frames(&self) -> Vec<String> {
        let frame = |line: &String| line.strip_prefix("frame ").map(str::to_owned);
        self.log.iter().filter_map(frame).collect()
    }

    fn count(&self, prefix: &str) -> usize {
        self.log
            .iter()
            .filter(|line| line.starts_with(prefix))
            .count()
    }
}

impl Handler for Recorder {
    fn on_open(&mut self, net: &mut Net, conn: ConnId, origin: Origin) {
        let how = match origin {
            Origin::Accepted(_) => "accepted",
            Origin::Connected => "connected",
        };
        self.log
            .push(format!("{how} under {}", net.owner().index()));
        self.opened.push(conn);
    }

    fn on_frame(&mut self, net: &mut Net, conn: ConnId, frame: &[u8]) {
        self.log
            .push(format!("frame {}", String::from_utf8_lossy(frame)));
        if let Some(react) = &mut self.react {
            react(net, conn, frame);
        }
    }

    fn on_bytes(&mut self, _net: &mut Net, _conn: ConnId, bytes: &[u8]) -> usize {
        self.log
            .push(format!("bytes {}", String::from_utf8_lossy(bytes)));
        self.consume.min(bytes.len())
    }

    fn on_first_bytes(&mut self, _net: &mut Net, _conn: ConnId, bytes: &[u8]) {
        self.log
            .push(format!("first bytes {}", String::from_utf8_lossy(bytes)));
    }

    fn on_limit(&mut self, net: &mut Net, conn: ConnId, why: CloseReason) {
        self.log.push(format!("limit {why:?}"));
        send(net, conn, "too much");
    }

    fn on_drained(&mut self, net: &mut Net, conn: ConnId) {
        self.log.push("drained".to_owned());
        if let Some(react) = &mut self.on_drained {
            react(net, conn, b"");
        }
    }

    fn on_close(&mut self, net: &mut Net, conn: ConnId, why: CloseReason) {
        assert!(
            net.send(conn).is_none(),
            "a closed connection accepts no frames"
        );
        assert!(net.peer_addr(conn).is_some(), "its peer is still known");
        self.log.push(format!("closed {why:?}"));
        if let Some(act) = &mut self.on_close {
            act(net);
        }
    }

    fn on_timer(&mut self, net: &mut Net, _timer: TimerId, tag: u64) {
        self.log
            .push(format!("timer {tag} under {}", net.owner().index()));
    }

    fn on_wake(&mut self, _net: &mut Net) {
        self.log.push("wake".to_owned());
    }

    fn on_turn_end(&mut self, net: &mut Net) {
        if let Some(act) = &mut self.on_turn_end {
            act(net);
        }
    }
}

fn send(net: &mut Net, conn: ConnId, text: &str) {
    net.send_with(conn, |frame| frame.write_all(text.as_bytes()));
}

fn any_addr() -> SocketAddr {
    "127.0.0.1:9000".parse().unwrap()
}

/// A reactor that listens, on a scripted system.
struct Bench {
    system: Scripted,
    reactor: Reactor,
    handler: Recorder,
    listener: SocketId,
}

impl Bench {
    fn new() -> Bench {
        Bench::with(Limits::default(), ListenOptions::default())
    }

    fn with(limits: Limits, options: ListenOptions) -> Bench {
        let system = Scripted::new();
        let mut reactor = Reactor::on(Box::new(system.clone()), limits);
        reactor.net().listen(any_addr(), options).unwrap();
        Bench {
            system,
            reactor,
            handler: Recorder::default(),
            listener: SocketId(0),
        }
    }

    fn world(&self) -> std::cell::RefMut<'_, World> {
        self.system.world()
    }

    /// Runs a turn that does not wait.
    fn turn(&mut self) {
        self.reactor
            .turn(Some(Duration::ZERO), &mut self.handler)
            .unwrap();
    }

    /// Advances virtual time, in as many turns as the reactor requests.
    fn pass(&mut self, time: Duration) {
        self.system.pass(&mut self.reactor, &mut self.handler, time);
    }

    /// Runs turns until no immediate work is left.
    fn settle(&mut self) {
        for _ in 0..100_000 {
            self.turn();
            if !self.reactor.has_work() && self.world().events.is_empty() {
                return;
            }
        }
        panic!("the loop never becomes idle");
    }

    fn accept(&mut self) -> (ConnId, SocketId) {
        let listener = self.listener;
        self.world().connect(listener);
        self.turn();
        self.handler.log.pop();
        let socket = self.world().last_accepted();
        (*self.handler.opened.last().unwrap(), socket)
    }

    fn written(&self, socket: SocketId) -> String {
        String::from_utf8(self.world().socket(socket).written.clone()).unwrap()
    }

    /// Asserts that nothing is left of any connection: no socket, no timer, no slot.
    fn assert_at_baseline(&mut self) {
        assert_eq!(self.world().sockets.len(), 1, "only the listener is open");
        assert_eq!(self.reactor.net().connections(), 0);
        assert_eq!(self.reactor.net.timers.len(), 0);
        assert!(!self.reactor.has_work());
    }
}

fn raw_bench(limits: Limits) -> Bench {
    let options = ListenOptions {
        framing: Framing::Raw,
        ..ListenOptions::default()
    };
    Bench::with(limits, options)
}
