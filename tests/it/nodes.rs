//! Calls between nodes: the Distributor is a program, the nodes use real sockets in this thread.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use pilcrow::node::{
    CallError, CallId, Config, Context, Event, LinkState, Node, ReplyTo, Request, Roster, Service,
};
use pilcrow::protocol::{Reply, Route};
use pilcrow::reactor::{Limits, Reactor};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{
    DEADLINE, Distributor, Program, ReservedPort, in_background, node_is_missing, wait_until,
};

const MILLI: Duration = Duration::from_millis(1);

/// The calls by their number: how often each was done, and its results.
#[derive(Default)]
struct Ledger {
    calls: Vec<Record>,
    open: usize,
}

#[derive(Clone, Default)]
struct Record {
    done: usize,
    results: Vec<String>,
}

type Shared = Rc<RefCell<Ledger>>;

/// Records the number of each `GET/work` and replies with it; to every fourth a little later.
struct Worker {
    ledger: Shared,
    calls: HashMap<CallId, usize>,
    held: Vec<(ReplyTo, u64)>,
    events: Vec<String>,
    notices: usize,
}

impl Service for Worker {
    fn on_request(&mut self, cx: &mut Context<'_>, request: &Request<'_>, reply_to: ReplyTo) {
        if request.route.path != "/work" {
            self.notices += 1;
            return;
        }
        let params: Value = request.params().unwrap();
        let Some(number) = params["number"].as_u64() else {
            return cx.reply(reply_to, &params);
        };
        self.ledger.borrow_mut().calls[usize::try_from(number).unwrap()].done += 1;
        match number % 4 {
            0 => self.held.push((reply_to, number)),
            _ => cx.reply(reply_to, &number),
        }
    }

    fn on_result(
        &mut self,
        _cx: &mut Context<'_>,
        call: CallId,
        result: Result<Reply<'_>, CallError<'_>>,
    ) {
        let words = match result {
            Ok(reply) => reply.raw_results().to_owned(),
            Err(error) => format!("{error:?}"),
        };
        if let Some(number) = self.calls.get(&call) {
            let mut ledger = self.ledger.borrow_mut();
            ledger.calls[*number].results.push(words);
            ledger.open -= 1;
        } else {
            self.events.push(words);
        }
    }

    fn on_event(&mut self, _cx: &mut Context<'_>, event: Event) {
        match event {
            Event::Joined(_) | Event::Left(_) => {}
            Event::Drained(drained) => {
                assert!(drained.unacknowledged.is_empty(), "{drained:?}");
                self.events.push("drained".to_owned());
            }
            other => self.events.push(format!("{other:?}")),
        }
    }
}

/// Several nodes in one reactor, each under an owner of its own.
struct Town {
    reactor: Reactor,
    nodes: Vec<Option<Node<Worker>>>,
    ledger: Shared,
    draws: usize,
}

/// Flags of a Distributor whose list is soon complete.
const SOON_COMPLETE: [&str; 2] = ["--warm-up", "100ms"];

/// A call that is not lost ends long before this.
const CALL: Duration = DEADLINE;

fn config(distributor: SocketAddr) -> Config {
    Config::new("work")
        .routes([Route::get("/work")])
        .listen("127.0.0.1:0".parse::<SocketAddr>().unwrap())
        .distributor(distributor)
        .retry(300 * MILLI)
}

impl Town {
    fn new() -> Town {
        Town::beside(&Shared::default())
    }

    fn beside(ledger: &Shared) -> Town {
        Town {
            reactor: Reactor::new(Limits::default()).unwrap(),
            nodes: Vec::new(),
            ledger: Rc::clone(ledger),
            draws: 0,
        }
    }

    /// Returns this many nodes that are registered and have each other in their lists.
    fn of(count: usize, config: &Config) -> Town {
        let mut town = Town::new();
        for _ in 0..count {
            town.add(config.clone());
        }
        town.turn_until("all nodes have the whole list", |town| town.all_know(count));
        town
    }

    /// One node that serves, and this many that call it.
    fn around_one(callers: usize, config: &Config) -> Town {
        let mut town = Town::new();
        town.add(config.clone());
        for _ in 0..callers {
            town.add(config.clone().name("caller").routes(Vec::new()));
        }
        town.turn_until("all nodes list the worker", |town| town.all_know(1));
        town
    }

    fn add(&mut self, config: Config) -> (usize, Option<SocketAddr>) {
        let place = self.nodes.len();
        let worker = Worker {
            ledger: Rc::clone(&self.ledger),
            calls: HashMap::new(),
            held: Vec::new(),
            events: Vec::new(),
            notices: 0,
        };
        let mut node = Node::new(config, worker);
        let addr = node.start(self.reactor.net()).unwrap();
        self.nodes.push(Some(node));
        (place, addr)
    }

    fn node(&mut self, place: usize) -> &mut Node<Worker> {
        self.nodes[place].as_mut().unwrap()
    }

    fn context(&mut self, place: usize) -> Context<'_> {
        let node = self.nodes[place].as_mut().unwrap();
        node.context(self.reactor.net())
    }

    fn places(&self) -> Vec<usize> {
        let places = self.nodes.iter().enumerate();
        places
            .filter_map(|(place, node)| node.as_ref().map(|_| place))
            .collect()
    }

    fn events(&mut self, place: usize) -> Vec<String> {
        self.node(place).service().events.clone()
    }

    fn all_know(&mut self, count: usize) -> bool {
        self.all_have(|roster| roster.named("work").count() == count)
    }

    fn all_are_back(&mut self, count: usize) -> bool {
        self.all_have(|roster| roster.members().len() == count)
    }

    fn all_have(&mut self, view: impl Fn(&Roster) -> bool) -> bool {
        self.places().into_iter().all(|place| {
            let cx = self.context(place);
            let roster = cx.roster();
            cx.link() == LinkState::Registered && roster.is_complete() && view(roster)
        })
    }

    fn all_are_lost(&mut self) -> bool {
        let places = self.places();
        places
            .into_iter()
            .all(|place| self.context(place).link() == LinkState::Lost)
    }

    /// Runs one turn, after replying to the requests that were held back.
    fn turn(&mut self) {
        for place in self.places() {
            for (reply_to, number) in std::mem::take(&mut self.node(place).service().held) {
                self.context(place).reply(reply_to, &number);
            }
        }
        self.reactor.turn(Some(MILLI), &mut self.nodes).unwrap();
    }

    #[track_caller]
    fn turn_until(&mut self, what: &str, mut done: impl FnMut(&mut Town) -> bool) {
        let until = Instant::now() + DEADLINE;
        while !done(self) {
            assert!(Instant::now() < until, "timed out before {what}");
            self.turn();
        }
    }

    /// Makes about 2,000 calls per second between the nodes, until it is `done`.
    #[track_caller]
    fn call_until(&mut self, what: &str, mut done: impl FnMut(&mut Town) -> bool) {
        let (began, mut made) = (Instant::now(), 0);
        self.turn_until(what, |town| {
            // Calls that were due while this thread was stalled are left out.
            let due = (began.elapsed().as_millis() * 2 - made).min(20);
            made = began.elapsed().as_millis() * 2;
            for _ in 0..due {
                town.call(false);
            }
            done(town)
        });
    }

    fn call_for(&mut self, time: Duration) {
        let until = Instant::now() + time;
        self.call_until("time passes", |_| Instant::now() >= until);
    }

    fn call(&mut self, is_idempotent: bool) {
        let number = {
            let mut ledger = self.ledger.borrow_mut();
            ledger.calls.push(Record::default());
            ledger.open += 1;
            ledger.calls.len() - 1
        };
        // Nodes that have just started have no list yet.
        let mut places = self.places();
        places.retain(|place| !self.context(*place).roster().members().is_empty());
        self.draws += 1;
        let place = places[self.draws % places.len()];
        let params = json!({ "number": number });
        let mut cx = self.context(place);
        let call = if is_idempotent {
            cx.call_idempotent(&Route::get("/work"), &params, CALL)
        } else {
            cx.call(&Route::get("/work"), &params, CALL)
        };
        self.node(place).service().calls.insert(call, number);
    }

    /// Waits for all results. Returns the calls that were not served and answered exactly once.
    #[track_caller]
    fn settle(&mut self) -> Vec<(usize, Record)> {
        self.turn_until("all calls have a result", |town| {
            town.ledger.borrow().open == 0
        });
        let ledger = self.ledger.borrow();
        let calls = ledger.calls.iter().cloned().enumerate();
        let is_good = |(number, record): &(usize, Record)| {
            record.done == 1 && record.results == [number.to_string()]
        };
        calls.filter(|call| !is_good(call)).collect()
    }

    #[track_caller]
    fn assert_all_done_once(&mut self) {
        let wrong = self.settle();
        let all = self.ledger.borrow().calls.len();
        assert!(all > 0);
        let some = &wrong[..wrong.len().min(5)];
        let shown: Vec<_> = some.iter().map(|(n, r)| (n, r.done, &r.results)).collect();
        assert!(wrong.is_empty(), "{} of {all}: {shown:?}", wrong.len());
    }
}

#[test]
fn loses_no_call_while_ten_nodes_are_replaced_with_drains() {
    let distributor = Distributor::start(&SOON_COMPLETE);
    let config = config(distributor.addr);
    let mut town = Town::of(10, &config);
    town.call_for(100 * MILLI);
    for old in 0..10 {
        town.context(old).drain(DEADLINE);
        town.call_until("the node is drained", |town| {
            town.events(old).iter().any(|event| event == "drained")
        });
        town.call_until("its callers have gone", |town| {
            let cx = town.context(old);
            cx.callers() == 0 && cx.calls_in_flight() == 0
        });
        town.context(old).stop();
        town.turn();
        town.nodes[old] = None;
        let (new, _) = town.add(config.clone());
        town.call_until("the new node is registered", |town| {
            town.context(new).link() == LinkState::Registered
        });
        town.call_for(100 * MILLI);
    }
    town.call_until("all nodes have the whole list", |town| town.all_know(10));
    town.assert_all_done_once();
}

#[test]
fn loses_only_the_calls_of_a_killed_node() {
    let distributor = Distributor::start(&SOON_COMPLETE);
    let config = config(distributor.addr);
    let mut town = Town::new();
    let mut other = Town::beside(&town.ledger);
    for _ in 0..4 {
        town.add(config.clone());
    }
    other.add(config);
    town.turn_until("all nodes have the whole list", |town| {
        other.turn();
        town.all_know(5)
    });
    town.call_until("the other node has served", |town| {
        // It is turned only half of the time, so that calls pile up.
        if town.draws % 64 < 32 {
            other.reactor.turn(Some(MILLI), &mut other.nodes).unwrap();
        }
        town.draws > 1000 && !other.node(0).service().held.is_empty()
    });
    let made = town.ledger.borrow().calls.len();
    let had_result: Vec<bool> = {
        let ledger = town.ledger.borrow();
        ledger
            .calls
            .iter()
            .map(|call| !call.results.is_empty())
            .collect()
    };
    drop(other);
    town.turn();
    town.call_until("the node is out of the list", |town| town.all_know(4));
    town.call_for(100 * MILLI);
    let wrong = town.settle();
    assert!(!wrong.is_empty(), "some calls were with the killed node");
    for (number, record) in wrong {
        assert!(
            number < made && !had_result[number],
            "call {number} was not in flight"
        );
        assert_eq!(record.results, ["ConnectionLost"], "call {number}");
        assert!(record.done <= 1, "call {number}");
    }
}

#[test]
fn continues_calls_while_the_distributor_restarts() {
    let mut distributor = Distributor::start(&["--warm-up", "4s"]);
    let mut town = Town::around_one(4, &config(distributor.addr));
    town.call_for(100 * MILLI);
    distributor.program.kill();
    town.call_until("all nodes have lost the Distributor", Town::all_are_lost);
    town.call_for(500 * MILLI);
    let addr = distributor.addr.to_string();
    let _distributor = Distributor::start_at(&addr, &["--warm-up", "4s"]);
    town.call_until("all nodes are registered again", |town| {
        town.all_are_back(5)
    });
    town.assert_all_done_once();
}

#[test]
fn continues_calls_while_the_distributor_is_stopped() {
    let flags = [
        "--heartbeat",
        "100ms",
        "--silence-timeout",
        "300ms",
        "--warm-up",
        "4s",
    ];
    let distributor = Distributor::start(&flags);
    let config = config(distributor.addr).registration_timeout(300 * MILLI);
    let mut town = Town::around_one(5, &config);
    town.call_for(100 * MILLI);
    distributor.program.signal(Signal::STOP);
    town.call_until("all nodes have lost the Distributor", Town::all_are_lost);
    town.call_for(4000 * MILLI);
    distributor.program.signal(Signal::CONT);
    town.call_until("all nodes are registered again", |town| {
        town.all_are_back(6)
    });
    town.assert_all_done_once();
}

#[test]
fn registers_with_a_distributor_that_starts_later() {
    let place = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut town = Town::new();
    for _ in 0..3 {
        town.add(config(place));
    }
    town.context(0).wait_for(&[Route::get("/work")], DEADLINE);
    let until = Instant::now() + 500 * MILLI;
    town.turn_until("the nodes have tried to connect", |_| {
        Instant::now() > until
    });
    assert_eq!(town.context(0).link(), LinkState::Searching);
    let _distributor = Distributor::start_at(&place.to_string(), &SOON_COMPLETE);
    town.turn_until("the wait ends", |town| {
        town.events(0)
            .iter()
            .any(|event| event.starts_with("Waited") && event.ends_with("true)"))
    });
    town.turn_until("all nodes have the whole list", |town| town.all_know(3));
    town.call_for(100 * MILLI);
    town.assert_all_done_once();
}

/// A client that registers `GET/work` at a port of no node of the town.
fn register_dead(distributor: &Distributor, port: u16) -> crate::support::Client {
    let mut client = distributor.connect();
    client.post(&json!({"port": port, "name": "work", "urls": ["GET/work"]}));
    client.next_list();
    client
}

#[test]
fn loses_no_call_to_a_dead_node_that_is_still_listed() {
    let distributor = Distributor::start(&SOON_COMPLETE);
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let _client = register_dead(&distributor, closed.port());
    let mut town = Town::new();
    for _ in 0..2 {
        town.add(config(distributor.addr));
    }
    town.turn_until("all nodes have the whole list", |town| town.all_know(3));
    town.call_for(Duration::from_secs(2));
    town.assert_all_done_once();
}

#[test]
fn repeats_idempotent_calls_to_a_node_that_resets() {
    let distributor = Distributor::start(&SOON_COMPLETE);
    let resetting = TcpListener::bind("127.0.0.1:0").unwrap();
    let _client = register_dead(&distributor, resetting.local_addr().unwrap().port());
    thread::spawn(move || {
        for stream in resetting.incoming().map_while(Result::ok) {
            let stream = reset_by_dropping(stream);
            drop(stream);
        }
    });
    let mut town = Town::new();
    for _ in 0..2 {
        town.add(config(distributor.addr));
    }
    town.turn_until("all nodes have the whole list", |town| town.all_know(3));
    for _ in 0..200 {
        for _ in 0..10 {
            town.call(true);
        }
        town.turn();
    }
    town.assert_all_done_once();
}

/// Dropping it with unread input resets the connection.
fn reset_by_dropping(stream: TcpStream) -> TcpStream {
    let mut first = [0];
    let _ = stream.peek(&mut first);
    stream
}

#[test]
fn serves_handles_notices_and_calls_to_all() {
    let distributor = Distributor::start(&SOON_COMPLETE);
    let mut town = Town::of(3, &config(distributor.addr));
    let waker = town.reactor.waker();
    let handle = town.node(0).handle(waker);
    let pending = in_background(move || {
        let here = handle
            .call(&Route::get("/work"), &json!({"text": "¶"}), CALL)
            .recv();
        let nowhere = handle
            .call_idempotent(&Route::get("/nowhere"), &(), CALL)
            .recv();
        let here = here.unwrap().map(|reply| reply.raw_results().to_owned());
        (here, nowhere.unwrap().map(|_| ()))
    });
    let mut answers = None;
    town.turn_until("the other thread has its answers", |_| {
        answers = pending.try_recv().ok();
        answers.is_some()
    });
    let here = Ok("{\"text\":\"\\u00b6\"}".to_owned());
    assert_eq!(answers.unwrap(), (here, Err(CallError::Unavailable)));

    let mut calls = Vec::new();
    town.context(1)
        .call_all("work", &Route::get("/work"), &json!({}), CALL, &mut calls);
    assert_eq!(calls.len(), 3);
    assert_eq!(
        town.context(2)
            .notify("work", &Route::post("/notice"), "notice"),
        3
    );
    town.turn_until("all notices and replies", |town| {
        let answers = town.events(1).iter().filter(|event| *event == "{}").count();
        let notices: usize = (0..3).map(|place| town.node(place).service().notices).sum();
        (answers, notices) == (3, 3)
    });
}

/// One of the peers in JavaScript, with its first connect at once. `None` if Node.js is missing.
#[track_caller]
fn peer(script: &str, options: &[&str]) -> Option<Program> {
    if node_is_missing() {
        return None;
    }
    let path = format!("{}/tests/peers/{script}", env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new("node");
    command.arg(path).args(options);
    Some(Program::start(command.env("PEER_FIRST_CONNECT_MS", "0")))
}

/// Returns the port that a peer reports to listen on.
fn port_of(program: &mut Program) -> u16 {
    program.wait_for_line("port", |line| {
        let event: Value = serde_json::from_str(line).ok()?;
        if event["event"] != "listening" {
            return None;
        }
        u16::try_from(event["port"].as_u64()?).ok()
    })
}

#[test]
fn works_with_a_plain_distributor() {
    // Reserved while the Distributor is gone.
    let reserved = ReservedPort::new();
    let port = reserved.addr.port().to_string();
    let Some(mut plain) = peer("plain_distributor.js", &["--port", &port]) else {
        return;
    };
    port_of(&mut plain);
    let config = config(reserved.addr).merge(Duration::from_secs(5));
    let mut town = Town::around_one(3, &config);
    town.call_for(200 * MILLI);
    plain.kill();
    town.call_until("all nodes have lost the Distributor", Town::all_are_lost);
    town.call_for(500 * MILLI);
    let _plain = peer("plain_distributor.js", &["--port", &port]);
    town.call_until("all nodes are registered again", |town| {
        town.all_are_back(4)
    });
    town.assert_all_done_once();
}

/// Sends an HTTP GET. Returns the status line and the body of the response.
fn get(port: u16, path: &str) -> (String, Value) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut reader = BufReader::new(stream);
    let mut status = String::new();
    reader.read_line(&mut status).unwrap();
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    let json = rest.find('{').zip(rest.rfind('}'));
    let body = json.and_then(|(from, to)| serde_json::from_str(&rest[from..=to]).ok());
    (status, body.unwrap_or_default())
}

#[test]
fn calls_between_nodes_in_rust_and_node_js() {
    let distributor = Distributor::start(&SOON_COMPLETE);
    let addr = distributor.addr.to_string();
    let goods = [
        "--name",
        "goods",
        "--port",
        "0",
        "--urls",
        "GET/goods",
        "--distributor",
        &addr,
    ];
    let Some(_service) = peer("service.js", &goods) else {
        return;
    };
    let mut gateway = peer("gateway.js", &["--port", "0", "--distributor", &addr]).unwrap();
    let port = port_of(&mut gateway);
    let mut town = Town::new();
    town.add(config(distributor.addr));
    town.turn_until("the Node.js service is listed", |town| {
        town.context(0).roster().named("goods").count() == 1
    });
    for url in ["GET/goods", "GET/work"] {
        let mut seen = false;
        town.turn_until(&format!("the gateway has {url}"), |_| {
            let lines = gateway.stdout();
            seen |= lines
                .iter()
                .any(|line| line.contains("route_added") && line.contains(url));
            seen
        });
    }

    let pending = in_background(move || (get(port, "/goods?a=1"), get(port, "/work?a=1")));
    let mut answers = None;
    town.turn_until("the gateway answers", |_| {
        answers = pending.try_recv().ok();
        answers.is_some()
    });
    let (goods, work) = answers.unwrap();
    for (status, body) in [goods, work] {
        assert!(status.contains(" 200 "), "{status}");
        assert_eq!(
            (&body["errorcode"], &body["results"]["a"]),
            (&json!(0), &json!("1")),
            "{body}"
        );
    }
    town.context(0)
        .call(&Route::get("/goods"), &json!({"b": 2}), CALL);
    town.turn_until("the Node.js service answers", |town| {
        town.events(0).iter().any(|event| event == "{\"b\":2}")
    });
    wait_until("the gateway lives", || !gateway.stdout().is_empty());
}
