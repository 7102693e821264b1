//! The reactor without nodes: a chat. Each line is sent to all other connections.
//!
//! `cargo run --release --example reactor`, and `nc 127.0.0.1 9050` in two other terminals. An
//! argument is the address to listen on.

#![allow(clippy::print_stdout)]

use std::collections::BTreeSet;
use std::env;
use std::error::Error;
use std::io::Write;
use std::time::Duration;

use pilcrow::reactor::{
    CloseReason, ConnId, Framing, Handler, Limits, ListenOptions, Net, Origin, Reactor, TimerId,
};

const MINUTE: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Chat {
    connections: BTreeSet<ConnId>,
}

impl Chat {
    fn send_to_others(&self, net: &mut Net, from: Option<ConnId>, text: &[u8]) {
        for conn in &self.connections {
            if Some(*conn) != from {
                net.send_with(*conn, |out| out.write_all(text));
            }
        }
    }
}

impl Handler for Chat {
    fn on_open(&mut self, _net: &mut Net, conn: ConnId, _origin: Origin) {
        self.connections.insert(conn);
    }

    fn on_bytes(&mut self, net: &mut Net, conn: ConnId, bytes: &[u8]) -> usize {
        // Unfinished lines are passed again, with what follows.
        let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n') else {
            return 0;
        };
        let lines = bytes.get(..=end).unwrap_or_default();
        self.send_to_others(net, Some(conn), lines);
        lines.len()
    }

    fn on_close(&mut self, _net: &mut Net, conn: ConnId, _why: CloseReason) {
        self.connections.remove(&conn);
    }

    fn on_timer(&mut self, net: &mut Net, _timer: TimerId, _tag: u64) {
        let text = format!("{} connections\n", self.connections.len());
        self.send_to_others(net, None, text.as_bytes());
        net.arm(net.owner(), net.now() + MINUTE, 0);
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let addr = env::args().nth(1);
    let addr = addr.as_deref().unwrap_or("127.0.0.1:9050").parse()?;
    let mut reactor = Reactor::new(Limits::default())?;
    let options = ListenOptions {
        framing: Framing::Raw,
        ..ListenOptions::default()
    };
    let net = reactor.net();
    let listener = net.listen(addr, options)?;
    if let Some(addr) = net.local_addr(listener) {
        println!("listening on {addr}");
    }
    net.arm(net.owner(), net.now() + MINUTE, 0);
    let mut chat = Chat::default();
    loop {
        reactor.turn(None, &mut chat)?;
    }
}
