//! Admission: tokens, address ranges, and public addresses.

use std::fs;
use std::net::SocketAddr;

use pilcrow::node::{Config, Context, Event, LinkState, Node, Service};
use pilcrow::protocol::Route;
use pilcrow::reactor::{Limits, Reactor};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{
    Client, Distributor, Folder, Program, distributor_command, is_in_own_network, names, wait_until,
};

const TOKENS: &str = "\
# any name
open-sesame-0123456789
goods-only-0123456789 goods /goods
";
const OPEN: &str = "open-sesame-0123456789";
const GOODS: &str = "goods-only-0123456789";

fn packet(name: &str, url: &str, token: &str) -> Value {
    json!({"uri": "/distributes", "method": "POST", "key": 1,
        "params": {"port": 1, "name": name, "urls": [url]}, "session": {"token": token}})
}

/// Sends a packet on a new connection, and returns all frames up to the reply.
fn send(distributor: &Distributor, packet: &Value) -> (Client, Vec<Value>) {
    let mut client = Client::connect(distributor.addr);
    client.send(packet);
    let mut frames = Vec::new();
    loop {
        frames.push(client.next());
        if frames.last().unwrap()["key"] == packet["key"] {
            return (client, frames);
        }
    }
}

#[track_caller]
fn assert_refused(distributor: &Distributor, packet: &Value) {
    let (mut client, frames) = send(distributor, packet);
    assert_eq!(frames.len(), 1, "frames before the reply: {frames:?}");
    assert_eq!(frames[0]["errorcode"], 5, "{frames:?}");
    assert_eq!(client.read_to_end(), [] as [Value; 0]);
}

fn register(distributor: &Distributor, packet: &Value) -> Client {
    let (mut client, frames) = send(distributor, packet);
    assert_eq!(frames[0]["errorcode"], 0, "{frames:?}");
    assert_eq!(client.next()["method"], "GET");
    client
}

#[test]
fn closes_connections_without_a_token_in_time() {
    let folder = Folder::new();
    let file = folder.join("tokens");
    fs::write(&file, TOKENS).unwrap();
    let args = ["--token-file", &file, "--first-byte-timeout", "1s"];
    let distributor = Distributor::start(&args);
    let _member = register(&distributor, &packet("a", "GET/a", OPEN));
    let mut sloppy = Client::connect(distributor.addr);
    sloppy.send_raw("null¶".as_bytes());
    assert_eq!(sloppy.next()["errorcode"], 3);
    assert_eq!(sloppy.next()["errorcode"], 7);
    assert_eq!(sloppy.read_to_end(), [] as [Value; 0]);
    // Admitted connections stay.
    let _other = register(&distributor, &packet("b", "GET/b", OPEN));
}

#[test]
fn sends_no_list_without_a_token() {
    let folder = Folder::new();
    let file = folder.join("tokens");
    fs::write(&file, TOKENS).unwrap();
    let distributor = Distributor::start(&["--token-file", &file, "--log-level", "trace"]);
    let _member = register(&distributor, &packet("a", "GET/a", OPEN));

    let without = json!({"uri": "/distributes", "method": "POST", "key": 1,
        "params": {"port": 1, "name": "b"}});
    let get = json!({"uri": "/distributes", "method": "GET", "key": 1});
    let heartbeat = json!({"uri": "/distributes/heartbeat", "method": "POST", "key": 1});
    let almost = &OPEN[..OPEN.len() - 1];
    for refused in [
        without.clone(),
        get,
        heartbeat,
        packet("b", "GET/b", ""),
        packet("b", "GET/b", almost),
        packet("b", "GET/b", &format!("{OPEN}0")),
        packet("b", "GET/b", "# any name"),
    ] {
        assert_refused(&distributor, &refused);
    }
    // Other errors are reported, and still no list is sent.
    let mut client = Client::connect(distributor.addr);
    client.send_raw("nonsense¶".as_bytes());
    assert_eq!(client.next_errorcode(), 3);
    client
        .send(&json!({"key": 1, "uri": "/distributes", "method": "POST", "session": {"token": 7}}));
    assert_eq!(client.next_errorcode(), 1);
    client.send(&packet("c", "GET/c", OPEN));
    assert_eq!(client.next()["errorcode"], 0);
    assert_eq!(client.next_list(), ["a", "c"]);
    // It may register again without the token, but not with a wrong one.
    client.send(&without);
    assert_eq!(client.next_list(), ["a", "b"]);
    client.send(&packet("d", "GET/d", "wrong"));
    assert_eq!(client.next()["errorcode"], 5);
    assert_eq!(
        client.request_list().1["params"][1]["name"],
        "b",
        "the old registration stays"
    );

    distributor
        .program
        .wait_for_log(&["packet rejected", "errorcode=5"]);
    for line in distributor.program.stderr() {
        let shows = [OPEN, GOODS, almost]
            .iter()
            .any(|token| line.contains(token));
        assert!(!shows, "{line}");
    }
}

#[test]
fn reads_the_list_with_a_token_and_without_registering() {
    let folder = Folder::new();
    let file = folder.join("tokens");
    fs::write(&file, TOKENS).unwrap();
    let distributor = Distributor::start(&["--token-file", &file]);
    let _member = register(&distributor, &packet("a", "GET/a", OPEN));
    let get = |session: &Value| json!({"uri": "/distributes", "method": "GET", "key": 1, "session": session});
    for refused in [json!({}), json!({"token": ""}), json!({"token": "wrong"})] {
        assert_refused(&distributor, &get(&refused));
    }
    // Any token admits, regardless of what it may register.
    for token in [OPEN, GOODS] {
        let (mut reader, frames) = send(&distributor, &get(&json!({"token": token})));
        assert_eq!(frames.len(), 1);
        assert_eq!(names(&frames[0]), ["a"]);
        assert_eq!(frames[0]["session"], Value::Null);
        // The connection stays admitted. Without a registration it receives no changes.
        let other = register(&distributor, &packet("goods", "GET/goods", GOODS));
        let (before, list) = reader.request_list();
        assert_eq!(
            (before.len(), names(&list)),
            (0, vec!["a".to_owned(), "goods".to_owned()])
        );
        drop(other);
        wait_until("the departure", || names(&reader.request_list().1) == ["a"]);
    }
    // A later registration without the token is bound to what the token may register, and to it.
    let (mut reader, _) = send(&distributor, &get(&json!({"token": GOODS})));
    reader.post(&json!({"port": 1, "name": "goods", "urls": ["GET/goods"]}));
    assert_eq!(reader.next_list(), ["a", "goods"]);
    let (mut reader, _) = send(&distributor, &get(&json!({"token": GOODS})));
    reader.post(&json!({"port": 1, "name": "other"}));
    assert_eq!(reader.next_errorcode(), 5);
    assert_eq!(reader.read_to_end(), [] as [Value; 0]);
}

#[test]
fn binds_tokens_to_names_and_urls() {
    let folder = Folder::new();
    let file = folder.join("tokens");
    fs::write(&file, TOKENS).unwrap();
    let distributor = Distributor::start(&["--token-file", &file]);
    for (name, url) in [
        ("other", "GET/goods"),
        ("goods", "GET/other"),
        ("", "GET/goods"),
    ] {
        assert_refused(&distributor, &packet(name, url, GOODS));
    }
    let mut client = register(&distributor, &packet("goods-7", "POST/goods/7", GOODS));
    client.send(&packet("other", "GET/goods", GOODS));
    assert_eq!(client.next()["errorcode"], 5);
    assert_eq!(client.request_list().1["params"][0]["name"], "goods-7");
}

#[test]
fn sighup_reloads_valid_tokens_only() {
    let folder = Folder::new();
    let file = folder.join("tokens");
    fs::write(&file, "first-token-0123456789\n").unwrap();
    let distributor = Distributor::start(&["--token-file", &file]);
    let member = || packet("a", "GET/a", "first-token-0123456789");
    let mut before = register(&distributor, &member());
    for broken in ["", "two\u{7}words", "secret * nourl"] {
        fs::write(&file, broken).unwrap();
        let lines = || {
            let stderr = distributor.program.stderr();
            let matches = |line: &&String| line.contains("invalid token file, tokens unchanged");
            stderr.iter().filter(matches).count()
        };
        let earlier = lines();
        distributor.program.signal(Signal::HUP);
        wait_until("a warning", || lines() > earlier);
        drop(register(&distributor, &member()));
    }
    fs::write(&file, "second-token-0123456789\n").unwrap();
    distributor.program.signal(Signal::HUP);
    distributor
        .program
        .wait_for_log(&["tokens replaced", "tokens=1"]);
    let second = packet("b", "GET/b", "second-token-0123456789");
    wait_until("the second token", || {
        send(&distributor, &second).1[0]["errorcode"] == 0
    });
    assert_refused(&distributor, &member());
    // Registered nodes stay.
    before.send(&json!({"uri": "/distributes", "method": "POST", "key": 9,
        "params": {"port": 1, "name": "still"}}));
    before.wait_for_list("its new name", |names| names.contains(&"still".to_owned()));
}

#[test]
fn admits_addresses_of_a_range_without_a_token() {
    let folder = Folder::new();
    let file = folder.join("tokens");
    fs::write(&file, TOKENS).unwrap();
    let outside = ["--allow-from", "10.0.0.0/8"];
    let inside = ["--allow-from", "10.0.0.0/8,127.0.0.0/8"];
    let tokens = ["--token-file", &file];

    let distributor = Distributor::start(&outside);
    let mut client = Client::connect(distributor.addr);
    assert_eq!(client.next()["errorcode"], 5);
    assert_eq!(client.read_to_end(), [] as [Value; 0]);

    Distributor::start(&inside).assert_serves();
    Distributor::start(&[inside, tokens].concat()).assert_serves();

    let distributor = Distributor::start(&[outside, tokens].concat());
    assert_refused(&distributor, &packet("a", "GET/a", "wrong"));
    drop(register(&distributor, &packet("a", "GET/a", OPEN)));
}

#[test]
fn requires_an_access_rule_for_public_addresses() {
    let folder = Folder::new();
    let (file, empty) = (folder.join("tokens"), folder.join("empty"));
    fs::write(&file, TOKENS).unwrap();
    fs::write(&empty, "# none\n").unwrap();
    let public = ["--listen", "0.0.0.0:0"];
    let fails_with = |code: i32, flags: &[&str], parts: &[&str]| {
        let mut program = Program::start(&mut distributor_command(&[&public, flags].concat()));
        assert_eq!(program.wait().code(), Some(code), "{flags:?}");
        program.wait_for_log(parts);
        assert_eq!(program.stderr().len(), 1, "{:?}", program.stderr());
    };
    let fails = |flags: &[&str], parts: &[&str]| fails_with(2, flags, parts);
    fails(&[], &["--token-file", "--allow-from", "--allow-anonymous"]);
    fails_with(
        1,
        &["--token-file", &folder.join("missing")],
        &["missing", "cannot read"],
    );
    fails(&["--token-file", &empty], &["empty", "no token"]);
    fails(
        &["--allow-from", "10.0.0.0/33"],
        &["--allow-from", "10.0.0.0/8"],
    );
    for flags in [
        &["--token-file", &file][..],
        &["--allow-from", "10.0.0.0/8"],
        &["--allow-anonymous"],
    ] {
        let mut program = Program::start(&mut distributor_command(&[&public, flags].concat()));
        program.wait_for_line("an address", |line| {
            line.starts_with("listening on").then_some(())
        });
    }
    // Token files that others can read, and short tokens, are warned of.
    fs::write(&file, "short\n").unwrap();
    let distributor = Distributor::start(&["--token-file", &file]);
    distributor
        .program
        .wait_for_log(&["WARN", "can be guessed"]);
    distributor.program.wait_for_log(&["WARN", "chmod o-r"]);
}

#[test]
fn claims_an_entry_with_the_same_token_only() {
    let folder = Folder::new();
    let file = folder.join("tokens");
    fs::write(&file, TOKENS).unwrap();
    let distributor = Distributor::start(&["--token-file", &file]);
    let of_instance = |token: &str| {
        let mut packet = packet("goods", "GET/goods", token);
        packet["session"]["instance"] = "ab12".into();
        packet
    };
    let mut first = register(&distributor, &of_instance(OPEN));
    assert_refused(&distributor, &of_instance(GOODS));
    let mut back = register(&distributor, &of_instance(OPEN));
    assert_eq!(back.request_list().1["params"].as_array().unwrap().len(), 1);
    first.read_to_end();
}

#[derive(Default)]
struct Recorded(Vec<String>);

impl Service for Recorded {
    fn on_event(&mut self, _: &mut Context<'_>, event: Event) {
        self.0.push(match event {
            Event::RegistrationRefused(reply) => format!("refused {}", reply.errorcode),
            other => format!("{other:?}"),
        });
    }
}

#[test]
fn node_sends_its_token() {
    let folder = Folder::new();
    let file = folder.join("tokens");
    fs::write(&file, TOKENS).unwrap();
    let distributor = Distributor::start(&["--token-file", &file]);
    for (token, is_right) in [(Some(GOODS), true), (Some("wrong"), false), (None, false)] {
        let mut reactor = Reactor::new(Limits::default()).unwrap();
        let config = Config::new("goods")
            .routes([Route::get("/goods")])
            .listen(SocketAddr::from(([127, 0, 0, 1], 0)))
            .distributor(distributor.addr)
            .token(token.map(Into::into));
        let shown = format!("{config:?}");
        assert!(token.is_none_or(|token| !shown.contains(token)), "{shown}");
        let mut node = Node::new(config, Recorded::default());
        node.start(reactor.net()).unwrap();
        wait_until("its registration", || {
            let wait = Some(std::time::Duration::from_millis(10));
            reactor.turn(wait, &mut node).unwrap();
            let link = node.context(reactor.net()).link();
            let is_refused = node.service().0.iter().any(|event| event == "refused 5");
            assert!(!(is_right && is_refused) && (is_right || link != LinkState::Registered));
            is_refused || link == LinkState::Registered
        });
    }
}

#[test]
fn lists_ipv6_loopback_where_there_is_no_ipv4() {
    let prepare = "ip addr del 127.0.0.1/8 dev lo && ip addr show lo | grep ::1";
    let test = "access::lists_ipv6_loopback_where_there_is_no_ipv4";
    if !is_in_own_network(test, prepare) {
        return;
    }
    let distributor = Distributor::start_at("[::1]:0", &[]);
    let list = list_with("a", distributor.addr);
    assert!(list.contains("\"host\":\"::1\""), "{list}");
    let flags = ["--loopback-host", "db.internal"];
    let distributor = Distributor::start_at("[::1]:0", &flags);
    let list = list_with("a", distributor.addr);
    assert!(list.contains("\"host\":\"db.internal\""), "{list}");
}

/// Registers a node, and returns the first list that contains it.
fn list_with(name: &str, distributor: SocketAddr) -> String {
    let mut client = Client::connect(distributor);
    client.register(name, 1);
    loop {
        let list = client.next().to_string();
        if list.contains(&format!("\"name\":\"{name}\"")) {
            return list;
        }
    }
}
