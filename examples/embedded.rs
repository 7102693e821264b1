//! A node inside a host loop, in two ways.
//!
//! `cargo run --release --example embedded -- nested` has a host loop on plain mio that sleeps on
//! the reactor's fd beside its own UDP socket, and answers each datagram with the number of nodes
//! (`echo | nc -u -w1 127.0.0.1 9030`). `cargo run --release --example embedded -- spinning` never
//! sleeps: it turns the reactor between two steps of its own work, for programs that cannot afford
//! a wake-up.
//!
//! Both serve `GET/count` and register with the Distributor. `--seconds N` ends them after a while;
//! `--listen`, `--udp` and `--distributor` change addresses.

#![allow(clippy::print_stdout)]

use std::env;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use mio::net::UdpSocket;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use pilcrow::node::{self, Error, Node, Routes};
use pilcrow::reactor::{Limits, Reactor};

fn main() -> Result<(), Error> {
    let mut reactor = Reactor::new(Limits::default())?;
    let mut node = Node::builder("count")
        .listen(flag("--listen", "127.0.0.1:0"))
        .distributor(flag("--distributor", "127.0.0.1:9000"))
        .subscribe(node::Interest::All)
        .get("/count", |cx, _request| Ok(cx.roster().members().len()))
        .build(reactor.net())?;
    if let Some(addr) = node.local_addr(reactor.net()) {
        println!("listening on {addr}");
    }
    let seconds = flag("--seconds", "3153600000").parse();
    let seconds = Duration::from_secs(seconds.map_err(Error::internal)?);
    let start = Instant::now();
    let goes_on = || start.elapsed() < seconds;
    match env::args().nth(1).as_deref() {
        Some("nested") => nested(&mut reactor, &mut node, goes_on)?,
        Some("spinning") => spinning(&mut reactor, &mut node, goes_on)?,
        _ => println!("the first argument is nested or spinning"),
    }
    Ok(())
}

/// Returns the value of a flag.
fn flag(name: &str, default: &str) -> String {
    let mut args = env::args().skip_while(|arg| arg != name).skip(1);
    args.next().unwrap_or_else(|| default.to_owned())
}

const REACTOR: Token = Token(0);
const UDP: Token = Token(1);

fn nested(
    reactor: &mut Reactor,
    node: &mut Node<Routes>,
    goes_on: impl Fn() -> bool,
) -> io::Result<()> {
    let udp = flag("--udp", "127.0.0.1:9030").parse();
    let mut host = Poll::new()?;
    let mut udp = UdpSocket::bind(udp.map_err(io::Error::other)?)?;
    println!("answering datagrams on {}", udp.local_addr()?);
    let fd = reactor.as_fd().as_raw_fd();
    host.registry()
        .register(&mut SourceFd(&fd), REACTOR, Interest::READABLE)?;
    host.registry()
        .register(&mut udp, UDP, Interest::READABLE)?;

    let mut events = Events::with_capacity(8);
    while goes_on() {
        // The host may sleep until the deadline; the reactor's fd wakes it earlier.
        let now = reactor.now();
        let longest = Duration::from_secs(1);
        let sleep = reactor
            .next_deadline()
            .map_or(longest, |due| due.saturating_since(now).min(longest));
        match host.poll(&mut events, Some(sleep)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        reactor.turn(Some(Duration::ZERO), node)?;

        if events.iter().any(|event| event.token() == UDP) {
            let mut datagram = [0; 64];
            while let Ok((_, peer)) = udp.recv_from(&mut datagram) {
                let nodes = node.context(reactor.net()).roster().members().len();
                udp.send_to(format!("{nodes} nodes\n").as_bytes(), peer)?;
            }
        }
    }
    Ok(())
}

fn spinning(
    reactor: &mut Reactor,
    node: &mut Node<Routes>,
    goes_on: impl Fn() -> bool,
) -> io::Result<()> {
    let mut steps = 0_u64;
    while goes_on() {
        // The host's own work, one step of it.
        steps = steps.wrapping_add(1);
        reactor.turn(Some(Duration::ZERO), node)?;
    }
    println!("{steps} steps");
    Ok(())
}
