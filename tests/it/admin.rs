//! The admin API, with the requests of browsers, scrapers and scripts.

use std::collections::{BTreeMap, HashSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Client, DEADLINE, Distributor, Folder, wait_until};

/// A Distributor with an admin API, and its address.
pub struct AdminServer {
    pub distributor: Distributor,
    pub http: SocketAddr,
}

impl AdminServer {
    pub fn start(flags: &[&str]) -> AdminServer {
        let all = [&["--http", "127.0.0.1:0"], flags].concat();
        let mut distributor = Distributor::start(&all);
        let http = distributor
            .program
            .wait_for_line("address for HTTP", |line| {
                let rest = line.strip_prefix("http on http://")?;
                rest.strip_suffix('/')?.parse().ok()
            });
        AdminServer { distributor, http }
    }

    /// Starts one whose list is complete at once.
    pub fn start_ready(flags: &[&str]) -> AdminServer {
        let admin = AdminServer::start(&[&["--warm-up", "0s"], flags].concat());
        wait_until("the Distributor to be ready", || {
            admin.get("/readyz").status == 200
        });
        admin
    }

    /// Sends a request, and returns the response.
    #[track_caller]
    pub fn send_request(&self, method: &str, target: &str, headers: &str) -> Answer {
        send_request(self.http, method, target, headers)
    }

    #[track_caller]
    pub fn get(&self, target: &str) -> Answer {
        self.send_request("GET", target, "")
    }

    #[track_caller]
    fn json(&self, target: &str) -> Value {
        let answer = self.get(target);
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, "application/json"),
            "{answer:?}"
        );
        serde_json::from_str(&answer.body).unwrap()
    }

    fn events(&self, last_id: Option<&str>) -> Events {
        let mut stream = TcpStream::connect(self.http).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let last_id = last_id
            .map(|id| format!("Last-Event-ID: {id}\r\n"))
            .unwrap_or_default();
        write!(
            stream,
            "GET /events HTTP/1.0\r\nHost: localhost\r\n{last_id}\r\n"
        )
        .unwrap();
        let mut lines = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(lines.read_line(&mut head).unwrap() > 0, "{head}");
        }
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert!(
            head.contains("Content-Type: text/event-stream\r\n"),
            "{head}"
        );
        Events(lines)
    }
}

/// A response.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        let found = self
            .headers
            .iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }
}

#[track_caller]
pub(crate) fn send_request(addr: SocketAddr, method: &str, target: &str, headers: &str) -> Answer {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let host = if headers.contains("Host: ") {
        ""
    } else {
        "Host: localhost\r\n"
    };
    write!(
        stream,
        "{method} {target} HTTP/1.1\r\n{host}{headers}Connection: close\r\n\r\n"
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    let mut lines = head.lines();
    let status = lines
        .next()
        .unwrap()
        .split(' ')
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    let headers = lines.map(|line| line.split_once(": ").unwrap());
    Answer {
        status,
        headers: headers
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        body: body.to_owned(),
    }
}

/// A stream of events.
struct Events(BufReader<TcpStream>);

impl Events {
    /// Returns the next event: its name, id and data.
    #[track_caller]
    fn next(&mut self) -> (String, String, Value) {
        let (mut name, mut id) = (String::new(), String::new());
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "the stream ended");
            match line.trim_end().split_once(": ") {
                Some(("event", value)) => name = value.to_owned(),
                Some(("id", value)) => id = value.to_owned(),
                Some(("data", value)) => return (name, id, serde_json::from_str(value).unwrap()),
                _ => {}
            }
        }
    }

    #[track_caller]
    fn wait_for(&mut self, wanted: &str) -> (String, Value) {
        loop {
            let (name, id, data) = self.next();
            if name == wanted {
                return (id, data);
            }
        }
    }
}

/// Joins with a session that receives changes.
#[track_caller]
fn join_session(admin: &AdminServer, name: &str) -> Client {
    join_with(admin, name, &json!({"version": 1, "watch": "delta"}))
}

fn join_with(admin: &AdminServer, name: &str, session: &Value) -> Client {
    let mut client = admin.distributor.connect();
    let params = json!({"port": 9020, "name": name, "urls": [format!("GET/{name}"), "POST/all"]});
    client.send(&json!({"uri": "/distributes", "method": "POST", "key": 1, "params": params, "session": session}));
    let revision = |packet: &Value| packet["session"]["rev"].as_u64();
    let mut known = None;
    while known.is_none() {
        known = revision(&client.next());
    }
    ack(&mut client, known.unwrap());
    client
}

fn ack(client: &mut Client, revision: u64) {
    client.send(&json!({"uri": "/distributes/heartbeat", "method": "POST", "key": null, "session": {"rev": revision}}));
}

#[test]
fn lists_nodes_by_name_and_url() {
    let admin = AdminServer::start_ready(&[]);
    let empty = admin.json("/nodes");
    assert_eq!(
        (&empty["entries"], &empty["nodes"]),
        (&json!(0), &json!([]))
    );
    let plain = admin.distributor.join("good<s>\"", 9010);
    let _session = join_session(&admin, "shop");
    wait_until("the acknowledgement", || {
        admin.json("/nodes?name=shop")["nodes"][0]["acked"] == 2
    });

    let all = admin.json("/nodes");
    assert_eq!(
        (&all["entries"], &all["rev"], &all["complete"]),
        (&json!(2), &json!(2), &json!(true))
    );
    let [first, second] = [&all["nodes"][0], &all["nodes"][1]];
    assert_eq!(first["name"], "good<s>\"");
    assert_eq!(first["peer"], format!("127.0.0.1:{}", plain.local_port()));
    assert_eq!(
        [&first["session"], &first["acked"], &first["state"]],
        [&json!("plain"), &Value::Null, &json!("connected")]
    );
    assert_eq!(
        [&second["host"], &second["port"], &second["session"]],
        [&json!("127.0.0.1"), &json!(9020), &json!("delta")]
    );
    assert_eq!(second["urls"], json!(["GET/shop", "POST/all"]));
    assert!(second["age_seconds"].as_f64().unwrap() >= 0.0);

    let names = |target: &str| {
        let list = admin.json(target);
        let nodes = list["nodes"].as_array().unwrap().clone();
        nodes
            .iter()
            .map(|node| node["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names("/nodes?name=shop"), ["shop"]);
    assert_eq!(names("/nodes?name=good%3Cs%3E%22"), ["good<s>\""]);
    assert_eq!(names("/nodes?url=POST/all"), ["shop"]);
    assert_eq!(names("/nodes?url=/shop"), ["shop"]);
    assert!(names("/nodes?name=sho").is_empty() && names("/nodes?url=GET/all").is_empty());
    assert_eq!(admin.get("/nodes?nam=shop").status, 400);
    assert_eq!(admin.get("/nodes?name=shop&name=x").status, 400);

    let targets = admin.json("/sd");
    assert_eq!(targets[1]["targets"], json!(["127.0.0.1:9020"]));
    assert_eq!(targets[1]["labels"]["__meta_pilcrow_name"], "shop");
    for group in targets.as_array().unwrap() {
        assert_eq!(
            group.as_object().unwrap().len(),
            2,
            "no more than http_sd knows"
        );
        assert!(
            group["labels"]
                .as_object()
                .unwrap()
                .values()
                .all(Value::is_string)
        );
    }
    // A node that left is in neither list.
    drop(plain);
    wait_until("the node to leave", || names("/nodes") == ["shop"]);
    assert_eq!(admin.json("/sd").as_array().unwrap().len(), 1);
}

#[test]
fn lists_each_node_once_over_several_turns() {
    let admin = AdminServer::start_ready(&[]);
    let count: u16 = 700;
    let nodes: Vec<_> = (1..=count)
        .map(|port| {
            let mut node = Client::connect(admin.distributor.addr);
            let name = format!("node-{port}");
            node.send(&json!({"uri": "/distributes", "method": "POST", "key": 0,
                "params": {"port": port, "name": name, "urls": ["GET/goods"]},
                "session": {"version": 1, "watch": "none"}}));
            node
        })
        .collect();
    wait_until("all", || admin.json("/nodes")["entries"] == count);
    let ports = |list: &Value| -> Vec<u64> {
        let nodes = list["nodes"].as_array().unwrap();
        let mut ports: Vec<u64> = nodes.iter().map(|n| n["port"].as_u64().unwrap()).collect();
        ports.sort_unstable();
        ports
    };
    let all_ports: Vec<u64> = (1..=count.into()).collect();
    assert_eq!(ports(&admin.json("/nodes")), all_ports);
    assert_eq!(
        admin.json("/sd").as_array().unwrap().len(),
        usize::from(count)
    );
    assert_eq!(ports(&admin.json("/nodes?name=node-650")), [650]);

    // Clients that disconnect while a list is written do not delay the next ones.
    for _ in 0..5 {
        let mut stream = TcpStream::connect(admin.http).unwrap();
        write!(stream, "GET /nodes HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    }
    assert_eq!(ports(&admin.json("/nodes")), all_ports);
    // Nodes that leave while it is written are in it or not; all others are.
    drop(nodes);
    wait_until("all gone", || {
        let left = ports(&admin.json("/nodes"));
        assert!(left.windows(2).all(|two| two[0] < two[1]), "{left:?}");
        left.is_empty()
    });
}

#[test]
fn streams_events_and_resumes_after_the_last_id() {
    let admin = AdminServer::start_ready(&[]);
    let mut events = admin.events(None);
    assert_eq!(events.next().0, "hello");
    let node = admin.distributor.join("goods id: 7", 9010);
    let (id, joined) = events.wait_for("joined");
    assert_eq!(
        (&joined["name"], &joined["rev"]),
        (&json!("goods id: 7"), &json!(1))
    );
    drop(node);
    let (left_id, left) = events.wait_for("left");
    assert_eq!(
        (&left["cause"], &left["reason"]),
        (&json!("closed"), &json!("closed by the peer"))
    );

    // From any place, the events after it and no others.
    let mut again = admin.events(Some(&id));
    assert_eq!(again.next(), ("left".to_owned(), left_id.clone(), left));
    let mut at_end = admin.events(Some(&left_id));
    let _other = admin.distributor.join("other", 9011);
    assert_eq!(at_end.next().0, "joined");

    // A page that has read the events of `/why` continues after them.
    let mut stream = TcpStream::connect(admin.http).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let number = admin.json("/why?name=other")["events"][0]["number"].clone();
    write!(
        stream,
        "GET /events?last_event_id={} HTTP/1.0\r\n\r\n",
        number.as_u64().unwrap() - 1
    )
    .unwrap();
    let (_, joined) = Events(BufReader::new(stream)).wait_for("joined");
    assert_eq!(joined["number"], number);

    // An unknown place is answered with `reset`.
    for unknown in ["0123456789abcdef-1", "nonsense", "999999"] {
        let (name, id, data) = admin.events(Some(unknown)).next();
        assert_eq!(
            (name.as_str(), &data["entries"]),
            ("reset", &json!(1)),
            "{unknown}"
        );
        assert!(id.starts_with(left_id.split('-').next().unwrap()));
    }
}

#[test]
fn why_counts_sent_and_late_sessions() {
    let admin = AdminServer::start_ready(&[]);
    let mut quick = join_session(&admin, "quick");
    let _late = join_session(&admin, "late");
    let _plain = admin.distributor.join("plain", 9010);
    drop(admin.distributor.join("gone", 9011));
    let last = |name: &str| {
        let why = admin.json(&format!("/why?name={name}"));
        why["events"]
            .as_array()
            .unwrap()
            .last()
            .cloned()
            .unwrap_or_default()
    };
    wait_until("the push", || last("gone")["push"]["rev"].is_u64());
    let left = last("gone");
    let revision = left["rev"].as_u64().unwrap();
    ack(&mut quick, revision);
    wait_until("the acknowledgement", || last("gone")["push"]["acked"] == 1);
    let left = last("gone");
    assert_eq!(
        (&left["event"], &left["cause"]),
        (&json!("left"), &json!("closed"))
    );
    let push = &left["push"];
    assert_eq!(
        [&push["of"], &push["blind"], &push["late"]],
        [2, 1, 1],
        "{left}"
    );
    assert_eq!(push["late_names"], json!(["late"]));
    assert!(push["last_ack_after_ms"].as_f64().unwrap() > 0.0);
    // All events of the node, and none of others.
    let events = admin.json("/why?name=gone")["events"]
        .as_array()
        .unwrap()
        .clone();
    let kinds: Vec<&str> = events
        .iter()
        .map(|event| event["event"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["joined", "left"]);
    let limited = admin.json("/why?limit=1");
    assert_eq!(
        (
            limited["events"].as_array().unwrap().len(),
            &limited["more"]
        ),
        (1, &json!(true))
    );
    assert_eq!(admin.json("/why?name=missing")["events"], json!([]));
    assert_eq!(admin.get("/why?limit=x").status, 400);
}

#[test]
fn shows_subscriptions_and_counts_whom_a_change_concerned() {
    let admin = AdminServer::start_ready(&[]);
    let only = |names: &[&str]| json!({"watch": "delta", "only": {"names": names}});
    let mut concerned = join_with(&admin, "concerned", &only(&["gone", "concerned"]));
    let _late = join_with(&admin, "late", &only(&["gone", "late"]));
    let _other = join_with(&admin, "other", &only(&["other"]));
    drop(admin.distributor.join("gone", 9011));
    let last = || admin.json("/why?name=gone")["events"][1].clone();
    wait_until("the push", || last()["push"]["rev"].is_u64());
    ack(&mut concerned, last()["rev"].as_u64().unwrap());
    wait_until("the acknowledgement", || last()["push"]["acked"] == 1);
    let push = last()["push"].clone();
    assert_eq!(
        [&push["of"], &push["told"], &push["late"]],
        [2, 2, 1],
        "{push}"
    );
    assert_eq!(push["late_names"], json!(["late"]));
    let nodes = admin.json("/nodes");
    let node = |name: &str| {
        let mut nodes = nodes["nodes"].as_array().unwrap().iter();
        nodes.find(|node| node["name"] == name).cloned().unwrap()
    };
    assert_eq!(node("other")["subscription"], json!({"names": ["other"]}));
    // What does not match counts as acknowledged.
    assert_eq!(node("other")["acked"], nodes["rev"]);
    assert_ne!(node("late")["acked"], nodes["rev"]);
}

#[test]
fn is_ready_when_the_list_is_complete() {
    let mut admin = AdminServer::start(&["--warm-up", "2s"]);
    let warming = admin.get("/readyz");
    assert_eq!(admin.get("/healthz").status, 200);
    assert_eq!(warming.status, 503, "{warming:?}");
    assert!(warming.body.starts_with("warming up: "), "{}", warming.body);
    assert_eq!(admin.json("/nodes")["complete"], false);
    wait_until("the Distributor to be ready", || {
        admin.get("/readyz").status == 200
    });
    assert_eq!(admin.json("/nodes")["complete"], true);
    // It stops in time although a client follows events.
    let mut events = admin.events(None);
    events.next();
    admin
        .distributor
        .program
        .signal(rustix::process::Signal::TERM);
    assert!(admin.distributor.program.wait().success());
    let mut rest = String::new();
    events.0.read_to_string(&mut rest).unwrap();
}

#[test]
fn drains_only_with_the_admin_token() {
    let folder = Folder::new();
    let file = folder.join("admin");
    std::fs::write(&file, "0123456789abcdef-admin\n").unwrap();
    let admin = AdminServer::start_ready(&["--admin-token-file", &file]);
    let mut watcher = join_session(&admin, "watcher");
    let mut goods = admin.distributor.join("goods", 9010);
    let drain =
        |target: &str, authorization: &str| admin.send_request("POST", target, authorization);
    let bearer = "Authorization: Bearer 0123456789abcdef-admin\r\n";
    assert_eq!(drain("/drain?name=goods", "").status, 401);
    assert_eq!(
        drain(
            "/drain?name=goods",
            "Authorization: Bearer 0123456789abcdef\r\n"
        )
        .status,
        403
    );
    // 0123456789abcdef-admin as the password, as a browser would add it.
    let basic = "Authorization: Basic OjAxMjM0NTY3ODlhYmNkZWYtYWRtaW4=\r\n";
    assert_eq!(drain("/drain?name=goods", basic).status, 401);
    assert_eq!(
        admin
            .send_request("GET", "/drain?name=goods", bearer)
            .status,
        405
    );
    assert_eq!(drain("/drain", bearer).status, 400);
    assert_eq!(drain("/drain?name=goods&wait_ms=x", bearer).status, 400);
    // With an ignored parameter, the wrong node could leave.
    assert_eq!(drain("/drain?id=2&nam=watcher", bearer).status, 400);
    assert_eq!(drain("/drain?name=missing&name=goods", bearer).status, 400);
    assert_eq!(drain("/drain?name=missing", bearer).status, 404);
    assert_eq!(admin.json("/nodes")["entries"], 2);

    // No session acknowledges in time.
    let answer = drain("/drain?name=goods&wait_ms=50", bearer);
    let drained: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(
        [&drained["acked"], &drained["of"], &drained["blind"]],
        [0, 1, 1],
        "{drained}"
    );
    assert_eq!(drained["late"][0]["name"], "watcher");
    assert_eq!(admin.json("/nodes")["entries"], 1);
    // Its connection stays, and it may register again.
    goods.register("goods", 9010);
    wait_until("the node to be listed again", || {
        admin.json("/nodes")["entries"] == 2
    });

    let revision = drained["rev"].as_u64().unwrap() + 2;
    let acks = std::thread::spawn(move || {
        while watcher.next()["session"]["rev"].as_u64() != Some(revision) {}
        ack(&mut watcher, revision);
        watcher
    });
    let answer = drain("/drain?name=goods&wait_ms=60000", bearer);
    let drained: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(
        [&drained["rev"], &drained["acked"], &drained["of"]],
        [revision, 1, 1],
        "{drained}"
    );
    assert_eq!(drained["late"], json!([]));
    acks.join().unwrap();
    let why = admin.json("/why?name=goods");
    assert_eq!(
        why["events"].as_array().unwrap().last().unwrap()["cause"],
        "drained"
    );
}

#[test]
fn sighup_reloads_the_admin_token() {
    let folder = Folder::new();
    let file = folder.join("admin");
    std::fs::write(&file, "0123456789abcdef-old\n").unwrap();
    let admin = AdminServer::start_ready(&["--admin-token-file", &file]);
    let status = |token: &str| {
        let shown = format!("Authorization: Bearer {token}\r\n");
        admin
            .send_request("POST", "/drain?name=missing", &shown)
            .status
    };
    let hang_up = |text: &str, message: &str| {
        std::fs::write(&file, text).unwrap();
        let program = &admin.distributor.program;
        program.signal(rustix::process::Signal::HUP);
        program.wait_for_log(&[message]);
    };
    assert_eq!(status("0123456789abcdef-old"), 404);
    hang_up("0123456789abcdef-new\n", "token files reloaded");
    wait_until("the new token to be known", || {
        status("0123456789abcdef-new") == 404
    });
    assert_eq!(status("0123456789abcdef-old"), 403);
    hang_up("not a token\n", "invalid token file, tokens unchanged");
    assert_eq!(status("0123456789abcdef-new"), 404);
}

#[test]
fn disables_changes_without_an_admin_token() {
    let admin = AdminServer::start_ready(&[]);
    let answer = admin.send_request("POST", "/drain?name=a", "Authorization: Bearer x\r\n");
    assert_eq!(answer.status, 403);
    assert!(
        answer.body.contains("--admin-token-file"),
        "{}",
        answer.body
    );
}

#[test]
fn rejects_reads_without_a_token() {
    let folder = Folder::new();
    let file = folder.join("tokens");
    std::fs::write(&file, "0123456789abcdef\n").unwrap();
    let admin = AdminServer::start_ready(&["--token-file", &file]);
    for target in ["/", "/nodes", "/sd", "/why", "/metrics"] {
        let answer = admin.get(target);
        assert_eq!(answer.status, 401, "{target}");
        assert!(answer.header("www-authenticate").starts_with("Basic "));
        let bearer =
            admin.send_request("GET", target, "Authorization: Bearer 0123456789abcdef\r\n");
        assert_eq!(bearer.status, 200, "{target}");
        // The token as the password.
        let basic = "Authorization: Basic b3BlcmF0b3I6MDEyMzQ1Njc4OWFiY2RlZg==\r\n";
        assert_eq!(
            admin.send_request("GET", target, basic).status,
            200,
            "{target}"
        );
        assert_eq!(
            admin
                .send_request("GET", target, "Authorization: Bearer 0123456789abcde\r\n")
                .status,
            401
        );
    }
    assert_eq!(admin.get("/healthz").status, 200);
}

#[test]
fn rejects_other_origins_and_wrong_requests() {
    let admin = AdminServer::start_ready(&["--http-host", "registry.internal"]);
    for host in [
        "evil.example",
        "localhost.evil.example:80",
        "127.0.0.1.nip.io",
    ] {
        assert_eq!(
            admin
                .send_request("GET", "/nodes", &format!("Host: {host}\r\n"))
                .status,
            421,
            "{host}"
        );
    }
    for host in [
        "127.0.0.1",
        "[::1]:9001",
        "localhost:1",
        "registry.internal",
    ] {
        assert_eq!(
            admin
                .send_request("GET", "/nodes", &format!("Host: {host}\r\n"))
                .status,
            200,
            "{host}"
        );
    }
    // A URL as the target takes precedence over the Host.
    for (target, host, status) in [
        ("http://evil.example/nodes", "localhost", 421),
        ("http://localhost/nodes", "evil.example", 200),
    ] {
        let answer = admin.send_request("GET", target, &format!("Host: {host}\r\n"));
        assert_eq!(answer.status, status, "{target}");
    }
    for (method, target, status) in [
        ("GET", "/nothing", 404),
        ("POST", "/nodes", 405),
        ("DELETE", "/", 405),
        ("GET", "/nodes/../metrics", 400),
        ("HEAD", "/nodes", 200),
    ] {
        let answer = admin.send_request(method, target, "");
        assert_eq!(answer.status, status, "{method} {target}");
    }
    let page = admin.get("/");
    assert_eq!(
        (page.status, page.header("content-type")),
        (200, "text/html; charset=utf-8")
    );
    assert!(
        page.header("content-security-policy")
            .starts_with("default-src 'none'")
    );
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    assert_eq!(page.header("access-control-allow-origin"), "");
    for outside in ["http://", "https://", "innerHTML", "src=\"//"] {
        assert!(!page.body.contains(outside), "{outside}");
    }
    admin.distributor.assert_serves();
}

#[test]
fn requires_an_access_rule_for_public_addresses() {
    let refused = |flags: &[&str]| {
        let flags = [&["--listen", "127.0.0.1:0"], flags].concat();
        let mut program =
            crate::support::Program::start(&mut crate::support::distributor_command(&flags));
        let code = program.wait().code();
        (code, program.stderr().join("\n"))
    };
    let (code, why) = refused(&["--http", "0.0.0.0:0"]);
    assert_eq!(code, Some(2), "{why}");
    assert!(
        why.contains("--http 0.0.0.0:0") && why.contains("--allow-from"),
        "{why}"
    );
    let (code, why) = refused(&["--http", "127.0.0.1"]);
    assert_eq!(code, Some(2), "{why}");
    assert!(why.contains("missing port"), "{why}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (code, why) = refused(&["--http", &taken.local_addr().unwrap().to_string()]);
    assert_eq!(code, Some(3), "{why}");
    let (code, why) = refused(&[
        "--http",
        "127.0.0.1:0",
        "--admin-token-file",
        "/nonexistent/token",
    ]);
    // The file may be there at the next start: not a usage error.
    assert_eq!(code, Some(1), "{why}");
    assert!(why.contains("--admin-token-file"), "{why}");
}

/// One family of metrics: its type, and the value of each sample by name and labels.
#[derive(Debug, Default)]
struct Family {
    kind: String,
    samples: BTreeMap<String, f64>,
}

/// Reads the text format, version 0.0.4, as strictly as `promtool check metrics`.
#[track_caller]
fn families(text: &str) -> BTreeMap<String, Family> {
    let is_name = |name: &str| {
        let mut bytes = name.bytes();
        bytes
            .next()
            .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_' || b == b':')
            && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')
    };
    assert!(text.ends_with('\n'));
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut helped = HashSet::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, words) = help.split_once(' ').unwrap();
            assert!(
                is_name(name) && !words.is_empty() && helped.insert(name.to_owned()),
                "{line}"
            );
            continue;
        }
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(helped.contains(name), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            let family = Family {
                kind: kind.to_owned(),
                ..Family::default()
            };
            assert!(
                families.insert(name.to_owned(), family).is_none(),
                "twice: {line}"
            );
            name.clone_into(&mut current);
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}').expect("labels end")),
            None => (series, ""),
        };
        assert!(is_name(name), "{line}");
        if !labels.is_empty() {
            let (label, quoted) = labels.split_once('=').unwrap();
            let inner = quoted
                .strip_prefix('"')
                .and_then(|q| q.strip_suffix('"'))
                .expect("quotes");
            assert!(
                is_name(label) && !inner.contains(['"', '\\', '\n']),
                "{line}"
            );
        }
        let family = families.get_mut(&current).expect("a type comes first");
        let suffix = name
            .strip_prefix(current.as_str())
            .expect("a family's samples are together");
        match family.kind.as_str() {
            "histogram" => assert!(["_bucket", "_sum", "_count"].contains(&suffix), "{line}"),
            _ => assert_eq!(suffix, "", "{line}"),
        }
        let value: f64 = value.parse().unwrap();
        assert!(value >= 0.0 && value.is_finite(), "{line}");
        assert!(
            family.samples.insert(series.to_owned(), value).is_none(),
            "twice: {line}"
        );
    }
    for (name, family) in families
        .iter()
        .filter(|(_, family)| family.kind == "histogram")
    {
        let sample = |series: String| family.samples[&series];
        let prefix = format!("{name}_bucket{{le=\"");
        let bound = |series: &str| -> f64 {
            series
                .strip_prefix(&prefix)
                .unwrap()
                .strip_suffix("\"}")
                .unwrap()
                .replace("+Inf", "inf")
                .parse()
                .unwrap()
        };
        let buckets = family
            .samples
            .iter()
            .filter(|(series, _)| series.starts_with(&prefix));
        let mut buckets: Vec<(f64, f64)> = buckets
            .map(|(series, count)| (bound(series), *count))
            .collect();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert!(
            buckets.windows(2).all(|pair| pair[0].1 <= pair[1].1),
            "{name}: {buckets:?}"
        );
        assert_eq!(
            buckets.last().unwrap(),
            &(f64::INFINITY, sample(format!("{name}_count")))
        );
        assert!(family.samples.contains_key(&format!("{name}_sum")));
    }
    families
}

#[test]
fn exports_metrics() {
    let admin = AdminServer::start_ready(&["--first-byte-timeout", "100ms"]);
    let scrape = || {
        let answer = admin.get("/metrics");
        assert_eq!(
            answer.header("content-type"),
            "text/plain; version=0.0.4; charset=utf-8"
        );
        families(&answer.body)
    };
    let value = |series: &str| {
        let all = scrape();
        let mut found = all.values().filter_map(|family| family.samples.get(series));
        *found
            .next()
            .unwrap_or_else(|| panic!("there is no {series}"))
    };
    scrape();
    let mut session = join_session(&admin, "shop");
    drop(admin.distributor.join("gone", 9010));
    wait_until("the departure", || {
        value("pilcrow_departures_total{cause=\"closed\"}") == 1.0
    });
    assert_eq!(value("pilcrow_entries"), 1.0);
    assert_eq!(value("pilcrow_sessions{kind=\"delta\"}"), 1.0);
    // A figure is exported once: a collection with a metric of its own is not in these two.
    let all = scrape();
    for family in ["pilcrow_collection_size", "pilcrow_collection_bytes"] {
        for own in ["entries", "sessions", "http_connections", "http_streams"] {
            let series = format!("{family}{{collection=\"{own}\"}}");
            assert!(!all[family].samples.contains_key(&series), "{series}");
        }
    }
    assert!(value("pilcrow_push_write_seconds_count") >= 1.0);
    assert!(value("pilcrow_turn_seconds_count") >= 1.0);
    // A connection that sends nothing hits a limit.
    let silent = TcpStream::connect(admin.distributor.addr).unwrap();
    wait_until("the limit", || {
        value("pilcrow_limit_hits_total{limit=\"first_byte_timeout\"}") == 1.0
    });
    drop(silent);
    // So do requests that are too large.
    for (request, limit) in [
        ("GET /".to_owned() + &"x".repeat(17 << 10), "head"),
        (
            "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n".to_owned(),
            "body",
        ),
    ] {
        let mut client = TcpStream::connect(admin.http).unwrap();
        client.write_all(request.as_bytes()).unwrap();
        let series = format!("pilcrow_limit_hits_total{{limit=\"http_{limit}_bytes\"}}");
        wait_until(&series, || value(&series) == 1.0);
    }
    // At most one change per second is a sample. The acknowledgement of the last session ends it.
    wait_until("the sample", || {
        drop(admin.distributor.join("gone", 9010));
        let revision = admin.json("/nodes")["rev"].as_u64().unwrap();
        ack(&mut session, revision);
        value("pilcrow_join_to_last_ack_seconds_count") >= 1.0
    });
}

#[test]
fn keeps_room_for_nodes_beside_http_connections() {
    let flags = ["--max-connections", "200", "--max-http-connections", "10"];
    let admin = AdminServer::start_ready(&flags);
    // Some are closed while they connect.
    let clients: Vec<_> = (0..500).map(|_| TcpStream::connect(admin.http)).collect();
    let _node = admin.distributor.join("goods", 9010);
    assert!(clients.iter().filter(|client| client.is_ok()).count() > 10);
}

#[test]
fn limits_nodes_although_http_has_room() {
    let admin = AdminServer::start(&["--max-connections", "2"]);
    let _both = ["a", "b"].map(|name| admin.distributor.join(name, 1));
    let mut third = Client::connect(admin.distributor.addr);
    assert_eq!(third.next_errorcode(), 6);
    let log = &admin.distributor.program;
    log.wait_for_log(&["connections refused", "limit=2 "]);
    assert_eq!(admin.get("/healthz").status, 200);
}

#[test]
fn disconnects_streams_that_are_not_read() {
    let admin = AdminServer::start_ready(&["--write-timeout", "500ms"]);
    let mut stuck = Vec::new();
    for _ in 0..20 {
        let mut client = Client::connect_narrow(admin.http);
        client.send_raw(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n");
        stuck.push(client);
    }
    wait_until("all to follow", || {
        let figures = families(&admin.get("/metrics").body);
        figures["pilcrow_http_streams"].samples["pilcrow_http_streams"] == 20.0
    });
    // Long names fill the buffers of the kernel.
    let name = "n".repeat(100);
    let mut node = admin.distributor.join(&name, 9010);
    node.stream
        .set_read_timeout(Some(Duration::from_millis(1)))
        .unwrap();
    let mut port = 9010u16;
    wait_until("the disconnections", || {
        for _ in 0..100 {
            port = port % 60_000 + 1;
            node.register(&name, port);
        }
        let mut read = [0; 1 << 20];
        while node.stream.read(&mut read).is_ok_and(|count| count > 0) {}
        let figures = families(&admin.get("/metrics").body);
        figures["pilcrow_http_streams"].samples["pilcrow_http_streams"] == 0.0
    });
    admin.distributor.assert_serves();
}
