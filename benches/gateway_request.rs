//! `gateway_request`: a GET through the gateway, beside a bare HTTP server on the same reactor that
//! responds with the same bytes and makes no call. Compares the processor time of the serving
//! thread; clients and the node have threads of their own.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

mod side_by_side;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use pilcrow::distributor::{self, Distributor};
use pilcrow::gateway::{self, Gateway};
use pilcrow::http::{self, App, Http, Response, ResponseTo, Server};
use pilcrow::node::{self, Context, Node, ReplyTo, Service};
use pilcrow::protocol::Route;
use pilcrow::reactor::{Limits, Reactor};
use side_by_side::client::Client;
use side_by_side::{compare, cpu_of, is_selected, print_head};

const ROUNDS: usize = 15;
const REQUESTS: usize = 32_000;
const ANY_PORT: &str = "127.0.0.1:0";
/// Occurs once in each response.
const MARK: u8 = b'~';
const TARGET: &str = "/goods?name=apples&count=12&note=with%20a%20mark:%20~";

fn main() {
    print_head();
    let distributor = start_fleet();
    let mut ours = Ours::new(distributor);
    for (row, connections) in [
        ("a GET through the gateway, 1 connection", 1),
        ("a GET through the gateway, 64 connections", 64),
        ("a GET through the gateway, 1000 connections", 1000),
    ] {
        if is_selected(row) {
            ours.beside(row, connections);
        }
    }
}

/// Starts a Distributor and a node that lists `GET/goods`, in a thread of their own.
fn start_fleet() -> SocketAddr {
    struct Goods;

    impl Service for Goods {
        fn on_request(
            &mut self,
            cx: &mut Context<'_>,
            request: &node::Request<'_>,
            reply_to: ReplyTo,
        ) {
            cx.reply(reply_to, request.raw_params);
        }
    }

    let (started, addr) = mpsc::channel();
    thread::spawn(move || {
        let mut reactor = Reactor::new(Limits::default()).unwrap();
        let mut distributor = Distributor::new(distributor::Config::default());
        let addr = distributor.listen(reactor.net(), ANY_PORT.parse().unwrap());
        let addr = addr.unwrap();
        let config = node::Config::new("goods")
            .routes([Route::get("/goods")])
            .listen(ANY_PORT.parse::<SocketAddr>().unwrap())
            .distributor(addr);
        let mut node = Node::new(config, Goods);
        node.start(reactor.net()).unwrap();
        started.send(addr).unwrap();
        loop {
            reactor
                .turn(None, &mut (&mut distributor, &mut node))
                .unwrap();
        }
    });
    addr.recv().unwrap()
}

/// Clients of a round may still be connected when the next round starts.
fn limits() -> http::Limits {
    http::Limits {
        max_connections: 8192,
        ..http::Limits::default()
    }
}

struct Ours {
    reactor: Reactor,
    gateway: Gateway,
    addr: SocketAddr,
}

/// Responds with the body of the gateway's response.
struct Echo(Vec<u8>);

impl App for Echo {
    fn on_request(&mut self, http: &mut Http<'_>, request: &http::Request<'_>, to: ResponseTo) {
        assert_eq!(request.path(), "/goods");
        let response = Response {
            status: 200,
            headers: &[
                ("Content-Type", "application/json"),
                ("X-Request-Id", "0123456789abcdef"),
            ],
            body: &self.0,
        };
        http.respond(to, &response);
    }
}

impl Ours {
    fn new(distributor: SocketAddr) -> Ours {
        let mut reactor = Reactor::new(Limits::default()).unwrap();
        let mut gateway = Gateway::new(gateway::Config::new(distributor).http(limits()));
        let addr = gateway.listen(reactor.net(), ANY_PORT.parse().unwrap());
        let addr = addr.unwrap();
        gateway.start(reactor.net()).unwrap();
        loop {
            let cx = gateway.context(reactor.net());
            if cx.roster().serving(&Route::get("/goods")).next().is_some() {
                break;
            }
            reactor.turn(None, &mut gateway).unwrap();
        }
        Ours {
            reactor,
            gateway,
            addr,
        }
    }

    fn beside(&mut self, row: &str, connections: usize) {
        let body = self.body();
        let mut echo = Echo(body);
        let mut bare_reactor = Reactor::new(Limits::default()).unwrap();
        let mut server = Server::new(limits());
        let bare_addr = server.listen(bare_reactor.net(), ANY_PORT.parse().unwrap());
        let bare_addr = bare_addr.unwrap();
        let (mut our_best, mut bare_best) = (Duration::MAX, Duration::MAX);
        compare(
            row,
            ROUNDS,
            u32::try_from(REQUESTS).unwrap(),
            || {
                let client = client(connections).start(self.addr);
                let started = Instant::now();
                let cost = cpu_of(|| {
                    while !client.is_finished() {
                        let wait = Some(Duration::from_millis(1));
                        self.reactor.turn(wait, &mut self.gateway).unwrap();
                    }
                });
                our_best = our_best.min(started.elapsed());
                client.join().unwrap();
                cost
            },
            || {
                let client = client(connections).start(bare_addr);
                let started = Instant::now();
                let cost = cpu_of(|| {
                    while !client.is_finished() {
                        let wait = Some(Duration::from_millis(1));
                        bare_reactor
                            .turn(wait, &mut server.with(&mut echo))
                            .unwrap();
                    }
                });
                bare_best = bare_best.min(started.elapsed());
                client.join().unwrap();
                cost
            },
        );
        let rate = |best: Duration| REQUESTS as f64 / best.as_secs_f64();
        println!(
            "{:<52} {:>11.0} {:>11.0} {:>6.2}x",
            "  responses per second, the most of all rounds",
            rate(our_best),
            rate(bare_best),
            rate(our_best) / rate(bare_best)
        );
    }

    /// Returns the body of the gateway's response.
    fn body(&mut self) -> Vec<u8> {
        let mut client = TcpStream::connect(self.addr).unwrap();
        let request = format!("GET {TARGET} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        client.write_all(request.as_bytes()).unwrap();
        client.set_nonblocking(true).unwrap();
        let mut answer = Vec::new();
        while let Err(error) = client.read_to_end(&mut answer) {
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            self.reactor.turn(None, &mut self.gateway).unwrap();
        }
        let head = memchr::memmem::find(&answer, b"\r\n\r\n").unwrap() + 4;
        assert!(answer.starts_with(b"HTTP/1.1 200 "));
        assert_eq!(memchr::memchr_iter(MARK, &answer).count(), 1);
        answer.split_off(head)
    }
}

/// Returns a client with one request in flight on each connection.
fn client(connections: usize) -> Client {
    Client {
        request: format!(
            "GET {TARGET} HTTP/1.1\r\nHost: localhost:8000\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"
        ),
        mark: MARK,
        connections,
        depth: 1,
        requests: REQUESTS,
    }
}
