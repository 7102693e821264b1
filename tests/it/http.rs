//! The HTTP server on real sockets, embedded in a program.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use pilcrow::http::{App, Event, EventStream, Http, Limits, Request, Response, ResponseTo, Server};
use pilcrow::reactor::{Limits as LoopLimits, Reactor, Waker};

use crate::support::{DEADLINE, wait_until};

/// Pages to test with.
#[derive(Default)]
struct Pages {
    seen: Arc<Seen>,
    later: Vec<ResponseTo>,
    streams: Vec<EventStream>,
}

/// The callbacks of the pages, counted for the thread of the test.
#[derive(Default)]
struct Seen {
    requests: AtomicUsize,
    refused: AtomicUsize,
    unwanted: AtomicUsize,
    streams_closed: AtomicUsize,
    stops: AtomicBool,
}

impl App for Pages {
    fn on_request(&mut self, http: &mut Http<'_>, request: &Request<'_>, to: ResponseTo) {
        self.seen.requests.fetch_add(1, Ordering::Relaxed);
        match request.path() {
            "/hello" => http.respond(to, &Response::text(200, "hello")),
            "/echo" => {
                let response = Response {
                    status: 200,
                    headers: &[("X-Method", request.method())],
                    body: request.body(),
                };
                http.respond(to, &response);
            }
            "/pairs" => {
                let pairs: Vec<String> = request
                    .query_pairs()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect();
                http.respond(to, &Response::text(200, &pairs.join(";")));
            }
            "/big" => http.respond(to, &Response::text(200, &"x".repeat(8 << 20))),
            "/later" => self.later.push(to),
            "/release" => {
                for later in self.later.drain(..) {
                    http.respond(later, &Response::text(200, "at last"));
                }
                http.respond(to, &Response::text(200, "released"));
            }
            "/events" => self.streams.extend(http.stream_events(to, &[])),
            "/publish" => {
                let data = "d".repeat(10_000);
                let event = Event {
                    name: "news",
                    id: "1",
                    data: &data,
                };
                self.streams
                    .retain(|stream| http.send_event(*stream, &event));
                http.respond(to, &Response::text(200, &self.streams.len().to_string()));
            }
            _ => http.respond(to, &Response::text(404, "no such page")),
        }
    }

    fn on_refused(&mut self, _: &mut Http<'_>, peer: Option<SocketAddr>, _: u16, _: &str) {
        assert!(peer.is_some());
        self.seen.refused.fetch_add(1, Ordering::Relaxed);
    }

    fn on_unwanted(&mut self, _: &mut Http<'_>, to: ResponseTo) {
        self.later.retain(|later| *later != to);
        self.seen.unwanted.fetch_add(1, Ordering::Relaxed);
    }

    fn on_stream_closed(&mut self, _: &mut Http<'_>, stream: EventStream) {
        self.streams.retain(|other| *other != stream);
        self.seen.streams_closed.fetch_add(1, Ordering::Relaxed);
    }
}

/// A server with the test pages, in a thread of its own.
struct Running {
    addr: SocketAddr,
    seen: Arc<Seen>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start(limits: Limits) -> Running {
        Running::on(LoopLimits::default(), limits)
    }

    fn on(loop_limits: LoopLimits, limits: Limits) -> Running {
        let seen = Arc::new(Seen::default());
        let (sender, receiver) = mpsc::channel();
        let pages_seen = Arc::clone(&seen);
        // A reactor cannot be moved to another thread.
        let thread = thread::spawn(move || {
            let mut reactor = Reactor::new(loop_limits).unwrap();
            let mut server = Server::new(limits);
            let any_port = "127.0.0.1:0".parse().unwrap();
            let addr = server.listen(reactor.net(), any_port).unwrap();
            let mut pages = Pages {
                seen: pages_seen,
                ..Pages::default()
            };
            sender.send((addr, reactor.waker())).unwrap();
            while !pages.seen.stops.load(Ordering::Acquire) {
                reactor.turn(None, &mut server.with(&mut pages)).unwrap();
            }
            server.stop(reactor.net());
            while server.connections() > 0 {
                let wait = Some(Duration::from_millis(100));
                reactor.turn(wait, &mut server.with(&mut pages)).unwrap();
            }
            assert!(pages.streams.is_empty() && pages.later.is_empty());
        });
        let (addr, waker) = receiver.recv().unwrap();
        Running {
            addr,
            seen,
            waker,
            thread: Some(thread),
        }
    }

    fn connect(&self) -> Client {
        Client::new(TcpStream::connect(self.addr).unwrap())
    }

    fn stop(&self) {
        self.seen.stops.store(true, Ordering::Release);
        self.waker.wake().unwrap();
    }

    /// Stops the server. Fails if a connection outlives it.
    fn end(mut self) {
        self.stop();
        self.thread.take().unwrap().join().unwrap();
    }
}

/// A client that reads one response after the other.
pub struct Client(BufReader<TcpStream>);

#[derive(Debug, PartialEq)]
pub struct Answer {
    pub status: u16,
    head: String,
    pub body: String,
}

impl Client {
    pub fn new(stream: TcpStream) -> Client {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client(BufReader::new(stream))
    }

    pub fn send(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    pub fn get(&mut self, path: &str) -> Answer {
        self.send(&get(path));
        self.answer()
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line
    }

    pub fn head(&mut self) -> Answer {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let line = self.line();
            assert!(!line.is_empty(), "closed within a head: {head:?}");
            head.push_str(&line);
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let body = String::new();
        Answer { status, head, body }
    }

    #[track_caller]
    pub fn answer(&mut self) -> Answer {
        let mut answer = self.head();
        let length = answer.header("Content-Length").unwrap_or_default();
        let mut body = vec![0; length.parse().unwrap_or(0)];
        self.0.read_exact(&mut body).unwrap();
        answer.body = String::from_utf8(body).unwrap();
        answer
    }

    #[track_caller]
    pub fn assert_closed(&mut self) {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Ok(_) => assert_eq!(String::from_utf8_lossy(&rest), ""),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<String> {
        let prefix = format!("{name}: ");
        let mut lines = self.head.lines();
        lines.find_map(|line| line.strip_prefix(&prefix).map(str::to_owned))
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

#[test]
fn keeps_connections_alive() {
    let server = Running::start(Limits::default());
    let mut client = server.connect();
    for _ in 0..3 {
        let answer = client.get("/hello");
        assert_eq!((answer.status, &*answer.body), (200, "hello"));
        assert_eq!(answer.header("Connection"), None);
        assert!(answer.header("Date").unwrap().ends_with(" GMT"));
    }
    assert_eq!(client.get("/pairs?a=1&b=%20x+y&a=").body, "a=1;b= x y;a=");
    assert_eq!(client.get("/nowhere").status, 404);
    client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab");
    client.send("c");
    assert_eq!(client.answer().body, "abc");
    client.send("PUT /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r");
    client.send("\n2\r\nyz\r\n0\r\n\r\n");
    let answer = client.answer();
    assert_eq!(
        (&*answer.body, answer.header("X-Method").as_deref()),
        ("xyz", Some("PUT"))
    );
    client.send("GET /hello HTTP/1.2\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer().body, "hello");
    client.send("HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.head().header("Content-Length").as_deref(), Some("5"));
    client.send("GET /hello HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n");
    assert_eq!(
        client.answer().header("Connection").as_deref(),
        Some("close")
    );
    client.assert_closed();
    server.end();
}

#[test]
fn closes_http_1_0_connections_without_keep_alive() {
    let server = Running::start(Limits::default());
    let mut client = server.connect();
    client.send("GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let answer = client.answer();
    assert_eq!(answer.header("Connection").as_deref(), Some("keep-alive"));
    client.send("GET /hello HTTP/1.0\r\n\r\n");
    assert_eq!(client.answer().body, "hello");
    client.assert_closed();
    server.end();
}

#[test]
fn answers_pipelined_requests_in_order() {
    let server = Running::start(Limits::default());
    let mut client = server.connect();
    let many = 500;
    let mut stream = get("/later") + "\r\n";
    for _ in 0..many {
        stream += &get("/hello");
    }
    client.send(&stream);
    wait_until("the first request", || {
        server.seen.requests.load(Ordering::Relaxed) == 1
    });
    let mut other = server.connect();
    assert_eq!(other.get("/release").body, "released");
    assert_eq!(client.answer().body, "at last");
    for _ in 0..many {
        assert_eq!(client.answer().body, "hello");
    }
    server.end();
}

#[test]
fn answers_half_closed_clients() {
    let server = Running::start(Limits::default());
    let mut clients = ["/later", "/hello"].map(|path| {
        let mut client = server.connect();
        client.send(&get(path));
        client.0.get_ref().shutdown(Shutdown::Write).unwrap();
        client
    });
    wait_until("both requests", || {
        server.seen.requests.load(Ordering::Relaxed) == 2
    });
    server.connect().get("/release");
    for client in &mut clients {
        assert_eq!(client.answer().status, 200);
        client.assert_closed();
    }
    server.end();
}

#[test]
fn closes_connections_with_ambiguous_requests() {
    let server = Running::start(Limits::default());
    let smuggled = get("/release");
    for (number, request) in [
        format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}", smuggled.len() + 5),
        format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: {}\r\n\r\n{smuggled}", smuggled.len()),
        format!("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n{smuggled}"),
        format!("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n{smuggled}"),
        format!("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\n\n{smuggled}"),
        format!("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n{smuggled}"),
        format!("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{smuggled}"),
        format!("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{smuggled}"),
        format!("GET /hello?\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n{smuggled}"),
        format!("GET /hello\r\n\r\n{smuggled}"),
        format!("GET /a/../hello HTTP/1.1\r\nHost: a\r\n\r\n{smuggled}"),
        format!("GET /hello HTTP/1.1\nHost: a\n\n{smuggled}"),
        format!("GET /hello HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n{smuggled}"),
        format!("GET /hello HTTP/1.1\r\n\r\n{smuggled}"),
        format!("garbage\r\n\r\n{smuggled}"),
    ]
    .iter()
    .enumerate()
    {
        let mut client = server.connect();
        client.send(request);
        let answer = client.answer();
        assert_eq!(answer.status, 400, "{request:?}");
        assert_eq!(answer.header("Connection").as_deref(), Some("close"));
        client.assert_closed();
        assert_eq!(server.seen.refused.load(Ordering::Relaxed), number + 1);
    }
    assert_eq!(server.seen.requests.load(Ordering::Relaxed), 0);
    server.end();
}

#[test]
fn refuses_large_requests_early() {
    let server = Running::start(Limits::default());
    for (request, status) in [
        (format!("GET /{} HTTP/1.1\r\n", "x".repeat(17 << 10)), 431),
        (
            format!("GET / HTTP/1.1\r\nHost: a\r\n{}", "X: y\r\n".repeat(3000)),
            431,
        ),
        (
            format!(
                "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
                "X: y\r\n".repeat(101)
            ),
            431,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1048577\r\n\r\n".to_owned(),
            413,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n100001\r\n".to_owned(),
            413,
        ),
    ] {
        let mut client = server.connect();
        client.send(&request);
        assert_eq!(client.answer().status, status);
        client.assert_closed();
    }
    let mut client = server.connect();
    let body = "b".repeat(1 << 20);
    client.send(&format!(
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
        body.len()
    ));
    client.send(&body);
    assert!(client.answer().body == body);
    server.end();
}

#[test]
fn sends_100_continue_before_the_body() {
    let server = Running::start(Limits::default());
    let mut client = server.connect();
    client.send(
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n",
    );
    assert_eq!(client.head().status, 100);
    client.send("ok");
    assert_eq!(client.answer().body, "ok");
    server.end();
}

#[test]
fn answers_slow_requests_with_408_and_closes_idle_connections() {
    let server = Running::start(Limits {
        request_timeout: Duration::from_millis(100),
        keep_alive: Duration::from_millis(300),
        ..Limits::default()
    });
    for beginning in [
        "GET /hello HTTP/1.1\r\nHo",
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\nabc",
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n50\r\nabc",
    ] {
        let mut client = server.connect();
        client.send(&(get("/hello") + beginning));
        assert_eq!(client.answer().status, 200);
        // Single bytes do not extend the time.
        for _ in 0..5 {
            thread::sleep(Duration::from_millis(10));
            let _ = client.0.get_mut().write_all(b"x");
        }
        assert_eq!(client.answer().status, 408);
        client.assert_closed();
    }
    let mut idle = server.connect();
    idle.assert_closed();
    // Halves of empty lines do not extend the time either.
    let mut dripping = server.connect();
    let short = Some(Duration::from_millis(30));
    dripping.0.get_ref().set_read_timeout(short).unwrap();
    let began = Instant::now();
    for byte in b"\r\n".iter().cycle() {
        let _ = dripping.0.get_mut().write_all(&[*byte]);
        match dripping.0.read(&mut [0; 64]) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                assert!(began.elapsed() < DEADLINE, "the connection is never closed");
            }
            Ok(0) | Err(_) => break,
            Ok(_) => panic!("unexpected response without a request"),
        }
    }
    let mut used = server.connect();
    used.get("/hello");
    used.assert_closed();
    server.end();
}

#[test]
fn answers_503_without_a_response_in_time() {
    let server = Running::start(Limits {
        response_timeout: Duration::from_millis(100),
        ..Limits::default()
    });
    let mut client = server.connect();
    assert_eq!(client.get("/later").status, 503);
    client.assert_closed();
    wait_until("on_unwanted", || {
        server.seen.unwanted.load(Ordering::Relaxed) == 1
    });
    server.end();
}

#[test]
fn sends_long_responses_whole_and_in_order() {
    let server = Running::start(Limits::default());
    let mut client = server.connect();
    client.send(&(get("/big") + &get("/big") + &get("/hello")));
    for _ in 0..2 {
        let answer = client.answer();
        assert_eq!((answer.status, answer.body.len()), (200, 8 << 20));
    }
    assert_eq!(client.answer().body, "hello");
    server.end();
}

#[test]
fn disconnects_clients_that_do_not_read_responses() {
    let loop_limits = LoopLimits {
        write_timeout: Duration::from_millis(300),
        ..LoopLimits::default()
    };
    let server = Running::on(loop_limits, Limits::default());
    let mut stuck = server.connect();
    for _ in 0..20 {
        stuck.send(&get("/big"));
    }
    // The requests after the first are not read.
    wait_until("the disconnection", || {
        stuck.0.get_mut().write_all(get("/big").as_bytes()).is_err()
    });
    assert_eq!(server.seen.requests.load(Ordering::Relaxed), 1);
    server.end();
}

#[test]
fn streams_events_until_one_side_ends() {
    let server = Running::start(Limits {
        stream_heartbeat: Duration::from_millis(50),
        ..Limits::default()
    });
    let mut follower = server.connect();
    follower.send(&get("/events"));
    let head = follower.head();
    assert_eq!(
        head.header("Content-Type").as_deref(),
        Some("text/event-stream")
    );
    assert_eq!(head.header("Transfer-Encoding").as_deref(), Some("chunked"));
    let mut old = server.connect();
    old.send("GET /events HTTP/1.0\r\n\r\n");
    assert_eq!(old.head().header("Transfer-Encoding"), None);
    assert_eq!(old.line(), ":\n", "a heartbeat");
    let mut publisher = server.connect();
    assert_eq!(publisher.get("/publish").body, "2");
    for client in [&mut follower, &mut old] {
        while client.line() != "event: news\n" {}
        assert_eq!(client.line(), "id: 1\n");
        assert_eq!(client.line().len(), "data: \n".len() + 10_000);
    }
    drop(follower);
    wait_until("on_stream_closed", || {
        server.seen.streams_closed.load(Ordering::Relaxed) == 1
    });
    assert_eq!(publisher.get("/publish").body, "1");
    server.stop();
    let mut rest = String::new();
    old.0.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("data: ddd"));
    server.end();
}

#[test]
fn disconnects_only_the_stream_that_is_not_read() {
    let server = Running::start(Limits::default());
    let mut stuck = server.connect();
    stuck.send(&get("/events"));
    stuck.head();
    let mut publisher = server.connect();
    let mut rounds = 0;
    while publisher.get("/publish").body == "1" {
        rounds += 1;
        assert!(rounds < 10_000, "the stream is never disconnected");
    }
    wait_until("on_stream_closed", || {
        server.seen.streams_closed.load(Ordering::Relaxed) == 1
    });
    server.end();
}

#[test]
fn answers_503_beyond_max_connections() {
    let server = Running::start(Limits {
        max_connections: 2,
        ..Limits::default()
    });
    let mut first = server.connect();
    let mut second = server.connect();
    assert_eq!(first.get("/hello").status, 200);
    assert_eq!(second.get("/hello").status, 200);
    let mut third = server.connect();
    assert_eq!(third.answer().status, 503);
    third.assert_closed();
    drop(first);
    wait_until("room for one more", || {
        let mut next = server.connect();
        next.send(&get("/hello"));
        next.answer().status == 200
    });
    server.end();
}

#[test]
fn bounds_the_bytes_of_incomplete_requests() {
    let server = Running::start(Limits {
        max_held_bytes: 100_000,
        ..Limits::default()
    });
    let head = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 90000\r\n\r\n";
    let mut first = server.connect();
    first.send(&(head.to_owned() + &"x".repeat(60_000)));
    // Its bytes are held once the server answers other requests.
    let mut second = server.connect();
    wait_until("a refusal", || {
        let mut next = server.connect();
        next.send(&(head.to_owned() + &"x".repeat(60_000)));
        let refused = server.seen.refused.load(Ordering::Relaxed) > 0;
        refused && next.answer().status == 503
    });
    first.send(&"x".repeat(30_000));
    assert_eq!(first.answer().body.len(), 90_000);
    assert_eq!(second.get("/hello").status, 200);
    server.end();
}

#[test]
fn stop_answers_requests_sent_before_it() {
    let mut reactor = Reactor::new(LoopLimits::default()).unwrap();
    let mut server = Server::new(Limits::default());
    let any_port = "127.0.0.1:0".parse().unwrap();
    let addr = server.listen(reactor.net(), any_port).unwrap();
    let connect = || Client::new(TcpStream::connect(addr).unwrap());
    let (mut active, mut silent) = (connect(), connect());
    let mut pages = Pages::default();
    let wait = Some(Duration::from_millis(100));
    while server.connections() < 2 {
        reactor.turn(wait, &mut server.with(&mut pages)).unwrap();
    }
    active.send(&get("/hello"));
    server.stop(reactor.net());
    while server.connections() > 0 {
        reactor.turn(wait, &mut server.with(&mut pages)).unwrap();
    }
    drop(reactor);
    let answer = active.answer();
    assert_eq!(answer.body, "hello");
    assert_eq!(answer.header("Connection").as_deref(), Some("close"));
    active.assert_closed();
    silent.assert_closed();
}

#[test]
fn stop_closes_idle_connections_and_answers_pending_requests() {
    let server = Running::start(Limits::default());
    let mut idle = server.connect();
    idle.get("/hello");
    let mut waiting = server.connect();
    waiting.send(&get("/later"));
    let mut late = server.connect();
    late.send("GET /release HTTP/1.1\r\n");
    let mut follower = server.connect();
    follower.send("GET /events HTTP/1.1\r\n");
    wait_until("the requests", || {
        server.seen.requests.load(Ordering::Relaxed) == 2
    });
    // After this response, the halves of requests that were sent before have arrived as well.
    assert_eq!(server.connect().get("/hello").status, 200);
    server.stop();
    idle.assert_closed();
    follower.send("Host: a\r\n\r\n");
    assert_eq!(follower.head().status, 200);
    // A stream that ends at once is complete.
    assert_eq!(
        (follower.line(), follower.line()),
        ("0\r\n".to_owned(), "\r\n".to_owned())
    );
    follower.assert_closed();
    late.send("Host: a\r\n\r\n");
    for client in [&mut late, &mut waiting] {
        let answer = client.answer();
        assert_eq!(answer.header("Connection").as_deref(), Some("close"));
        client.assert_closed();
    }
    server.end();
}
