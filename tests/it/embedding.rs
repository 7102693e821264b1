//! The reactor on real sockets, embedded in a program.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use pilcrow::admin::{self, AdminApi};
use pilcrow::distributor::{self, Distributor};
use pilcrow::gateway::{self, Gateway};
use pilcrow::node::{self, Context, Node, ReplyTo, Request, Service};
use pilcrow::protocol::Route;
use pilcrow::reactor::{
    Close, CloseReason, ConnId, ConnectOptions, Framing, Handler, Limits, ListenOptions, Net,
    Origin, Owner, Reactor, TimerId,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::support::DEADLINE;

/// Sends frames back, replies to bytes with their number, and records callbacks.
#[derive(Default)]
struct Echo {
    owner: Owner,
    opened: Vec<(ConnId, Origin)>,
    frames: Vec<String>,
    closed: Vec<CloseReason>,
    timers: Vec<u64>,
    wakes: usize,
}

impl Handler for Echo {
    fn owns(&mut self, owner: Owner) -> bool {
        owner == self.owner
    }

    fn on_open(&mut self, _net: &mut Net, conn: ConnId, origin: Origin) {
        self.opened.push((conn, origin));
    }

    fn on_frame(&mut self, net: &mut Net, conn: ConnId, frame: &[u8]) {
        self.frames
            .push(String::from_utf8_lossy(frame).into_owned());
        if let Some((_, Origin::Connected)) = self.opened.iter().find(|(id, _)| *id == conn) {
            return;
        }
        assert!(net.send_with(conn, |reply| reply.write_all(frame)));
    }

    fn on_bytes(&mut self, net: &mut Net, conn: ConnId, bytes: &[u8]) -> usize {
        assert!(net.send_with(conn, |reply| write!(reply, "{} bytes", bytes.len())));
        net.close(conn, Close::AfterFlush);
        bytes.len()
    }

    fn on_close(&mut self, _net: &mut Net, _conn: ConnId, why: CloseReason) {
        self.closed.push(why);
    }

    fn on_timer(&mut self, _net: &mut Net, _timer: TimerId, tag: u64) {
        self.timers.push(tag);
    }

    fn on_wake(&mut self, _net: &mut Net) {
        self.wakes += 1;
    }
}

fn any_port() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn listening_reactor(framing: Framing) -> (Reactor, SocketAddr) {
    let mut reactor = Reactor::new(Limits::default()).unwrap();
    let options = ListenOptions {
        framing,
        ..ListenOptions::default()
    };
    let listener = reactor.net().listen(any_port(), options).unwrap();
    let addr = reactor.net().local_addr(listener).unwrap();
    (reactor, addr)
}

#[track_caller]
fn turn_until(reactor: &mut Reactor, echo: &mut Echo, mut done: impl FnMut(&Echo) -> bool) {
    let until = Instant::now() + DEADLINE;
    while !done(echo) {
        assert!(Instant::now() < until, "timed out");
        reactor
            .turn(Some(Duration::from_millis(100)), echo)
            .unwrap();
    }
}

#[test]
fn serves_both_ends_of_a_connection_in_one_thread() {
    let (mut reactor, addr) = listening_reactor(Framing::Pilcrow);
    let mut echo = Echo::default();
    let conn = reactor.net().connect(addr, ConnectOptions::default());
    let mut early = reactor.net().send(conn).unwrap();
    early
        .write_all(b"{\"sent\":\"before it was open\"}")
        .unwrap();
    early.finish();
    turn_until(&mut reactor, &mut echo, |echo| echo.frames.len() == 2);
    assert_eq!(echo.frames[0], echo.frames[1]);
    reactor.net().close(conn, Close::AfterFlush);
    turn_until(&mut reactor, &mut echo, |echo| echo.closed.len() == 2);
    assert_eq!(echo.closed, [CloseReason::Local, CloseReason::PeerClosed]);
    while reactor.net().connections() > 0 {
        reactor
            .turn(Some(Duration::from_millis(100)), &mut echo)
            .unwrap();
    }
}

#[test]
fn hands_waiting_connections_from_one_reactor_to_the_next() {
    let held = TcpListener::bind(any_port()).unwrap();
    let addr = held.local_addr().unwrap();
    let mut clients = Vec::new();
    for run in 1..=3 {
        let mut client = TcpStream::connect(addr).unwrap();
        client.write_all("{}¶".as_bytes()).unwrap();
        clients.push(client);
        let mut reactor = Reactor::new(Limits::default()).unwrap();
        let ours = held.try_clone().unwrap().into();
        let listener = reactor.net().listen_on(ours, ListenOptions::default());
        let listener = listener.unwrap();
        assert_eq!(reactor.net().local_addr(listener), Some(addr));
        let mut echo = Echo::default();
        turn_until(&mut reactor, &mut echo, |echo| echo.frames.len() == 1);
        reactor.net().close_listener(listener);
        // For the next reactor.
        clients.push(TcpStream::connect(addr).unwrap());
        reactor
            .turn(Some(Duration::from_millis(10)), &mut echo)
            .unwrap();
        assert_eq!(echo.opened.len(), if run == 1 { 1 } else { 2 });
    }
}

#[test]
fn reports_a_refused_connect_by_on_close() {
    let unused = TcpListener::bind(any_port()).unwrap().local_addr().unwrap();
    let mut reactor = Reactor::new(Limits::default()).unwrap();
    let mut echo = Echo::default();
    reactor.net().connect(unused, ConnectOptions::default());
    turn_until(&mut reactor, &mut echo, |echo| !echo.closed.is_empty());
    let refused = CloseReason::ConnectFailed(ErrorKind::ConnectionRefused);
    assert_eq!(echo.closed, [refused]);
    assert!(echo.opened.is_empty());
}

#[test]
fn serves_listeners_with_different_framings() {
    let (mut reactor, framed) = listening_reactor(Framing::Pilcrow);
    let options = ListenOptions {
        framing: Framing::Raw,
        ..ListenOptions::default()
    };
    let raw = reactor.net().listen(any_port(), options).unwrap();
    let raw = reactor.net().local_addr(raw).unwrap();
    let clients = thread::spawn(move || {
        let mut framed = TcpStream::connect(framed).unwrap();
        framed.write_all("{}¶".as_bytes()).unwrap();
        let mut answer = [0; 4];
        framed.read_exact(&mut answer).unwrap();
        assert_eq!(answer, "{}¶".as_bytes());

        let mut raw = TcpStream::connect(raw).unwrap();
        raw.write_all("¶¶¶¶".as_bytes()).unwrap();
        let mut answer = String::new();
        raw.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "8 bytes");
    });
    let mut echo = Echo::default();
    turn_until(&mut reactor, &mut echo, |_| clients.is_finished());
    clients.join().unwrap();
}

#[test]
fn wakes_from_another_thread() {
    let mut reactor = Reactor::new(Limits::default()).unwrap();
    let waker = reactor.waker();
    let until = Instant::now() + DEADLINE;
    let ringer = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        waker.wake().unwrap();
    });
    let mut echo = Echo::default();
    while echo.wakes == 0 && Instant::now() < until {
        reactor.turn(Some(DEADLINE), &mut echo).unwrap();
    }
    ringer.join().unwrap();
    assert!(Instant::now() < until, "only the timeout ended the wait");
}

#[test]
fn runs_nested_in_a_host_loop_by_its_fd() {
    let (mut reactor, addr) = listening_reactor(Framing::Pilcrow);
    let mut echo = Echo::default();
    let later = reactor.now() + Duration::from_millis(50);
    reactor.net().arm(Owner::default(), later, 7);
    let client = thread::spawn(move || {
        let mut client = TcpStream::connect(addr).unwrap();
        for _ in 0..100 {
            client.write_all("{\"n\":1}¶".as_bytes()).unwrap();
            let mut answer = [0; 9];
            client.read_exact(&mut answer).unwrap();
        }
    });
    // The host sleeps on the fd; the reactor never sleeps.
    let until = Instant::now() + DEADLINE;
    while !client.is_finished() || echo.timers.is_empty() {
        assert!(Instant::now() < until, "the host was not woken");
        let now = reactor.now();
        let sleep = match reactor.next_deadline() {
            Some(deadline) => deadline.saturating_since(now),
            None => Duration::from_millis(100),
        };
        let sleep = sleep.min(Duration::from_millis(100));
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: i64::from(sleep.subsec_nanos()),
        };
        let fd = reactor.as_fd();
        poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout)).unwrap();
        reactor.turn(Some(Duration::ZERO), &mut echo).unwrap();
    }
    client.join().unwrap();
    assert_eq!(echo.frames.len(), 100);
    assert_eq!(echo.timers, [7]);
}

#[test]
fn calls_each_handler_for_its_own_connections_and_timers() {
    let mut reactor = Reactor::new(Limits::default()).unwrap();
    // The first allocates no owner, which one of several may do.
    let owners = [Owner::default(), reactor.net().new_owner()];
    let mut echoes = owners.map(|owner| Echo {
        owner,
        ..Echo::default()
    });
    let mut addrs = Vec::new();
    for (owner, tag) in owners.into_iter().zip(10..) {
        let options = ListenOptions {
            owner,
            ..ListenOptions::default()
        };
        let listener = reactor.net().listen(any_port(), options).unwrap();
        addrs.push(reactor.net().local_addr(listener).unwrap());
        let now = reactor.now();
        reactor.net().arm(owner, now, tag);
    }
    let mut clients: Vec<TcpStream> = addrs
        .iter()
        .map(|addr| TcpStream::connect(addr).unwrap())
        .collect();
    clients[0].write_all("zero¶".as_bytes()).unwrap();
    clients[1].write_all("one¶".as_bytes()).unwrap();
    reactor.waker().wake().unwrap();
    let until = Instant::now() + DEADLINE;
    while echoes
        .iter()
        .any(|echo| echo.frames.is_empty() || echo.timers.is_empty())
    {
        assert!(Instant::now() < until, "timed out");
        let [first, second] = &mut echoes;
        let wait = Some(Duration::from_millis(100));
        reactor.turn(wait, &mut (first, second)).unwrap();
    }
    assert_eq!(
        (&*echoes[0].frames[0], &*echoes[1].frames[0]),
        ("zero", "one")
    );
    assert_eq!((echoes[0].timers[0], echoes[1].timers[0]), (10, 11));
    assert!(echoes.iter().all(|echo| echo.wakes == 1));
}

#[test]
fn closes_connections_that_no_handler_owns() {
    let mut reactor = Reactor::new(Limits::default()).unwrap();
    let options = ListenOptions {
        owner: reactor.net().new_owner(),
        ..ListenOptions::default()
    };
    let listener = reactor.net().listen(any_port(), options).unwrap();
    let addr = reactor.net().local_addr(listener).unwrap();
    let client = thread::spawn(move || {
        let mut client = TcpStream::connect(addr).unwrap();
        client.read(&mut [0]).unwrap()
    });
    let mut echoes = vec![Echo::default(), Echo::default()];
    let until = Instant::now() + DEADLINE;
    while !client.is_finished() {
        assert!(Instant::now() < until, "timed out");
        let wait = Some(Duration::from_millis(10));
        reactor.turn(wait, &mut echoes).unwrap();
    }
    assert_eq!(client.join().unwrap(), 0);
    assert!(echoes.iter().all(|echo| echo.opened.is_empty()));
}

/// Replies with its name.
struct Named(&'static str);

impl Service for Named {
    fn on_request(&mut self, cx: &mut Context<'_>, _: &Request<'_>, to: ReplyTo) {
        cx.reply(to, self.0);
    }
}

fn http_get(addr: SocketAddr, target: &str) -> String {
    let mut client = TcpStream::connect(addr).unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    let head = format!("GET {target} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
    client.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer
}

/// Repeats the request until the response has these words.
fn http_get_until(addr: SocketAddr, target: &str, words: &[&str]) {
    let until = Instant::now() + DEADLINE;
    loop {
        let answer = http_get(addr, target);
        if words.iter().all(|word| answer.contains(word)) {
            return;
        }
        assert!(
            Instant::now() < until,
            "timed out waiting for {words:?}: {answer}"
        );
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn runs_a_distributor_admin_api_gateway_and_two_nodes_on_one_reactor() {
    let mut reactor = Reactor::new(Limits::default()).unwrap();
    let net = reactor.net();
    let mut distributor = Distributor::new(distributor::Config::default());
    let mut admin = AdminApi::new(admin::Config::default());
    let admin_addr = admin.listen(net, &mut distributor, any_port()).unwrap();
    let addr = distributor.listen(net, any_port()).unwrap();
    let mut gateway = Gateway::new(gateway::Config::new(addr));
    let gateway_addr = gateway.listen(net, any_port()).unwrap();
    gateway.start(net).unwrap();
    let [mut goods, mut prices] = ["goods", "prices"].map(|name| {
        let config = node::Config::new(name)
            .routes([Route::new("GET", format!("/{name}"))])
            .listen(any_port())
            .distributor(addr);
        let mut node = Node::new(config, Named(name));
        node.start(net).unwrap();
        node
    });
    let client = thread::spawn(move || {
        http_get_until(gateway_addr, "/goods", &["HTTP/1.1 200", "goods"]);
        http_get_until(gateway_addr, "/prices", &["HTTP/1.1 200", "prices"]);
        http_get_until(admin_addr, "/nodes", &["goods", "prices", "gate"]);
    });
    while !client.is_finished() {
        let mut all = (
            &mut admin.beside(&mut distributor),
            &mut gateway,
            &mut goods,
            &mut prices,
        );
        let wait = Some(Duration::from_millis(20));
        reactor.turn(wait, &mut all).unwrap();
    }
    client.join().unwrap();
}
