//! A node inside a host loop, in two ways.
//!
//! `cargo run --release --example embedded -- nested` has a host loop on plain mio that sleeps on
//! the reactor's fd beside its own UDP socket, and answers each datagram with the number of nodes
//! (`echo | nc -u -w1 127.0.0.1 9030`). `cargo run --release --example embedded -- spinning` never
//! sleeps: it turns the reactor between two steps of its own work, for programs that cannot afford
//! a wake-up.
//!
//! Both serve `GET/count` and register with the Distributor; `--seconds N` ends them after a while.

#![allow(clippy::print_stdout)]

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use mio::net::UdpSocket;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use pilcrow::node::{Config, Context, Node, ReplyTo, Request, Service};
use pilcrow::protocol::Route;
use pilcrow::reactor::{Limits, Reactor};

/// A node inside a host loop
#[derive(Parser)]
struct Args {
    /// Host loop that turns the reactor
    way: Way,
    /// The address that the node listens on
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The address of the host's UDP socket
    #[arg(long, default_value = "127.0.0.1:9030")]
    udp: SocketAddr,
    /// The address of the Distributor
    #[arg(long, default_value = "127.0.0.1:9000")]
    distributor: SocketAddr,
    /// Stop after this long
    #[arg(long, default_value_t = u64::MAX, hide_default_value = true)]
    seconds: u64,
}

#[derive(Clone, Copy, ValueEnum)]
enum Way {
    /// The host sleeps on the reactor's fd beside its own socket
    Nested,
    /// The host never sleeps
    Spinning,
}

struct Count;

impl Service for Count {
    fn on_request(&mut self, cx: &mut Context<'_>, _request: &Request<'_>, reply_to: ReplyTo) {
        let nodes = cx.roster().members().len();
        cx.reply(reply_to, &nodes);
    }
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    let mut reactor = Reactor::new(Limits::default())?;
    let config = Config {
        name: "count".to_owned(),
        routes: vec![Route::get("/count")],
        listen: Some(args.listen),
        distributor: Some(args.distributor.into()),
        ..Config::default()
    };
    let mut node = Node::new(config, Count);
    if let Some(addr) = node.start(reactor.net())? {
        println!("listening on {addr}");
    }
    let until = Instant::now().checked_add(Duration::from_secs(args.seconds));
    let goes_on = || until.is_none_or(|until| Instant::now() < until);
    match args.way {
        Way::Nested => nested(&mut reactor, &mut node, args.udp, goes_on),
        Way::Spinning => spinning(&mut reactor, &mut node, goes_on),
    }
}

const REACTOR: Token = Token(0);
const UDP: Token = Token(1);

fn nested(
    reactor: &mut Reactor,
    node: &mut Node<Count>,
    udp: SocketAddr,
    goes_on: impl Fn() -> bool,
) -> io::Result<()> {
    let mut host = Poll::new()?;
    let mut udp = UdpSocket::bind(udp)?;
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
    node: &mut Node<Count>,
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
