//! The commands for a running Distributor.

use std::io::{BufRead, BufReader};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::process::{Output, Stdio};
use std::sync::mpsc::{self, Sender, TryRecvError};
use std::thread;
use std::time::Duration;

use pilcrow::node::{Config, Context, Node, ReplyTo, Request, Service};
use pilcrow::protocol::{ErrorCode, Route};
use pilcrow::reactor::{Limits, Reactor};
use serde_json::{Value, json};

use crate::admin::AdminServer;
use crate::support::{
    Client, DEADLINE, Distributor, Folder, Program, ReservedPort, distributor_command,
    in_background, is_in_own_network, wait_until,
};

/// Runs a command to its end.
fn run(words: &[&str]) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = distributor_command(words)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

fn run_at(admin: &AdminServer, words: &[&str]) -> (Option<i32>, String, String) {
    let http = admin.http.to_string();
    run(&[words, &["--http", &http]].concat())
}

#[track_caller]
fn json_of(admin: &AdminServer, words: &[&str]) -> Value {
    let (code, stdout, stderr) = run_at(admin, &[words, &["--json"]].concat());
    assert_eq!(code, Some(0), "{stderr}");
    serde_json::from_str(&stdout).unwrap()
}

#[test]
fn nodes_prints_a_table_or_json() {
    let admin = AdminServer::start_ready(&[]);
    let _goods = admin.distributor.join("goods", 9010);
    let _shop = admin.distributor.join("상점", 9011);
    let (code, stdout, stderr) = run_at(&admin, &["nodes"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let lines: Vec<&str> = stdout.lines().collect();
    assert!(lines[0].starts_with("NAME   ADDRESS"), "{stdout}");
    assert!(
        lines[2].starts_with("goods  127.0.0.1:9010  plain") && lines[2].ends_with("GET/goods"),
        "{stdout}"
    );
    assert!(lines[4].starts_with("2 of 2 nodes, revision 2"), "{stdout}");
    let (_, stdout, _) = run_at(&admin, &["nodes", "--url", "GET/goods"]);
    assert!(
        stdout.contains("1 of 2 nodes") && !stdout.contains("상점"),
        "{stdout}"
    );
    let list = json_of(&admin, &["nodes", "상점"]);
    assert_eq!(
        (
            list["nodes"].as_array().unwrap().len(),
            &list["nodes"][0]["port"]
        ),
        (1, &json!(9011))
    );
}

#[test]
fn nodes_exits_with_1_if_it_finds_nothing() {
    let admin = AdminServer::start_ready(&[]);
    // An empty list is what was asked for.
    let (code, stdout, _) = run_at(&admin, &["nodes"]);
    assert_eq!(code, Some(0));
    assert!(stdout.ends_with("0 of 0 nodes, revision 0\n"), "{stdout}");
    let _goods = admin.distributor.join("goods", 9010);
    let at = admin.distributor.addr.to_string();
    for (words, why) in [
        (
            &["shop"][..],
            "no node has the name shop, of 1 node; distributor nodes lists all",
        ),
        (
            &["--url", "GET/x"],
            "no node lists GET/x, of 1 node; distributor nodes lists all",
        ),
        (
            &["goods", "--url", "/x"],
            "no node with the name goods lists /x, of 1 node; distributor nodes lists all",
        ),
        (
            &["--url", "get/goods"],
            "no node lists get/goods, of 1 node; methods are in capitals, as in GET/goods",
        ),
        (
            &["--url", "goods"],
            "no node lists goods, of 1 node; write METHOD/path or /path, as in GET/goods or /goods",
        ),
        (
            &[""],
            "no node has the name \"\", of 1 node; distributor nodes lists all",
        ),
    ] {
        let words = [&["nodes"], words].concat();
        let expected = format!("distributor: {why}\n");
        let (code, stdout, stderr) = run_at(&admin, &words);
        assert_eq!((code, &*stdout, &*stderr), (Some(1), "", &*expected));
        let as_a_node = [&words[..], &["--distributor", &at]].concat();
        let (code, stdout, stderr) = run(&as_a_node);
        assert_eq!((code, &*stdout, &*stderr), (Some(1), "", &*expected));
        let (code, stdout, stderr) = run_at(&admin, &[&words[..], &["--json"]].concat());
        assert_eq!((code, &*stderr), (Some(1), &*expected));
        let list: Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!((&list["nodes"], &list["entries"]), (&json!([]), &json!(1)));
    }
    assert_eq!(run_at(&admin, &["nodes", "goods"]).0, Some(0));
}

#[test]
fn nodes_says_that_it_falls_back_to_port_9000() {
    let test = "commands::nodes_says_that_it_falls_back_to_port_9000";
    if !is_in_own_network(test, "true") {
        return;
    }
    let says = "distributor: nothing listens on port 9001, reading the list at 127.0.0.1:9000 as a \
                node\n";
    let (code, _, stderr) = run(&["nodes"]);
    assert_eq!(code, Some(1));
    assert!(stderr.starts_with(says), "{stderr}");
    assert_eq!(stderr.lines().count(), 2, "{stderr}");
    let distributor = Distributor::start_at("127.0.0.1:9000", &["--warm-up", "0s"]);
    let _goods = distributor.join("goods", 9010);
    for words in [&["nodes"][..], &["nodes", "--json"], &["nodes", "goods"]] {
        let (code, stdout, stderr) = run(words);
        assert_eq!((code, &*stderr), (Some(0), says));
        assert!(stdout.contains("goods"), "{stdout}");
    }
    let (_, _, stderr) = run(&["nodes", "--distributor", "127.0.0.1:9000"]);
    assert_eq!(stderr, "");
}

#[test]
fn nodes_reads_the_list_of_nodes() {
    let folder = Folder::new();
    let file = folder.join("tokens");
    std::fs::write(&file, "0123456789abcdef-node\n").unwrap();
    let distributor = Distributor::start(&["--warm-up", "0s"]);
    let _goods = distributor.join("goods", 9010);
    let _shop = distributor.join("상점", 9011);
    let at = distributor.addr.to_string();
    let (code, stdout, stderr) = run(&["nodes", "--distributor", &at]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    // By name.
    let by_name = format!("localhost:{}", distributor.addr.port());
    assert_eq!(run(&["nodes", "--distributor", &by_name]).1, stdout);
    let (code, _, stderr) = run(&["nodes", "--distributor", "9000"]);
    assert_eq!(code, Some(2));
    assert!(
        stderr.contains("--distributor 9000: invalid address"),
        "{stderr}"
    );
    let lines: Vec<&str> = stdout.lines().collect();
    assert!(
        lines[2].starts_with("goods  127.0.0.1:9010  -") && lines[2].ends_with("  GET/goods"),
        "{stdout}"
    );
    assert_eq!(lines[4..], ["2 of 2 nodes"]);
    let (_, stdout, _) = run(&["nodes", "--distributor", &at, "--json", "상점"]);
    let list: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(
        (&list["entries"], &list["nodes"][0]["port"]),
        (&json!(2), &json!(9011))
    );
    assert_eq!(
        (list["nodes"].as_array().unwrap().len(), &list["rev"]),
        (1, &Value::Null)
    );

    // A Distributor that requires a token.
    let guarded = Distributor::start(&["--warm-up", "0s", "--token-file", &file]);
    let at = guarded.addr.to_string();
    let token = ["--token-file", &file];
    let (code, stdout, stderr) = run(&[&["nodes", "--distributor", &at][..], &token].concat());
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.ends_with("0 of 0 nodes\n"), "{stdout}");
    std::fs::write(&file, "another-token-0123456789\n").unwrap();
    let (code, _, stderr) = run(&[&["nodes", "--distributor", &at][..], &token].concat());
    assert_eq!((code, stderr.lines().count()), (Some(1), 1));
    assert!(stderr.contains("errorcode 5"), "{stderr}");

    let unused = ReservedPort::new();
    let (code, _, stderr) = run(&["nodes", "--distributor", &unused.addr.to_string()]);
    assert_eq!((code, stderr.lines().count()), (Some(1), 1));
    assert!(
        stderr.contains("connection refused; start a Distributor there"),
        "{stderr}"
    );
}

#[test]
fn why_prints_the_events_of_a_node() {
    let admin = AdminServer::start_ready(&[]);
    drop(admin.distributor.join("goods", 9010));
    wait_until("the departure", || {
        admin.get("/why?name=goods").body.contains("closed")
    });
    let (code, stdout, _) = run_at(&admin, &["why", "goods"]);
    assert_eq!(code, Some(0));
    assert!(
        stdout.contains("joined") && stdout.contains("cause closed (closed by the peer)"),
        "{stdout}"
    );
    assert!(
        stdout.contains("acknowledged by ") || stdout.contains("not sent yet"),
        "{stdout}"
    );
    let why = json_of(&admin, &["why", "goods", "--limit", "1"]);
    assert_eq!(
        (&why["events"][0]["cause"], &why["more"]),
        (&json!("closed"), &json!(true))
    );
    let (code, stdout, _) = run_at(&admin, &["why", "missing"]);
    assert_eq!(code, Some(0));
    assert!(stdout.starts_with("no event of missing"), "{stdout}");
}

#[test]
fn why_folds_events_of_the_same_instant() {
    let admin = AdminServer::start_ready(&[]);
    // The Distributor notices at once all sockets that were closed while it did not run.
    let nodes: Vec<Client> = ["goods", "goods", "shop"]
        .iter()
        .map(|name| admin.distributor.join(name, 9010))
        .collect();
    admin.distributor.program.freeze();
    for node in &nodes {
        node.stream.shutdown(Shutdown::Write).unwrap();
    }
    admin.distributor.program.thaw();
    wait_until("the departures", || {
        admin.get("/why").body.matches("\"left\"").count() == 3
    });
    let why = json_of(&admin, &["why"]);
    let left: Vec<&Value> = why["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["event"] == "left")
        .collect();
    assert_eq!(left.len(), 3);
    let (_, stdout, _) = run_at(&admin, &["why"]);
    if left
        .iter()
        .all(|event| event["unix_ms"] == left[0]["unix_ms"])
    {
        let folded = stdout
            .lines()
            .find(|line| line.contains("  left  "))
            .unwrap();
        assert!(
            folded.ends_with("goods ×2, shop  cause closed (closed by the peer)  rev 4 to 6"),
            "{stdout}"
        );
    }
    // Each push is explained once.
    let pushes: Vec<&str> = stdout
        .lines()
        .filter(|line| line.contains(" sent to "))
        .collect();
    let mut different = pushes.clone();
    different.dedup();
    assert_eq!(pushes, different, "{stdout}");
}

#[test]
fn watch_prints_events_and_resumes_after_a_restart() {
    let port = ReservedPort::new();
    let http = port.addr.to_string();
    let flags = ["--http", http.as_str(), "--warm-up", "0s"];
    let distributor = Distributor::start(&flags);
    let watch = |more: &[&str]| {
        let words = [&["watch", "--http", &http][..], more].concat();
        Program::start(&mut distributor_command(&words))
    };
    let mut people = watch(&[]);
    let mut machine = watch(&["--json"]);
    people.wait_for_line("greeting", |line| {
        line.starts_with("watching: ").then_some(())
    });
    machine.wait_for_line("greeting", |line| {
        line.contains("\"entries\":0").then_some(())
    });
    let node = distributor.join("goods", 9010);
    people.wait_for_line("join", |line| {
        (line.contains("joined") && line.contains("  goods  ")).then_some(())
    });
    machine.wait_for_line("join", |line| {
        let event: Value = serde_json::from_str(line).unwrap();
        (event["event"] == "joined" && event["name"] == "goods").then_some(())
    });
    drop((node, distributor));
    let distributor = Distributor::start(&flags);
    people.wait_for_line("the restart", |line| {
        line.starts_with("some events were missed").then_some(())
    });
    let _other = distributor.join("other", 9011);
    people.wait_for_line("join", |line| line.contains("  other  ").then_some(()));
}

#[test]
fn watch_exits_without_a_reader() {
    let admin = AdminServer::start_ready(&[]);
    let http = admin.http.to_string();
    let mut command = distributor_command(&["watch", "--http", &http]);
    let mut watcher = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    // As `head -1` does it.
    let mut stdout = BufReader::new(watcher.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    assert!(line.starts_with("watching: "), "{line}");
    drop(stdout);
    // No event is printed.
    wait_until("the watcher has ended", || {
        watcher.try_wait().unwrap().is_some()
    });
    assert_eq!(watcher.wait().unwrap().code(), Some(0));
}

#[test]
fn drain_reports_acknowledgements() {
    let folder = Folder::new();
    let file = folder.join("admin");
    std::fs::write(&file, "0123456789abcdef-admin\n").unwrap();
    let (_, _, stderr) = run_at(&AdminServer::start_ready(&[]), &["drain", "goods"]);
    assert!(
        stderr.ends_with("start the Distributor with --admin-token-file FILE\n"),
        "{stderr}"
    );
    let admin = AdminServer::start_ready(&["--admin-token-file", &file]);
    let _goods = admin.distributor.join("goods", 9010);
    let (code, stdout, stderr) = run_at(&admin, &["drain", "goods"]);
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(
        stderr.contains("401") && stderr.contains("--token-file"),
        "{stderr}"
    );
    let token = ["--admin-token-file", &file];
    let (code, stdout, stderr) = run_at(
        &admin,
        &[&["drain", "goods", "--wait"][..], &token].concat(),
    );
    assert_eq!(code, Some(0), "{stderr}");
    assert!(
        stdout.starts_with(
            "drained 1 node named goods in revision 2: acknowledged by 0 of 0 sessions"
        ),
        "{stdout}"
    );
    let (code, _, stderr) = run_at(&admin, &[&["drain", "goods"][..], &token].concat());
    assert_eq!(code, Some(1));
    let unknown = "404: no node has the name goods; distributor nodes lists all\n";
    assert!(stderr.ends_with(unknown), "{stderr}");
    let other = folder.join("other");
    std::fs::write(&other, "fedcba9876543210-admin\n").unwrap();
    let words = ["drain", "goods", "--token-file", &other];
    let (code, _, stderr) = run_at(&admin, &words);
    assert_eq!(code, Some(1));
    assert!(
        stderr.ends_with(
            "403: unknown admin token; pass the token of the Distributor's --admin-token-file \
             with --token-file FILE\n"
        ),
        "{stderr}"
    );

    // Sessions that do not acknowledge, one of them drained. Nothing is late without a wait.
    let session = json!({"version": 1, "watch": "list"});
    let join = |name: &str| {
        let mut client = admin.distributor.connect();
        client.send(&json!({"uri": "/distributes", "method": "POST", "key": 1,
            "params": {"port": 9013, "name": name}, "session": session}));
        while client.next()["errorcode"].is_null() {}
        client
    };
    let offers = [join("offers"), join("slow")];
    let (code, stdout, stderr) = run_at(&admin, &[&["drain", "offers"][..], &token].concat());
    assert_eq!(code, Some(0), "{stderr}");
    assert!(
        stdout.contains(": acknowledged by 0 of 2 sessions so far; ")
            && stdout.ends_with("; --wait waits for the others\n"),
        "{stdout}"
    );
    let words = ["drain", "slow", "--wait", "50ms"];
    let (code, stdout, _) = run_at(&admin, &[&words[..], &token].concat());
    assert_eq!(code, Some(1));
    assert!(
        stdout.ends_with("; late: 2 not listed\n"),
        "no name is empty: {stdout}"
    );
    drop(offers);
    wait_until("both have left", || {
        !admin.get("/nodes").body.contains("offers")
    });

    // A session that does not acknowledge.
    let mut late = admin.distributor.connect();
    late.send(&json!({"uri": "/distributes", "method": "POST", "key": 1,
        "params": {"port": 9011, "name": "late"}, "session": {"version": 1, "watch": "list"}}));
    let _other = admin.distributor.join("other", 9012);
    let words = ["drain", "other", "--wait", "50ms"];
    let (code, stdout, stderr) = run_at(&admin, &[&words[..], &token].concat());
    assert_eq!(code, Some(1));
    assert!(
        stdout.contains("acknowledged by 0 of 1 session; ") && stdout.ends_with("; late: late\n"),
        "{stdout}"
    );
    assert!(
        stderr.contains("1 session has not acknowledged within 50ms; see distributor why other"),
        "{stderr}"
    );
    for (words, why) in [
        (["drain", "--wait", "other"], "a NAME goes before --wait"),
        (["drain", "other", "--wait=2m"], "use at most 1m"),
    ] {
        let (code, _, stderr) = run_at(&admin, &words);
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains(why), "{stderr}");
    }
}

#[test]
fn check_prints_one_line_and_exits_with_readiness() {
    let admin = AdminServer::start(&["--warm-up", "2s"]);
    let (code, stdout, stderr) = run_at(&admin, &["check"]);
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(
        stderr.starts_with("distributor: warming up") && stderr.lines().count() == 1,
        "{stderr}"
    );
    wait_until("the Distributor to be ready", || {
        run_at(&admin, &["check"]).0 == Some(0)
    });
    assert_eq!(run_at(&admin, &["check"]).1, "ready\n");
    assert_eq!(json_of(&admin, &["check"])["ready"], true);
    // No Distributor listens.
    let unused = ReservedPort::new();
    let (code, _, stderr) = run(&["check", "--http", &unused.addr.to_string()]);
    assert_eq!(code, Some(1));
    assert!(
        stderr
            .contains("start a Distributor, or set the address of its admin API with --http ADDR")
            && stderr.lines().count() == 1,
        "{stderr}"
    );
    for wrong in [
        &["check", "--http", "https://localhost"][..],
        &["check", "--http", ""],
        &["check", "x"],
        &["nodes", "--nonsense"],
        &["call", "goods"],
        &["call", "GET/goods", "{"],
    ] {
        let (code, _, stderr) = run(wrong);
        assert_eq!(code, Some(2), "{wrong:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}

struct Goods;

impl Service for Goods {
    fn on_request(&mut self, cx: &mut Context<'_>, request: &Request<'_>, reply_to: ReplyTo) {
        match &*request.route.path {
            "/goods" => cx.reply(reply_to, &["apples", "pears"]),
            _ => cx.refuse(reply_to, ErrorCode::NotFound, "no such route"),
        }
    }
}

/// A node that serves `GET/goods` in a thread, until it is dropped.
struct GoodsNode {
    stop: Option<Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl GoodsNode {
    fn start(distributor: SocketAddr, token: Option<&'static str>) -> GoodsNode {
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = thread::spawn(move || {
            let mut reactor = Reactor::new(Limits::default()).unwrap();
            let config = Config::new("goods")
                .routes([Route::get("/goods"), Route::get("/none")])
                .listen(SocketAddr::from(([127, 0, 0, 1], 0)))
                .distributor(distributor)
                .token(token.map(Into::into));
            let mut node = Node::new(config, Goods);
            node.start(reactor.net()).unwrap();
            while matches!(stopped.try_recv(), Err(TryRecvError::Empty)) {
                let wait = Some(Duration::from_millis(10));
                reactor.turn(wait, &mut node).unwrap();
            }
        });
        GoodsNode {
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Drop for GoodsNode {
    fn drop(&mut self) {
        self.stop.take();
        self.thread.take().unwrap().join().unwrap();
    }
}

#[test]
fn call_prints_results_of_a_node() {
    let admin = AdminServer::start_ready(&[]);
    let _node = GoodsNode::start(admin.distributor.addr, None);
    wait_until("the node", || {
        admin.get("/nodes").body.contains("GET/goods")
    });
    let at = admin.distributor.addr.to_string();
    let call = |words: &[&str]| run(&[&["call", "--distributor", &at][..], words].concat());
    let (code, stdout, stderr) = call(&["GET/goods", "{\"kind\":\"fruit\"}"]);
    assert_eq!((code, &*stderr), (Some(0), ""));
    assert_eq!(
        serde_json::from_str::<Value>(&stdout).unwrap(),
        json!(["apples", "pears"])
    );
    let (code, _, stderr) = call(&["GET/none"]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("errorcode 2: no such route"), "{stderr}");
    // The node lists a prefix of this route, and is called for it.
    let (_, _, stderr) = call(&["GET/goods/17"]);
    assert!(stderr.contains("errorcode 2: no such route"), "{stderr}");
    let (code, stdout, stderr) = call(&["GET/missing", "--json"]);
    assert_eq!(code, Some(1), "{stderr}");
    let outcome: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(outcome["outcome"], "unavailable");
    assert_eq!(
        outcome["message"],
        "not listed: no node has this route; distributor nodes lists all routes"
    );
    let (code, _, stderr) = call(&["get/goods"]);
    assert_eq!(code, Some(1));
    assert_eq!(
        stderr,
        "distributor: get/goods: not listed: no node has this route; methods are in capitals, as in \
         GET/goods\n"
    );

    let unused = ReservedPort::new();
    let (code, _, stderr) = run(&["call", "GET/x", "--distributor", &unused.addr.to_string()]);
    assert_eq!((code, stderr.lines().count()), (Some(1), 1));
    assert!(
        stderr.contains("connection refused; start a Distributor there"),
        "{stderr}"
    );
}

#[test]
fn call_and_nodes_do_not_register() {
    let folder = Folder::new();
    let file = folder.join("tokens");
    // The second token may not register what it calls.
    std::fs::write(
        &file,
        "0123456789abcdef-node\n0123456789abcdef-call other\n",
    )
    .unwrap();
    let token = folder.join("token");
    std::fs::write(&token, "0123456789abcdef-call\n").unwrap();
    let with_token = ["--token-file", &*token];
    let flags = ["--token-file", &*file, "--allow-from", "192.0.2.1/32"];
    for (flags, secret, words) in [
        (&[][..], None, &[][..]),
        (&flags, Some("0123456789abcdef-node"), &with_token),
    ] {
        let admin = AdminServer::start(&[&["--warm-up", "0s"], flags].concat());
        let _node = GoodsNode::start(admin.distributor.addr, secret);
        admin
            .distributor
            .program
            .wait_for_log(&["node joined", "goods"]);
        let at = admin.distributor.addr.to_string();
        for command in [&["call", "GET/goods"][..], &["nodes"]] {
            let words = [command, &["--distributor", &at], words].concat();
            let (code, stdout, stderr) = run(&words);
            assert_eq!((code, &*stderr), (Some(0), ""), "{words:?}");
            assert!(
                stdout.contains("apples") || stdout.contains("goods"),
                "{stdout}"
            );
        }
        // The only registration is that of the node, listed or not.
        let (_, stdout, _) = run_at(&admin, &[&["why", "--json"], words].concat());
        let why: Value = serde_json::from_str(&stdout).unwrap();
        let events = why["events"].as_array().unwrap().iter();
        let events: Vec<&str> = events
            .map(|event| event["event"].as_str().unwrap())
            .collect();
        assert_eq!(events, ["warm-up", "complete", "joined"]);
    }
}

#[test]
fn call_reaches_another_node_than_one_that_is_gone() {
    let admin = AdminServer::start_ready(&[]);
    let gone = ReservedPort::new();
    let at = admin.distributor.addr.to_string();
    let _gone: Vec<Client> = (0..3)
        .map(|_| {
            let mut client = admin.distributor.connect();
            client.post(&json!({"port": gone.addr.port(), "name": "goods", "urls": ["GET/goods"]}));
            client.wait_for_list("goods", |names| !names.is_empty());
            client
        })
        .collect();
    let call = || run(&["call", "--distributor", &at, "GET/goods"]);
    let (code, _, stderr) = call();
    assert_eq!(code, Some(1));
    assert_eq!(
        stderr,
        format!(
            "distributor: GET/goods: listed but unreachable: tried {gone}; check that the node \
             runs and is reachable from here\n",
            gone = gone.addr
        )
    );
    let _node = GoodsNode::start(admin.distributor.addr, None);
    wait_until("the node", || admin.get("/nodes").body.contains("GET/none"));
    // It begins with another one each time.
    for _ in 0..5 {
        let (code, stdout, stderr) = call();
        assert_eq!((code, &*stderr), (Some(0), ""));
        assert!(stdout.contains("apples"), "{stdout}");
    }
}

#[test]
fn call_needs_only_the_first_list_of_a_plain_distributor() {
    let listen = || TcpListener::bind("127.0.0.1:0").unwrap();
    let accept = |listener: &TcpListener| Client::on(listener.accept().unwrap().0);
    let (distributor, node) = (listen(), listen());
    let at = distributor.local_addr().unwrap().to_string();
    let flags = ["--deadline", "50s", "--distributor", &at].map(str::to_owned);
    let output = in_background(move || {
        let flags = flags.each_ref().map(String::as_str);
        run(&[&["call", "GET/slow"][..], &flags].concat())
    });
    let mut link = accept(&distributor);
    let slow = json!({"port": node.local_addr().unwrap().port(), "name": "slow",
        "urls": ["GET/slow"], "host": "localhost"});
    let unreadable = json!({"port": null, "name": 7, "urls": "GET/slow"});
    link.send(&json!({"uri": "/distributes", "method": "GET", "key": 0,
        "params": [unreadable, slow]}));
    let mut caller = accept(&node);
    let request = caller.next();
    // It has sent nothing, and is gone.
    assert_eq!(link.read_to_end(), [] as [Value; 0]);
    drop((link, distributor));
    caller.send(
        &json!({"key": request["key"], "errorcode": 0, "errormessage": "success",
        "results": "done"}),
    );
    let (code, stdout, stderr) = output.recv_timeout(DEADLINE).unwrap();
    assert_eq!((code, stdout.trim()), (Some(0), "\"done\""), "{stderr}");
}

#[test]
fn commands_ignore_variables_of_the_server() {
    let admin = AdminServer::start_ready(&[]);
    let http = admin.http.to_string();
    let mut command = distributor_command(&["check", "--http", &http]);
    let output = command
        .env("PILCROW_LISTEN", "127.0.0.1:1")
        .env("PILCROW_STATE", "/nonexistent/x")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
