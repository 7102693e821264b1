//! The gateway as a program, between HTTP clients and nodes on real sockets.

pub mod admin;
mod plain_node;
mod statuses;
mod trace;

use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use pilcrow::node::{CallError, CallId, Config, Context, Node, ReplyTo, Request, Service};
use pilcrow::protocol::{ErrorCode, Reply, Route};
use pilcrow::reactor::{Limits, Reactor, Waker};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::http::{Answer, Client};
use crate::support::{
    DEADLINE, Distributor, Program, command, node_is_missing, skip_or_require, wait_until,
};

/// Answers with its params and its name, but for some paths.
struct Shop {
    name: String,
    served: Arc<AtomicUsize>,
    held: Vec<ReplyTo>,
    releases: Arc<AtomicBool>,
    dies: Arc<AtomicBool>,
}

impl Service for Shop {
    fn on_request(&mut self, cx: &mut Context<'_>, request: &Request<'_>, reply_to: ReplyTo) {
        self.served.fetch_add(1, Ordering::Relaxed);
        match &*request.route.path {
            "/held" => self.held.push(reply_to),
            "/relay" => {
                cx.call(&Route::get("/goods"), &json!({}), DEADLINE);
                self.held.push(reply_to);
            }
            "/deadly" => self.dies.store(true, Ordering::Release),
            "/long" => cx.reply(reply_to, &"x".repeat(600_000)),
            "/refused" => cx.refuse(reply_to, ErrorCode::InvalidParameters, "not like this"),
            uri => {
                let params: Value = request.params().unwrap();
                let answer = json!({"by": self.name, "uri": uri, "method": request.route.method, "params": params, "request_id": request.request_id});
                cx.reply(reply_to, &answer);
            }
        }
    }

    fn on_result(
        &mut self,
        cx: &mut Context<'_>,
        _: CallId,
        result: Result<Reply<'_>, CallError<'_>>,
    ) {
        let reply = result.unwrap();
        let results: Value = serde_json::from_str(reply.raw_results()).unwrap();
        for reply_to in self.held.drain(..) {
            cx.reply(reply_to, &results);
        }
    }
}

/// A node in a thread of its own. Its sockets close when it is dropped, as if it were killed.
struct Shopkeeper {
    served: Arc<AtomicUsize>,
    releases: Arc<AtomicBool>,
    dies: Arc<AtomicBool>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

impl Shopkeeper {
    fn start(distributor: SocketAddr, name: &str, routes: &[&'static str]) -> Shopkeeper {
        let served = Arc::new(AtomicUsize::new(0));
        let [releases, dies] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
        let shop = Shop {
            name: name.to_owned(),
            served: Arc::clone(&served),
            held: Vec::new(),
            releases: Arc::clone(&releases),
            dies: Arc::clone(&dies),
        };
        let config = Config::new(name)
            .routes(routes.iter().map(|route| Route::parse(route)))
            .listen("127.0.0.1:0".parse::<SocketAddr>().unwrap())
            .distributor(distributor);
        let (sender, receiver) = mpsc::channel();
        let thread = thread::spawn(move || {
            let mut reactor = Reactor::new(Limits::default()).unwrap();
            sender.send(reactor.waker()).unwrap();
            let mut node = Node::new(config, shop);
            node.start(reactor.net()).unwrap();
            while !node.service().dies.load(Ordering::Acquire) {
                reactor.turn(None, &mut node).unwrap();
                if node.service().releases.load(Ordering::Acquire) {
                    for reply_to in std::mem::take(&mut node.service().held) {
                        node.context(reactor.net()).reply(reply_to, "released");
                    }
                }
            }
        });
        Shopkeeper {
            served,
            releases,
            dies,
            waker: receiver.recv().unwrap(),
            thread: Some(thread),
        }
    }

    fn served(&self) -> usize {
        self.served.load(Ordering::Relaxed)
    }

    fn release(&self) {
        self.releases.store(true, Ordering::Release);
        self.waker.wake().unwrap();
    }

    fn kill(&mut self) {
        self.dies.store(true, Ordering::Release);
        let _ = self.waker.wake();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Shopkeeper {
    fn drop(&mut self) {
        self.kill();
    }
}

struct Gateway {
    program: Program,
    addr: SocketAddr,
}

fn gateway_command(flags: &[&str]) -> Command {
    command("gateway", flags)
}

impl Gateway {
    fn start(distributor: SocketAddr, flags: &[&str]) -> Gateway {
        let mut command = gateway_command(flags);
        let distributor = distributor.to_string();
        command.args(["--listen", "127.0.0.1:0", "--distributor", &distributor]);
        let mut program = Program::start(&mut command);
        let addr = program.wait_for_line("address", |line| {
            line.strip_prefix("listening on ")?.parse().ok()
        });
        Gateway { program, addr }
    }

    fn connect(&self) -> Client {
        Client::new(TcpStream::connect(self.addr).unwrap())
    }

    fn fetch(&self, method: &str, target: &str, headers: &str, body: &str) -> Answer {
        let mut client = self.connect();
        client.send(&request(method, target, headers, body));
        match method {
            "HEAD" => client.head(),
            _ => client.answer(),
        }
    }

    fn get(&self, target: &str) -> Answer {
        self.fetch("GET", target, "", "")
    }

    /// Waits until a `GET` of this target is answered with 200.
    fn wait_for(&self, target: &str) {
        wait_until(&format!("a node for {target}"), || {
            self.get(target).status == 200
        });
    }
}

fn request(method: &str, target: &str, headers: &str, body: &str) -> String {
    let length = if body.is_empty() {
        String::new()
    } else {
        format!("Content-Length: {}\r\n", body.len())
    };
    format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{headers}{length}\r\n{body}")
}

/// Returns the results of a reply that the gateway has forwarded, without the key in them.
#[track_caller]
fn results(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{answer:?}");
    let mut reply: Value = serde_json::from_str(&answer.body).unwrap();
    let key = reply["key"].clone();
    assert!(key.is_u64(), "{reply}");
    assert_eq!(
        (&reply["errorcode"], &reply["errormessage"]),
        (&json!(0), &json!("success"))
    );
    let params = reply["results"]["params"].as_object_mut().unwrap();
    assert_eq!(params.remove("key"), Some(key));
    let mut results = reply["results"].take();
    let request_id = results.as_object_mut().unwrap().remove("request_id");
    let sent = answer.header("X-Request-Id").map(Value::String);
    assert_eq!(request_id, sent, "the node received the same id");
    results
}

/// A gateway in a thread of the test, for limits that have no flag. It ends with the test.
fn start_within(distributor: SocketAddr, http: pilcrow::http::Limits) -> SocketAddr {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut reactor = Reactor::new(Limits::default()).unwrap();
        let mut gateway =
            pilcrow::gateway::Gateway::new(pilcrow::gateway::Config::new(distributor).http(http));
        let any_port = "127.0.0.1:0".parse().unwrap();
        sender
            .send(gateway.listen(reactor.net(), any_port).unwrap())
            .unwrap();
        gateway.start(reactor.net()).unwrap();
        loop {
            reactor.turn(None, &mut gateway).unwrap();
        }
    });
    receiver.recv().unwrap()
}

#[test]
fn answers_503_for_a_reply_without_room() {
    let distributor = Distributor::start(&[]);
    let addr = start_within(
        distributor.addr,
        pilcrow::http::Limits {
            max_unread_bytes: 1 << 20,
            ..pilcrow::http::Limits::default()
        },
    );
    let shop = Shopkeeper::start(distributor.addr, "shop", &["GET/long"]);
    let fetch = || {
        let mut client = Client::new(TcpStream::connect(addr).unwrap());
        client.send(&request("GET", "/long", "X-Request-Id: r1\r\n", ""));
        client.answer()
    };
    wait_until("the route", || fetch().status == 200);
    let mut stuck = crate::support::Client::connect_narrow(addr);
    let served = shop.served();
    stuck.send_raw(request("GET", "/long", "", "").as_bytes());
    wait_until("its reply", || shop.served() > served);
    let mut refused = None;
    wait_until("no room", || {
        refused = Some(fetch()).filter(|answer| answer.status == 503);
        refused.is_some()
    });
    let refused = refused.unwrap();
    assert!(error(&refused).contains("unread"), "{refused:?}");
    assert_eq!(refused.header("X-Request-Id").as_deref(), Some("r1"));
    // There is room again when it is gone.
    drop(stuck);
    wait_until("room", || fetch().status == 200);
}

fn error(answer: &Answer) -> String {
    let problem: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(problem["status"], answer.status);
    problem["error"].as_str().unwrap().to_owned()
}

#[test]
fn turns_requests_into_calls_and_replies_into_responses() {
    let distributor = Distributor::start(&[]);
    let urls = [
        "GET/goods",
        "POST/goods",
        "PUT/goods",
        "DELETE/goods",
        "GET/a%2Fb",
        "GET/relay",
    ];
    let _shop = Shopkeeper::start(distributor.addr, "shop", &urls);
    let gateway = Gateway::start(distributor.addr, &[]);
    gateway.wait_for("/goods");

    let call = |method: &str, uri: &str, params: Value| json!({"by": "shop", "uri": uri, "method": method, "params": params});
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let json_type = "Content-Type: application/json\r\n";
    for (method, target, headers, body, expected) in [
        (
            "GET",
            "/goods?a=1&b=x%20y+z&a=2&key=9",
            "",
            "",
            call("GET", "/goods", json!({"a": ["1", "2"], "b": "x y z"})),
        ),
        (
            "DELETE",
            "/goods?id=7",
            "",
            "",
            call("DELETE", "/goods", json!({"id": "7"})),
        ),
        (
            "GET",
            "/goods/17/x?a",
            "",
            "",
            call("GET", "/goods/17/x", json!({"a": ""})),
        ),
        ("GET", "/a%2Fb", "", "", call("GET", "/a%2Fb", json!({}))),
        (
            "GET",
            "http://shop.example/goods?a=1",
            "",
            "",
            call("GET", "/goods", json!({"a": "1"})),
        ),
        (
            "POST",
            "/goods?ignored=1",
            form,
            "a=1&%C2%B6=%C2%B6",
            call("POST", "/goods", json!({"a": "1", "¶": "¶"})),
        ),
        (
            "PUT",
            "/goods",
            "",
            "a=1",
            call("PUT", "/goods", json!({"a": "1"})),
        ),
        (
            "POST",
            "/goods",
            json_type,
            "{\"a\":[1,{\"b\":null}],\"key\":3}",
            call("POST", "/goods", json!({"a": [1, {"b": null}]})),
        ),
        (
            "POST",
            "/goods",
            "content-type: Application/JSON ; charset=UTF-8\r\n",
            "{\"¶\":\"¶\"}",
            call("POST", "/goods", json!({"¶": "¶"})),
        ),
        ("POST", "/goods", "", "", call("POST", "/goods", json!({}))),
    ] {
        let answer = gateway.fetch(method, target, headers, body);
        assert_eq!(results(&answer), expected);
        assert_eq!(
            answer.header("Content-Type").as_deref(),
            Some("application/json")
        );
        assert_eq!(answer.header("Access-Control-Allow-Origin"), None);
    }
    let head = gateway.fetch("HEAD", "/goods", "", "");
    assert_eq!(head.status, 200);
    assert!(
        head.header("Content-Length")
            .unwrap()
            .parse::<usize>()
            .unwrap()
            > 50
    );

    let answer = gateway.fetch("GET", "/goods", "X-Request-Id: r-1\r\n", "");
    assert_eq!(answer.header("X-Request-Id").as_deref(), Some("r-1"));
    gateway.program.wait_for_log(&[
        "method=\"GET\"",
        "path=\"/goods\"",
        "status=200",
        "request_id=\"r-1\"",
        "ms=",
        "node=127.0.0.1:",
    ]);
    // A node that calls another one passes it on.
    let relayed = gateway.fetch("GET", "/relay", "X-Request-Id: r-2\r\n", "");
    let relayed: Value = serde_json::from_str(&relayed.body).unwrap();
    assert_eq!(relayed["results"]["request_id"], "r-2");
    let own = gateway.get("/goods").header("X-Request-Id").unwrap();
    assert_eq!(own.len(), 16);
}

#[test]
fn answers_with_a_status_if_there_is_no_reply() {
    let distributor = Distributor::start(&[]);
    let urls = [
        "GET/goods",
        "GET/held",
        "POST/held",
        "POST/deadly",
        "GET/deadly",
        "GET/refused",
        "POST/goods",
    ];
    let mut shop = Shopkeeper::start(distributor.addr, "shop", &urls);
    let gateway = Gateway::start(distributor.addr, &["--deadline", "60s"]);
    gateway.wait_for("/goods");
    let hasty = Gateway::start(distributor.addr, &["--deadline", "300ms"]);
    hasty.wait_for("/goods");

    for (method, target) in [
        ("GET", "/nowhere"),
        ("GET", "/goodsbye"),
        ("GET", "/goods%2F17"),
        ("GET", "//goods"),
        ("OPTIONS", "*"),
    ] {
        let answer = gateway.fetch(method, target, "", "");
        assert_eq!(answer.status, 404, "{method} {target}");
        assert_eq!(error(&answer), format!("no node serves {method}{target}"));
        assert_eq!(
            answer.header("Content-Type").as_deref(),
            Some("application/json")
        );
    }
    let json_type = "Content-Type: application/json\r\n";
    for body in ["", "[]", "null", "{\"a\":", "{\"a\":1}x"] {
        assert_eq!(
            gateway.fetch("POST", "/goods", json_type, body).status,
            400,
            "{body}"
        );
    }
    for large in [
        "¶".repeat(500_000),
        "\u{1}".repeat(300_000),
        "x".repeat(1 << 20),
    ] {
        let answer = gateway.fetch("POST", "/goods", "", &large);
        assert_eq!(answer.status, 413);
        assert!(error(&answer).contains("too large for a node"));
    }
    assert_eq!(
        gateway
            .fetch("POST", "/goods", "", &"x".repeat(1_000_000))
            .status,
        200
    );

    let refused = gateway.get("/refused");
    assert_eq!(refused.status, 200);
    let reply: Value = serde_json::from_str(&refused.body).unwrap();
    assert_eq!(
        (&reply["errorcode"], &reply["errormessage"]),
        (&json!(1), &json!("not like this"))
    );

    let served = shop.served();
    for method in ["GET", "POST"] {
        let late = hasty.fetch(method, "/held", "", "");
        assert_eq!((late.status, error(&late).contains("in time")), (504, true));
    }
    assert_eq!(shop.served(), served + 2, "nothing is done twice");

    let lost = gateway.fetch("POST", "/deadly", "", "");
    assert_eq!((lost.status, error(&lost).contains("lost")), (502, true));
    shop.kill();
    for target in ["/goods", "/goods/17", "/deadly"] {
        let gone = gateway.get(target);
        assert_eq!(gone.status, 503, "{target}");
        assert!(gone.header("Retry-After").is_some());
    }
    assert_eq!(gateway.get("/nowhere").status, 404);
    gateway
        .program
        .wait_for_log(&["status=502", "node=127.0.0.1:"]);
}

#[test]
fn answers_502_for_a_get_that_a_node_had_read_before_it_died() {
    let distributor = Distributor::start(&[]);
    let _shop = Shopkeeper::start(distributor.addr, "shop", &["GET/deadly", "GET/goods"]);
    let gateway = Gateway::start(distributor.addr, &["--deadline", "60s"]);
    gateway.wait_for("/goods");
    assert_eq!(gateway.get("/deadly").status, 502);
    assert_eq!(gateway.get("/deadly").status, 503);
}

#[test]
fn answers_503_in_the_turn_in_which_a_node_leaves() {
    let distributor = Distributor::start(&[]);
    let mut shop = Shopkeeper::start(distributor.addr, "shop", &["GET/goods"]);
    let gateway = Gateway::start(distributor.addr, &[]);
    gateway.wait_for("/goods");
    let mut client = gateway.connect();
    client.send(&request("GET", "/goods", "", ""));
    assert_eq!(client.answer().status, 200);
    gateway.program.freeze();
    shop.kill();
    wait_until("the departure", || {
        let list = pilcrow_test_client::Client::connect(distributor.addr).next_list();
        !list.contains(&"shop".to_owned())
    });
    // The Distributor has written the change before it accepts another connection.
    pilcrow_test_client::Client::connect(distributor.addr).next_list();
    client.send(&request("GET", "/goods", "", ""));
    gateway.program.thaw();
    assert_eq!(client.answer().status, 503);
}

/// Accepts a connection. Fails if none arrives in time.
fn accept(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let mut accepted = None;
    wait_until("a connection", || {
        accepted = listener.accept().ok();
        accepted.is_some()
    });
    let (stream, _) = accepted.unwrap();
    stream.set_nonblocking(false).unwrap();
    stream
}

/// Reads the request of a call, and returns its key.
fn read_call(stream: &TcpStream) -> Value {
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut bytes = BufReader::new(stream).bytes();
    let mut packet = Vec::new();
    while !packet.ends_with("¶".as_bytes()) {
        packet.push(bytes.next().unwrap().unwrap());
    }
    packet.truncate(packet.len() - "¶".len());
    let packet: Value = serde_json::from_slice(&packet).unwrap();
    packet["key"].clone()
}

/// Like a Node.js cluster whose only worker dies: the master continues to listen, and no process
/// reads the connections.
#[test]
fn calls_a_node_that_was_registered_anew_on_a_new_connection() {
    let distributor = Distributor::start(&[]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let register = || {
        let mut worker = distributor.connect();
        worker.post(&json!({"port": port, "name": "goods", "urls": ["GET/goods"]}));
        worker.request_list();
        worker
    };
    let worker = register();
    let gateway = Gateway::start(distributor.addr, &["--deadline", "60s"]);
    let _ready = Shopkeeper::start(distributor.addr, "ready", &["GET/ready"]);
    gateway.wait_for("/ready");

    let mut client = gateway.connect();
    client.send(&request("GET", "/goods", "", ""));
    let first = accept(&listener);
    read_call(&first);
    drop(first);
    // The call is repeated on a connection that no process reads.
    let _unread = accept(&listener);
    drop(worker);
    let _later = Shopkeeper::start(distributor.addr, "later", &["GET/later"]);
    gateway.wait_for("/later");
    assert_eq!(gateway.get("/goods").status, 503);

    let _worker = register();
    thread::scope(|scope| {
        let answered = scope.spawn(|| gateway.wait_for("/goods"));
        let mut new = accept(&listener);
        let key = read_call(&new);
        let reply = json!({"key": key, "errorcode": 0, "errormessage": "success", "results": 7});
        new.write_all(format!("{reply}¶").as_bytes()).unwrap();
        answered.join().unwrap();
    });
}

#[test]
fn never_sends_64_kib_at_once_to_a_plain_service() {
    const REQUESTS: usize = 512;
    let distributor = Distributor::start(&[]);
    let addr = distributor.addr.to_string();
    let flags = [
        "--name",
        "goods",
        "--port",
        "0",
        "--urls",
        "GET/goods",
        "--distributor",
        &addr,
    ];
    let Some((service, _)) = peer("service.js", &flags) else {
        return;
    };
    let gateway = Gateway::start(distributor.addr, &["--deadline", "60s"]);
    gateway.wait_for("/goods");
    // It finds all that was sent meanwhile in few reads.
    service.freeze();
    let target = format!("/goods?text={}", "x".repeat(300));
    let mut clients: Vec<Client> = (0..REQUESTS)
        .map(|_| {
            let mut client = gateway.connect();
            client.send(&request("GET", &target, "", ""));
            client
        })
        .collect();
    // By then the gateway has read those before it.
    assert_eq!(gateway.get("/nowhere").status, 404);
    service.thaw();
    for client in &mut clients {
        assert_eq!(client.answer().status, 200);
    }
}

#[test]
fn answers_503_before_the_first_list() {
    let port = crate::support::ReservedPort::new();
    let gateway = Gateway::start(port.addr, &[]);
    let answer = gateway.get("/goods");
    assert_eq!(
        (answer.status, error(&answer).contains("was not received")),
        (503, true)
    );
    let distributor = Distributor::start_at(&port.addr.to_string(), &[]);
    wait_until("the list", || gateway.get("/goods").status == 404);
    drop(distributor);
    // The gateway keeps its list when the Distributor is gone.
    assert_eq!(gateway.get("/goods").status, 404);
}

#[test]
fn registers_as_plain_gateways_do() {
    let distributor = Distributor::start(&[]);
    let gateway = Gateway::start(distributor.addr, &[]);
    let mut watcher = distributor.join("watcher", 1);
    let mut entry = Value::Null;
    wait_until("its entry", || {
        let (_, list) = watcher.request_list();
        let entries = list["params"].as_array().unwrap();
        let found = entries.iter().find(|entry| entry["name"] == "gate");
        entry = found.cloned().unwrap_or_default();
        found.is_some()
    });
    assert_eq!(
        entry,
        json!({"port": gateway.addr.port(), "name": "gate", "urls": [], "host": "127.0.0.1"})
    );
}

#[test]
fn loses_no_response_while_nodes_die_and_join() {
    const CONNECTIONS: usize = 64;
    const REQUESTS: usize = 20_000;
    let distributor = Distributor::start(&[]);
    let urls = ["GET/goods", "POST/goods"];
    let mut first = Shopkeeper::start(distributor.addr, "first", &urls);
    let second = Shopkeeper::start(distributor.addr, "second", &urls);
    let gateway = Gateway::start(distributor.addr, &["--log-level", "warn"]);
    wait_until("both nodes", || {
        gateway.get("/goods");
        first.served() > 0 && second.served() > 0
    });

    let done = Arc::new(AtomicUsize::new(0));
    let addr = gateway.addr;
    let clients: Vec<JoinHandle<Vec<(u16, usize)>>> = (0..CONNECTIONS)
        .map(|client| {
            let done = Arc::clone(&done);
            thread::spawn(move || {
                let mut connection = Client::new(TcpStream::connect(addr).unwrap());
                let mut statuses = Vec::new();
                let mut number = client;
                while number < REQUESTS {
                    let text = number.to_string();
                    match number % 4 {
                        0 => connection.send(&request("POST", "/goods", "", &format!("n={text}"))),
                        _ => connection.send(&request("GET", &format!("/goods?n={text}"), "", "")),
                    }
                    let answer = connection.answer();
                    if answer.status == 200 {
                        assert_eq!(results(&answer)["params"]["n"], text);
                    }
                    statuses.push((answer.status, number % 4));
                    done.fetch_add(1, Ordering::Relaxed);
                    number += CONNECTIONS;
                }
                statuses
            })
        })
        .collect();
    wait_until("a third of the answers", || {
        done.load(Ordering::Relaxed) > REQUESTS / 3
    });
    first.kill();
    let third = Shopkeeper::start(distributor.addr, "third", &urls);
    let statuses: Vec<(u16, usize)> = clients
        .into_iter()
        .flat_map(|client| client.join().unwrap())
        .collect();
    assert_eq!(statuses.len(), REQUESTS);
    let mut lost = 0;
    for (status, kind) in statuses {
        match kind {
            // Each connection had at most one request with the node that died.
            0 if status == 502 => lost += 1,
            _ => assert_eq!(status, 200),
        }
    }
    assert!(lost <= CONNECTIONS, "{lost}");
    assert!(second.served() > 0 && third.served() > 0);
    wait_until("a request at the new node", || {
        gateway.get("/goods");
        third.served() > 10
    });
}

#[test]
fn permits_pages_of_the_configured_origin() {
    let distributor = Distributor::start(&[]);
    let _shop = Shopkeeper::start(distributor.addr, "shop", &["GET/goods"]);
    let flags = ["--cors-origin", "https://shop.example"];
    let gateway = Gateway::start(distributor.addr, &flags);
    gateway.wait_for("/goods");
    let allowed = "Access-Control-Allow-Origin";
    let ours = "Origin: https://shop.example\r\n";
    let answer = gateway.fetch("GET", "/goods", ours, "");
    assert_eq!(
        answer.header(allowed).as_deref(),
        Some("https://shop.example")
    );
    for other in ["", "Origin: https://evil.example\r\n", "Origin: null\r\n"] {
        assert_eq!(
            gateway.fetch("GET", "/goods", other, "").header(allowed),
            None
        );
    }
    let preflight = format!("{ours}Access-Control-Request-Method: GET\r\n");
    let answer = gateway.fetch("OPTIONS", "/goods", &preflight, "");
    assert_eq!(answer.status, 204);
    assert_eq!(
        answer.header(allowed).as_deref(),
        Some("https://shop.example")
    );
    assert!(answer.header("Access-Control-Allow-Methods").is_some());
    let preflight = preflight.replace("shop", "evil");
    assert_eq!(
        gateway
            .fetch("OPTIONS", "/goods", &preflight, "")
            .header(allowed),
        None
    );
}

#[test]
fn stops_after_the_last_response_on_a_signal() {
    let distributor = Distributor::start(&[]);
    let shop = Shopkeeper::start(distributor.addr, "shop", &["GET/goods", "POST/held"]);
    let mut gateway = Gateway::start(distributor.addr, &["--deadline", "60s"]);
    gateway.wait_for("/goods");
    let mut idle = gateway.connect();
    idle.send(&request("GET", "/goods", "", ""));
    idle.answer();
    let served = shop.served();
    let mut waiting = gateway.connect();
    waiting.send(&request("POST", "/held", "", ""));
    wait_until("the request", || shop.served() > served);
    gateway.program.signal(Signal::TERM);
    idle.assert_closed();
    assert!(TcpStream::connect(gateway.addr).is_err());
    shop.release();
    let answer = waiting.answer();
    assert_eq!(
        (answer.status, answer.header("Connection").as_deref()),
        (200, Some("close"))
    );
    waiting.assert_closed();
    assert!(gateway.program.wait().success());
    gateway.program.wait_for_log(&["stopped", "answered="]);
}

#[test]
fn stops_at_once_on_a_second_signal() {
    let distributor = Distributor::start(&[]);
    let shop = Shopkeeper::start(distributor.addr, "shop", &["GET/goods", "POST/held"]);
    let mut gateway = Gateway::start(
        distributor.addr,
        &["--deadline", "1h", "--log-level", "debug"],
    );
    gateway.wait_for("/goods");
    let served = shop.served();
    let mut waiting = gateway.connect();
    waiting.send(&request("POST", "/held", "", ""));
    wait_until("the request", || shop.served() > served);
    gateway.program.signal(Signal::TERM);
    gateway.program.wait_for_log(&["stopping"]);
    gateway.program.signal(Signal::TERM);
    assert!(gateway.program.wait().success());
    shop.release();
}

#[test]
fn refuses_malformed_requests_without_harm_to_others() {
    let distributor = Distributor::start(&[]);
    let shop = Shopkeeper::start(distributor.addr, "shop", &["GET/goods", "POST/goods"]);
    let gateway = Gateway::start(distributor.addr, &[]);
    gateway.wait_for("/goods");
    let served = shop.served();
    let smuggled = request("GET", "/goods?smuggled", "", "");
    let mut others: Vec<Client> = (0..8).map(|_| gateway.connect()).collect();
    for (head, status) in [
        (
            "POST /goods HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX",
            400,
        ),
        (
            "POST /goods HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab\r\n0\r\n\r\n",
            400,
        ),
        ("GET /goods/../goods HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /goods/%2e%2e%2fgoods HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET http://a@b/goods HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /goods HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        ("\u{16}\u{3}\u{1}\r\n\r\n", 400),
    ] {
        let mut client = gateway.connect();
        client.send(&(head.to_owned() + &smuggled));
        let answer = client.answer();
        assert_eq!(answer.status, status, "{head:?}");
        assert!(
            !error(&answer).is_empty(),
            "it is JSON, as of all that fails"
        );
        client.assert_closed();
    }
    assert_eq!(shop.served(), served);
    for other in &mut others {
        other.send(&request("GET", "/goods", "", ""));
        assert_eq!(other.answer().status, 200);
    }
    gateway
        .program
        .wait_for_log(&["refused", "status=505", "peer=127.0.0.1:"]);
}

#[test]
fn reports_an_invalid_flag_in_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (flags, code, words) in [
        (&["--listen", "0.0.0.0:0"][..], 2, "--allow-anonymous"),
        (&["--listen", "8000"], 2, "ADDRESS:PORT"),
        (&["--listen", "127.0.0.1"], 2, "127.0.0.1:9000"),
        (&["--distributor", "9000"], 2, "--distributor 9000: "),
        (&["--deadline", "0s"], 2, "1ms"),
        (&["--cors-origin", "shop"], 2, "SCHEME://HOST"),
        (&["--token-file", "/nowhere"], 1, "--token-file"),
        (&["--wrong"], 2, "--wrong"),
        (&["--listen", &taken], 3, "cannot listen"),
    ] {
        let mut program = Program::start(&mut gateway_command(flags));
        assert_eq!(program.wait().code(), Some(code), "{flags:?}");
        let line = program.wait_for_log(&[words]);
        assert!(line.starts_with("gateway: "), "{line}");
    }
    let mut help = Program::start(&mut gateway_command(&["--help"]));
    assert!(help.wait().success());
}

/// Starts a Node.js peer. Returns it and its port, or `None` if Node.js is missing.
#[track_caller]
fn peer(script: &str, flags: &[&str]) -> Option<(Program, u16)> {
    if node_is_missing() {
        return None;
    }
    let scripts = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers");
    let mut command = Command::new("node");
    command
        .arg(format!("{scripts}/{script}"))
        .args(flags)
        .env("PEER_FIRST_CONNECT_MS", "50");
    let mut program = Program::start(&mut command);
    let port = program.wait_for_line("port", |line| {
        let event: Value = serde_json::from_str(line).ok()?;
        let port = (event["event"] == "listening").then(|| event["port"].as_u64())??;
        u16::try_from(port).ok()
    });
    Some((program, port))
}

/// The status and body of an answer with any framing, with the key replaced.
fn without_key(addr: SocketAddr, request: &str) -> (String, Value) {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    // Answered without chunks.
    stream
        .write_all(request.replace("HTTP/1.1", "HTTP/1.0").as_bytes())
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let content_type = head.lines().find(|line| line.starts_with("Content-Type"));
    let mut reply: Value = serde_json::from_str(body).unwrap_or_default();
    if let Some(key) = reply.get("key").cloned() {
        assert_eq!(reply["results"]["key"], key);
        reply["results"]["key"] = json!("the key");
        reply["key"] = json!("the key");
    }
    let status = head.split(' ').nth(1).unwrap();
    (
        format!("{status} {}", content_type.unwrap_or_default()),
        reply,
    )
}

#[test]
fn answers_like_the_plain_gateway() {
    // Also with a plain Distributor.
    let Some((_distributor, port)) = peer("plain_distributor.js", &["--port", "0"]) else {
        return;
    };
    let distributor = format!("127.0.0.1:{port}");
    let urls = ["--urls", "GET/goods,POST/goods,PUT/goods,DELETE/goods"];
    let flags = ["--port", "0", "--distributor", &distributor];
    let (_service, service_port) = peer("service.js", &[&flags[..], &urls].concat()).unwrap();
    let (plain, plain_port) = peer("gateway.js", &flags).unwrap();
    let ours = Gateway::start(distributor.parse().unwrap(), &[]);
    let plain_addr = SocketAddr::from(([127, 0, 0, 1], plain_port));
    ours.wait_for("/goods");
    wait_until("the other gateway", || {
        let connected = |line: &String| {
            let event: Value = serde_json::from_str(line).unwrap_or_default();
            event["event"] == "node_connected" && event["port"] == service_port
        };
        plain.stdout().iter().any(connected)
    });

    let json_type = "Content-Type: application/json\r\n";
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    for request in [
        request("GET", "/goods", "", ""),
        request(
            "GET",
            "/goods?a=1&b=%EC%82%AC%ea%b3%bc&a=&c&=d&&e=f=g&a=3",
            "",
            "",
        ),
        request("GET", "/goods?a=%zz&b=%ff&c=+%2B", "", ""),
        request("GET", "/goods?key=1&x=2", "", ""),
        request("DELETE", "/goods?id=3", "", ""),
        request("POST", "/goods?a=1", form, "b=2&b=3&%22=%5C"),
        request("PUT", "/goods", form, "사=과&%20x+=%09"),
        request("POST", "/goods", "", ""),
        request(
            "POST",
            "/goods",
            json_type,
            "{ \"a\" : [1, 2.5e3, {\"b\": null}], \"c\": \"\\u00e9\\n\" }",
        ),
        request(
            "POST",
            "/goods",
            json_type,
            "{\"a\":1,\"b\":2,\"a\":3,\"key\":4}",
        ),
    ] {
        let (status, reply) = without_key(ours.addr, &request);
        assert_eq!(status, "200 Content-Type: application/json");
        assert_eq!(
            (status, reply),
            without_key(plain_addr, &request),
            "{request:?}"
        );
    }
}

#[test]
fn passes_requests_to_nodes_in_node_js_and_rust_as_in_the_readme() {
    if node_is_missing() {
        return;
    }
    let readme = include_str!("../../../README.md");
    let distributor = Distributor::start(&[]);
    let mut command = Command::new("node");
    let Some((_, script)) = readme.split_once("```js\n") else {
        panic!("no node in Node.js in the README");
    };
    let (script, _) = script.split_once("```").unwrap();
    assert!(script.contains("9000"), "{script}");
    let port = distributor.addr.port().to_string();
    command.args(["-e", &script.replace("9000", &port)]);
    let _shop = Program::start(&mut command);
    let programs = std::path::Path::new(env!("CARGO_BIN_EXE_gateway"));
    let echo = programs.with_file_name("examples").join("echo");
    if !echo.exists() {
        return skip_or_require("examples", "the example echo is not built");
    }
    let addr = distributor.addr.to_string();
    let flags = ["--listen", "127.0.0.1:0", "--distributor", &addr];
    let _echo = Program::start(Command::new(echo).args(flags));
    let gateway = Gateway::start(distributor.addr, &[]);

    let mut requests = 0;
    let mut lines = include_str!("../../../docs/gateway.md").lines();
    while let Some(line) = lines.next() {
        let Some(target) = line.strip_prefix("$ curl 'localhost:8000") else {
            continue;
        };
        let target = target.strip_suffix('\'').unwrap();
        gateway.wait_for(target);
        let answer = gateway.get(target).body;
        let shown = lines.next().unwrap();
        let with_key_0 = |text: &str| {
            let reply: Value = serde_json::from_str(text).unwrap();
            text.replace(&reply["key"].to_string(), "0")
        };
        assert_eq!(with_key_0(&answer), with_key_0(shown));
        requests += 1;
    }
    assert_eq!(requests, 2);
}

#[test]
fn serves_others_while_a_client_is_stuck() {
    let distributor = Distributor::start(&[]);
    let _shop = Shopkeeper::start(distributor.addr, "shop", &["GET/goods"]);
    let gateway = Gateway::start(distributor.addr, &["--log-level", "warn"]);
    gateway.wait_for("/goods");
    let long = "x".repeat(14_000);
    let mut stuck: Vec<TcpStream> = (0..50)
        .map(|_| {
            let stream = TcpStream::connect(gateway.addr).unwrap();
            stream.set_nonblocking(true).unwrap();
            stream
        })
        .collect();
    for stream in &mut stuck {
        for _ in 0..200 {
            let text = request("GET", &format!("/goods?long={long}"), "", "");
            if !matches!(stream.write(text.as_bytes()), Ok(written) if written == text.len()) {
                break;
            }
        }
    }
    let mut client = gateway.connect();
    let until = Instant::now() + Duration::from_millis(500);
    while Instant::now() < until {
        client.send(&request("GET", "/goods?a=1", "", ""));
        assert_eq!(results(&client.answer())["params"]["a"], "1");
    }
}
