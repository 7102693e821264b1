//! Health checks of a node.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use pilcrow::distributor::{self, Distributor};
use pilcrow::node::{Builder, Node, Routes};
use pilcrow::reactor::{Limits, Net, Reactor};

use crate::http::{Answer, Client};
use crate::support::wait_until;

const ANY_PORT: &str = "127.0.0.1:0";

/// A node with health checks and perhaps its Distributor, in the thread of the test.
struct Bench {
    reactor: Reactor,
    node: Node<Routes>,
    distributor: Option<Distributor>,
    health: SocketAddr,
}

impl Bench {
    fn new(builder: impl FnOnce(&mut Net) -> Builder) -> Bench {
        let mut reactor = Reactor::new(Limits::default()).unwrap();
        let builder = builder(reactor.net()).listen(ANY_PORT).health(ANY_PORT);
        let node = builder.build(reactor.net()).unwrap();
        let health = node.health_addr().unwrap();
        Bench {
            reactor,
            node,
            distributor: None,
            health,
        }
    }

    fn turn(&mut self) {
        let wait = Some(Duration::from_millis(1));
        let all = &mut (&mut self.node, &mut self.distributor);
        self.reactor.turn(wait, all).unwrap();
    }

    /// Sends a request, and turns until the response is there.
    fn fetch(&mut self, method: &str, path: &str) -> Answer {
        let stream = TcpStream::connect(self.health).unwrap();
        let mut client = Client::new(stream.try_clone().unwrap());
        client.send(&format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        stream.set_nonblocking(true).unwrap();
        wait_until("the response", || {
            self.turn();
            stream.peek(&mut [0]).is_ok()
        });
        stream.set_nonblocking(false).unwrap();
        client.answer()
    }

    fn readiness(&mut self) -> (u16, String) {
        let answer = self.fetch("GET", "/readyz");
        (answer.status, answer.body)
    }
}

fn ready() -> (u16, String) {
    (200, "ready\n".to_owned())
}

#[test]
fn a_node_without_a_distributor_is_ready_until_it_stops() {
    let mut bench = Bench::new(|_| Node::builder("alone").get("/x", |_cx, _request| Ok(1)));
    let health = bench.fetch("GET", "/healthz");
    assert_eq!((health.status, &*health.body), (200, "ok\n"));
    assert_eq!(bench.readiness(), ready());
    assert_eq!(bench.fetch("GET", "/metrics").status, 404);
    assert_eq!(bench.fetch("POST", "/readyz").status, 405);
    assert_eq!(bench.fetch("GET", "/x").status, 404);

    bench.node.context(bench.reactor.net()).stop();
    wait_until("the end", || {
        bench.turn();
        bench.node.has_left()
    });
    wait_until("the last close", || {
        bench.turn();
        bench.reactor.net().connections() == 0
    });
    assert!(TcpStream::connect(bench.health).is_err());
}

#[test]
fn a_node_is_ready_from_its_registration_until_it_leaves() {
    let mut addr = None;
    let mut distributor = None;
    let mut bench = Bench::new(|net| {
        let mut started = Distributor::new(distributor::Config::default());
        let listening = started.listen(net, ANY_PORT.parse().unwrap()).unwrap();
        addr = Some(listening);
        distributor = Some(started);
        Node::builder("listed").distributor(listening)
    });
    // The Distributor is not turned yet.
    let not_registered = (503, "not registered with a Distributor\n".to_owned());
    assert_eq!(bench.readiness(), not_registered);
    bench.distributor = distributor;
    wait_until("the registration", || bench.readiness() == ready());

    bench
        .distributor
        .as_mut()
        .unwrap()
        .stop(bench.reactor.net());
    wait_until("the loss", || {
        bench.readiness().1.contains("Distributor is lost")
    });
    assert_eq!(bench.readiness().0, 200);

    bench
        .node
        .context(bench.reactor.net())
        .drain(Duration::from_secs(3600));
    assert_eq!(bench.readiness(), (503, "leaving\n".to_owned()));
    assert_eq!(bench.fetch("GET", "/healthz").status, 200);
}

#[test]
fn build_names_an_address_for_health_checks_that_is_in_use() {
    let taken = std::net::TcpListener::bind(ANY_PORT).unwrap();
    let addr = taken.local_addr().unwrap();
    let mut reactor = Reactor::new(Limits::default()).unwrap();
    let builder = Node::builder("late").listen(ANY_PORT).health(addr);
    let error = builder.build(reactor.net()).unwrap_err();
    let message = format!("cannot listen on {addr} for health checks");
    assert!(error.message().starts_with(&message), "{error}");
}

#[test]
fn service_timers_run_beside_health_checks() {
    let mut bench = Bench::new(|_| {
        Node::builder("ticks").every(Duration::from_millis(1), |cx| cx.shut_down(Duration::ZERO))
    });
    wait_until("the timer", || {
        bench.turn();
        bench.node.is_leaving()
    });
}
