//! Plain Node.js peers against the Distributor.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::{
    Client, DEADLINE, Distributor, FRAME_END, Program, ReservedPort, node_is_missing, output_of,
    wait_until,
};

/// A running script of tests/peers, which prints its events.
struct Peer(Program);

impl Peer {
    fn start(script: &str, distributor: SocketAddr, flags: &[&str]) -> Peer {
        let scripts = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers");
        let mut command = Command::new("node");
        command
            .arg(format!("{scripts}/{script}"))
            .args(["--port", "0", "--distributor", &distributor.to_string()])
            .args(flags)
            .env("PEER_FIRST_CONNECT_MS", "50");
        Peer(Program::start(&mut command))
    }

    /// Starts a service that answers `GET` with its name as the path.
    fn service(distributor: SocketAddr, name: &str) -> Peer {
        let url = format!("GET/{name}");
        Peer::start("service.js", distributor, &["--name", name, "--urls", &url])
    }

    fn gateway(distributor: SocketAddr) -> Peer {
        Peer::start("gateway.js", distributor, &[])
    }

    fn events(&self, kind: &str) -> Vec<Value> {
        let lines = self.0.stdout();
        let events = lines
            .iter()
            .filter_map(|line| serde_json::from_str(line).ok());
        events
            .filter(|event: &Value| event["event"] == kind)
            .collect()
    }

    /// Waits until the events of this kind are as wanted, and returns them.
    #[track_caller]
    fn wait_for(&mut self, kind: &str, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let mut events = Vec::new();
        wait_until(&format!("{kind} of a peer"), || {
            // In this order, so that events before its end count.
            let ended = !self.0.is_running();
            events = self.events(kind);
            let found = wanted(&events);
            assert!(
                found || !ended,
                "the peer ended; its output: {:#?} {:#?}",
                self.0.stdout(),
                self.0.stderr()
            );
            found
        });
        events
    }

    /// Returns the address on which it listens.
    fn addr(&mut self) -> SocketAddr {
        let listening = self.wait_for("listening", |events| !events.is_empty());
        let port = u16::try_from(listening[0]["port"].as_u64().unwrap()).unwrap();
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    /// Waits until its last list has these names, in any order, and returns the list.
    #[track_caller]
    fn wait_for_list(&mut self, wanted: &[&str]) -> Value {
        let mut wanted = wanted.to_vec();
        wanted.sort_unstable();
        let lists = self.wait_for("list", |lists| {
            let names = lists.last().map(|list| list["names"].as_array().unwrap());
            let mut names: Vec<&str> = names
                .into_iter()
                .flatten()
                .map(|name| name.as_str().unwrap_or("?"))
                .collect();
            names.sort_unstable();
            names == wanted
        });
        lists.last().unwrap()["entries"].clone()
    }

    #[track_caller]
    fn wait_for_node(&mut self, node: SocketAddr) {
        self.wait_for("node_connected", |events| {
            events.iter().any(|event| event["port"] == node.port())
        });
    }

    /// Closes its standard input, upon which it closes its connections and ends.
    fn leave(mut self) {
        self.0.close_stdin();
        assert!(self.0.wait().success());
    }

    #[track_caller]
    fn assert_running(&mut self) {
        assert!(self.0.is_running(), "{:#?}", self.0.stderr());
    }
}

/// Sends a `GET` over HTTP. Returns the status, and the body if it is JSON.
fn http_get(server: SocketAddr, path: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_default())
}

/// Fails unless the gateway forwards a call to the service of this name, and its reply.
#[track_caller]
fn assert_called(gateway: SocketAddr, name: &str) {
    let (status, reply) = http_get(gateway, &format!("/{name}?color=red"));
    assert_eq!(status, 200, "{reply}");
    let key = &reply["key"];
    assert!(key.is_u64(), "{reply}");
    let expected = json!({
        "errorcode": 0, "errormessage": "success", "key": key,
        "results": {"color": "red", "key": key},
    });
    assert_eq!(reply, expected);
}

#[test]
fn a_service_sees_others_join_and_leave() {
    if node_is_missing() {
        return;
    }
    let distributor = Distributor::start(&[]);
    let mut goods = Peer::service(distributor.addr, "goods");
    let port = goods.addr().port();
    let entry = json!({"name": "goods", "host": "127.0.0.1", "port": port});
    assert_eq!(goods.wait_for_list(&["goods"]), json!([entry]));

    let members = Peer::service(distributor.addr, "members");
    goods.wait_for_list(&["goods", "members"]);
    members.leave();
    goods.wait_for_list(&["goods"]);

    let mut orders = Peer::service(distributor.addr, "orders");
    goods.wait_for_list(&["goods", "orders"]);
    orders.0.kill();
    assert_eq!(goods.wait_for_list(&["goods"]), json!([entry]));
}

#[test]
fn a_gateway_calls_earlier_and_later_services() {
    if node_is_missing() {
        return;
    }
    let distributor = Distributor::start(&[]);
    let mut goods = Peer::service(distributor.addr, "goods");
    goods.wait_for_list(&["goods"]);
    let mut gateway = Peer::gateway(distributor.addr);
    let gate = gateway.addr();
    gateway.wait_for_node(goods.addr());
    assert_called(gate, "goods");
    assert_eq!(http_get(gate, "/members").0, 404);

    let mut members = Peer::service(distributor.addr, "members");
    gateway.wait_for_node(members.addr());
    assert_called(gate, "members");
    assert_called(gate, "goods");
}

#[test]
fn each_worker_of_a_cluster_has_its_entry() {
    if node_is_missing() {
        return;
    }
    let distributor = Distributor::start(&[]);
    let mut observer = Peer::service(distributor.addr, "observer");
    observer.wait_for_list(&["observer"]);
    let flags = ["--workers", "3", "--name", "goods", "--urls", "GET/goods"];
    let mut cluster = Peer::start("cluster_service.js", distributor.addr, &flags);
    let port = cluster.addr().port();
    let goods = json!({"name": "goods", "host": "127.0.0.1", "port": port});
    let observed = observer.wait_for_list(&["observer", "goods", "goods", "goods"]);
    assert_eq!(
        observed.as_array().unwrap()[1..],
        [&goods; 3].map(Clone::clone)
    );

    let workers = cluster.wait_for("worker", |workers| workers.len() == 3);
    let pid = i32::try_from(workers[1]["pid"].as_i64().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    cluster.wait_for("worker_exit", |exits| {
        exits.iter().any(|exit| exit["pid"] == pid)
    });
    let observed = observer.wait_for_list(&["observer", "goods", "goods"]);
    assert_eq!(
        observed.as_array().unwrap()[1..],
        [&goods; 2].map(Clone::clone)
    );

    // No other entry is removed: the next list has both.
    let _next = distributor.join("next", 1);
    observer.wait_for_list(&["observer", "goods", "goods", "next"]);
    let sizes: Vec<usize> = observer
        .events("list")
        .iter()
        .map(|list| list["names"].as_array().unwrap().len())
        .collect();
    let grown = sizes.iter().position(|size| *size == 4).unwrap();
    assert!(sizes[grown..].iter().all(|size| *size >= 3), "{sizes:?}");
}

#[test]
fn calls_continue_without_the_distributor_and_all_register_at_the_next_one() {
    if node_is_missing() {
        return;
    }
    let port = ReservedPort::new();
    let listen = port.addr.to_string();
    let mut distributor = Distributor::start_at(&listen, &[]);
    let mut goods = Peer::service(port.addr, "goods");
    let mut gateway = Peer::gateway(port.addr);
    let gate = gateway.addr();
    gateway.wait_for_node(goods.addr());
    assert_called(gate, "goods");

    distributor.program.kill();
    for peer in [&mut goods, &mut gateway] {
        peer.wait_for("disconnected", |events| !events.is_empty());
    }
    assert_called(gate, "goods");
    // Only after some attempts to connect have failed.
    for peer in [&mut goods, &mut gateway] {
        peer.wait_for("connect_failed", |events| !events.is_empty());
    }
    assert_called(gate, "goods");

    let distributor = Distributor::start_at(&listen, &[]);
    // Under a name that the gateway does not call.
    let mut observer = distributor.join("gate", 1);
    let back = ["gate", "gate", "goods"];
    observer.wait_for_list("all", |names| {
        let mut names = names.to_vec();
        names.sort_unstable();
        names == back
    });
    for peer in [&mut goods, &mut gateway] {
        peer.wait_for_list(&back);
    }
    assert_called(gate, "goods");
    assert!(gateway.events("route_removed").is_empty());
}

#[test]
fn a_service_that_started_before_the_distributor_registers() {
    if node_is_missing() {
        return;
    }
    let port = ReservedPort::new();
    let mut goods = Peer::service(port.addr, "goods");
    goods.wait_for("connect_failed", |events| !events.is_empty());
    let _distributor = Distributor::start_at(&port.addr.to_string(), &[]);
    goods.wait_for_list(&["goods"]);
}

#[test]
fn peers_survive_bad_neighbours() {
    if node_is_missing() {
        return;
    }
    let distributor = Distributor::start(&[]);
    let mut goods = Peer::service(distributor.addr, "goods");
    let mut gateway = Peer::gateway(distributor.addr);
    let gate = gateway.addr();
    gateway.wait_for_node(goods.addr());
    goods.wait_for_list(&["gate", "goods"]);

    let mut neighbours = Vec::new();
    let bad_frames: [&[u8]; 12] = [
        b"null",
        b"garbage",
        b"\xff\xfe\x00{",
        b"",
        b"[]",
        b"\n\n{}",
        br#"{"uri":"/distributes","method":"POST","key":0}"#,
        br#"{"uri":"/distributes","method":"POST","key":0,"params":null}"#,
        br#"{"uri":"/distributes","method":"POST","key":0,"params":"goods"}"#,
        br#"{"uri":"/distributes","method":"POST","params":{"port":1,"name":"\ud800"}}"#,
        br#"{"uri":"/distributes","method":"POST","params":{"port":1,"port":null}}"#,
        "{\"uri\":\"/distributes\",\"method\":\"POST\",\"params\":{\"name\":\"a\nb\"}}".as_bytes(),
    ];
    for frame in bad_frames {
        let mut neighbour = distributor.connect();
        neighbour.send_raw(frame);
        neighbour.send_raw(FRAME_END);
        neighbours.push(neighbour);
    }
    // Registered, and not listed.
    let no_ports = [
        json!({"name": "none", "urls": ["GET/none"]}),
        json!({"name": "mistyped", "prot": 9010}),
        json!({"name": "null", "port": null}),
        json!({"name": "zero", "port": 0}),
        json!({"name": "high", "port": 70000}),
        json!({"name": "negative", "port": -1}),
        json!({"name": "half", "port": 80.5}),
        json!({"name": "text", "port": "http"}),
        json!({"name": "empty", "port": ""}),
        json!({"name": "array", "port": [80]}),
        json!({}),
    ];
    for params in &no_ports {
        let mut neighbour = distributor.connect();
        neighbour.post(params);
        neighbours.push(neighbour);
    }
    // Listed: escaped frame ends, which must be escaped when they are sent.
    let mut marked = distributor.connect();
    marked.send_raw(
        br#"{"uri":"/distributes","method":"POST","key":0,"params":{"port":"1","name":"a\u00b6b","urls":["GET/a\u00b6{\u00b6null\u00b6"],"note":["\u00b6"]}}"#,
    );
    marked.send_raw(FRAME_END);
    neighbours.push(marked);
    // After this reply, all earlier frames have been read.
    for neighbour in &mut neighbours {
        neighbour.request_list();
    }

    let mut last = distributor.connect();
    last.post(&json!({"name": "gate", "port": 1}));
    for peer in [&mut goods, &mut gateway] {
        let entries = peer.wait_for_list(&["gate", "goods", "a¶b", "gate"]);
        for entry in entries.as_array().unwrap() {
            assert_eq!(entry["host"], "127.0.0.1", "{entry}");
        }
    }
    assert_called(gate, "goods");
    drop((neighbours, last));
    for peer in [&mut goods, &mut gateway] {
        peer.wait_for_list(&["gate", "goods"]);
        peer.assert_running();
    }
    assert_called(gate, "goods");
}

#[test]
fn peers_survive_a_churn_of_others() {
    if node_is_missing() {
        return;
    }
    let distributor = Distributor::start(&[]);
    let mut goods = Peer::service(distributor.addr, "goods");
    let mut gateway = Peer::gateway(distributor.addr);
    let gate = gateway.addr();
    gateway.wait_for_node(goods.addr());
    goods.wait_for_list(&["gate", "goods"]);

    for round in 0..4 {
        // The lists of a round together are smaller than one read of a plain peer, which otherwise
        // ends on incomplete JSON.
        let mut guests = VecDeque::new();
        for number in 0..30 {
            let mut guest = Client::connect(distributor.addr);
            // Connections to this port are refused, and the gateway drops the route.
            let port = guest.local_port();
            guest.post(&json!({"port": port, "name": format!("g{number}")}));
            if number % 3 > 0 {
                guest.next_list();
            }
            guests.push_back(guest);
            if guests.len() > 10 {
                guests.pop_front();
            }
        }
        drop(guests);
        let mark = format!("round {round}");
        let marker = distributor.join(&mark, 1);
        for peer in [&mut goods, &mut gateway] {
            peer.wait_for_list(&["gate", "goods", &mark]);
        }
        drop(marker);
        assert_called(gate, "goods");
    }
    for peer in [&mut goods, &mut gateway] {
        peer.wait_for_list(&["gate", "goods"]);
        peer.assert_running();
    }
}

#[test]
fn required_tools_make_a_skip_fatal() {
    let run = |required: &str| {
        let mut tests = Command::new(std::env::current_exe().unwrap());
        tests.args(["--exact", "peers::needs_node", "--include-ignored"]);
        tests.env("PATH", "").env("PILCROW_REQUIRE", required);
        output_of(&mut tests).status.success()
    };
    assert!(run("") && run("chromium"));
    assert!(!run("node") && !run("chromium,node"));
}

#[test]
#[ignore = "run by the test above, without PATH"]
fn needs_node() {
    assert!(node_is_missing());
}
