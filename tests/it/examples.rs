//! The examples, run as in their header comments.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use pilcrow::node::{Node, Stop};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{
    Client, Distributor, Folder, Program, is_in_own_network, skip_or_require, wait_until,
};

/// An example as `cargo test` has built it, or `None` where only some tests were built.
fn example(name: &str) -> Option<Command> {
    let programs = PathBuf::from(env!("CARGO_BIN_EXE_distributor"));
    let path = programs.with_file_name("examples").join(name);
    if !path.exists() {
        skip_or_require("examples", &format!("the example {name} is not built"));
        return None;
    }
    Some(Command::new(path))
}

/// Calls a node at this address, and returns its reply.
fn call(addr: &str, method: &str, uri: &str, params: &Value) -> Value {
    let mut client = Client::connect(addr.parse().unwrap());
    client.send(&json!({"uri": uri, "method": method, "key": 1, "params": params}));
    client.next()
}

/// Waits for the line in which a program prints its address.
fn address_of(program: &mut Program) -> SocketAddr {
    program.wait_for_line("address", |line| {
        line.strip_prefix("listening on ")?.parse().ok()
    })
}

/// An example that listens, and where.
fn listening(distributor: &Distributor, name: &str) -> Option<(Program, Client)> {
    let addr = distributor.addr.to_string();
    let flags = ["--listen", "127.0.0.1:0", "--distributor", &addr];
    let mut program = Program::start(example(name)?.args(flags));
    let addr = address_of(&mut program);
    Some((program, Client::connect(addr)))
}

#[test]
fn echo_answers_the_calls_of_caller_with_their_params() {
    let distributor = Distributor::start(&[]);
    let Some((_echo, mut client)) = listening(&distributor, "echo") else {
        return;
    };
    client.send_raw(r#"{"uri":"/echo","method":"GET","key":7,"params":{"a":1}}¶"#.as_bytes());
    assert_eq!(
        client.next_text().unwrap(),
        r#"{"key":7,"errorcode":0,"errormessage":"success","results":{"a":1}}"#
    );
    client.send(&json!({"uri": "/other", "method": "GET", "params": {"key": "k"}}));
    let refusal = client.next();
    assert_eq!(
        (&refusal["key"], &refusal["errorcode"]),
        (&json!("k"), &json!(2))
    );

    let addr = distributor.addr.to_string();
    let Some(mut caller) = example("caller") else {
        return;
    };
    let caller = caller.args(["GET", "/echo", "{\"b\":2}", "2", &addr]);
    let mut caller = Program::start(caller);
    assert!(caller.wait().success());
    wait_until("both replies", || {
        caller
            .stdout()
            .iter()
            .filter(|line| *line == "{\"b\":2}")
            .count()
            == 2
    });
}

#[test]
fn pipeline_sells_drains_and_notifies_logs() {
    let distributor = Distributor::start(&[]);
    let addr = distributor.addr.to_string();
    let (Some(mut logs), Some(mut pipeline)) = (example("logs"), example("pipeline")) else {
        return;
    };
    let logs = Program::start(logs.args(["--listen", "127.0.0.1:0", "--distributor", &addr]));
    distributor
        .program
        .wait_for_log(&["joined", "name=\"logs\""]);
    let mut pipeline = Program::start(pipeline.args(["--orders", "3", "--distributor", &addr]));
    assert!(pipeline.wait().success(), "{:?}", pipeline.stderr());
    let sentences = [
        &*format!("Waiting for the Distributor at {addr} and three services."),
        "1 apple costs 106: sold, purchase number 1.",
        "2 apples cost 212: sold, purchase number 2.",
        "3 apples cost 318: sold, purchase number 3.",
        "All nodes drain, and then stop.",
    ];
    wait_until("a sentence per order", || pipeline.stdout() == sentences);
    for name in ["goods", "prices", "purchases"] {
        let name = format!("name={name:?}");
        distributor
            .program
            .wait_for_log(&["left", &name, "cause=drained"]);
    }
    wait_until("the logs", || {
        logs.stdout()
            .iter()
            .filter(|line| line.starts_with("sold"))
            .count()
            == 3
    });
}

#[test]
fn embedded_runs_a_node_in_a_host_loop() {
    let distributor = Distributor::start(&[]);
    let addr = distributor.addr.to_string();
    let Some(mut nested) = example("embedded") else {
        return;
    };
    let nested = nested.args(["nested", "--udp", "127.0.0.1:0", "--distributor", &addr]);
    let mut nested = Program::start(nested);
    let udp: String = nested.wait_for_line("address", |line| {
        line.strip_prefix("answering datagrams on ")
            .map(str::to_owned)
    });
    distributor
        .program
        .wait_for_log(&["joined", "name=\"count\""]);

    let Some(mut spinning) = example("embedded") else {
        return;
    };
    let mut spinning =
        Program::start(spinning.args(["spinning", "--seconds", "1", "--distributor", &addr]));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    let mut answer = [0; 64];
    wait_until("an answer with a number of nodes", || {
        socket.send_to(b"?", &udp).unwrap();
        let count = socket.recv(&mut answer).unwrap_or(0);
        answer[..count].ends_with(b" nodes\n") && answer[0] != b'0'
    });
    assert!(spinning.wait().success());
}

/// Examples with fixed addresses, as they are in the documentation.
#[test]
fn services_of_the_documentation_run_as_printed() {
    let test = "examples::services_of_the_documentation_run_as_printed";
    if !is_in_own_network(test, "true") {
        return;
    }
    let (Some(mut shared), Some(mut goods), Some(mut service), Some(orders)) = (
        example("shared"),
        example("goods"),
        example("service"),
        example("orders"),
    ) else {
        return;
    };
    // It has the Distributor that the others connect to, and the nodes that they call.
    let mut shared = Program::start(&mut shared);
    let mut goods = Program::start(&mut goods);
    let mut service = Program::start(&mut service);
    service.wait_for_line("registration", |line| {
        line.contains("registration accepted").then_some(())
    });
    let folder = Folder::new();
    let hosts = folder.join("hosts");
    fs::write(&hosts, "127.0.0.1 localhost distributor.internal\n").unwrap();
    let script = "mount --bind \"$0\" /etc/hosts || exit 77; exec \"$1\"";
    let mut with_hosts = Command::new("unshare");
    with_hosts.args(["--mount", "sh", "-c", script, &hosts]);
    let mut orders = Program::start(with_hosts.arg(orders.get_program()));

    let got = |uri: &str| call("127.0.0.1:9010", "GET", uri, &Value::Null);
    wait_until("goods", || TcpStream::connect("127.0.0.1:9010").is_ok());
    assert_eq!(got("/goods")["results"], json!(["apples", "pears"]));
    assert_eq!(got("/other")["errorcode"], 2);

    let order = |count: u64| {
        let params = json!({"goods": "apples", "count": count});
        call("127.0.0.1:9021", "POST", "/shop/orders", &params)
    };
    wait_until("an order", || order(2)["results"]["total"] == 10);
    let sold_out = order(1000);
    assert_eq!(sold_out["errorcode"], 100);
    assert_eq!(sold_out["errormessage"], "sold out");
    assert!(sold_out["results"].is_u64(), "{sold_out}");
    assert_eq!(
        call("127.0.0.1:9021", "POST", "/shop/orders", &json!({}))["errorcode"],
        1
    );

    if orders.is_running() {
        let params = json!({"count": 3});
        wait_until("an order of two calls", || {
            TcpStream::connect("127.0.0.1:9020").is_ok()
                && call("127.0.0.1:9020", "POST", "/orders", &params)["results"]
                    == json!({"total": 15, "left": 104})
        });
    } else {
        skip_or_require("mount", "no mount namespaces");
    }

    for program in [&mut goods, &mut service] {
        program.signal(Signal::TERM);
        assert!(program.wait().success());
    }
    let log = service.stdout().join("\n");
    assert!(log.contains("sold"), "{log}");
    assert!(!log.contains("lost"), "a clean stop is not a loss: {log}");
    assert!(shared.is_running());
}

#[test]
fn callbacks_sum_and_forward() {
    let test = "examples::callbacks_sum_and_forward";
    if !is_in_own_network(test, "true") {
        return;
    }
    let Some(mut callbacks) = example("callbacks") else {
        return;
    };
    let _distributor = Distributor::start_at("127.0.0.1:9000", &[]);
    let _callbacks = Program::start(&mut callbacks);
    wait_until("the node", || TcpStream::connect("127.0.0.1:9031").is_ok());
    let got = |uri: &str, params: &Value| call("127.0.0.1:9031", "GET", uri, params);
    assert_eq!(got("/sum", &json!([1, 2, 3]))["results"], 6);
    assert_eq!(got("/sum", &json!("x"))["errorcode"], 1);
    assert_eq!(got("/other", &json!([1, 2, 3]))["errorcode"], 2);
    wait_until("a total", || {
        got("/total", &json!([1, 2, 3]))["results"] == 6
    });
}

#[test]
fn threads_call_through_a_node() {
    let distributor = Distributor::start(&[]);
    let addr = distributor.addr.to_string();
    let stop = Stop::new();
    let (at, of_goods) = (addr.clone(), stop.clone());
    let goods = thread::spawn(move || {
        Node::builder("goods")
            .listen("127.0.0.1:0")
            .distributor(at)
            .get("/goods", |_cx, _request| Ok("apples"))
            .run_until(of_goods)
    });
    if let Some(mut threads) = example("threads") {
        let mut threads = Program::start(threads.arg(&addr));
        assert!(threads.wait().success());
        wait_until("both results", || {
            let mut lines = threads.stdout();
            lines.sort();
            lines == ["first: \"apples\"", "second: \"apples\""]
        });
    }
    stop.stop();
    goods.join().unwrap().unwrap();
}

#[test]
fn shutdown_answers_the_request_that_it_serves() {
    let distributor = Distributor::start(&[]);
    let addr = distributor.addr.to_string();
    let Some(mut shutdown) = example("shutdown") else {
        return;
    };
    let mut shutdown = Program::start(shutdown.args([&addr, "127.0.0.1:0"]));
    let mut client = Client::connect(address_of(&mut shutdown));
    distributor
        .program
        .wait_for_log(&["joined", "name=\"slow\""]);
    client.send(&json!({"uri": "/slow", "method": "GET", "key": 1}));
    shutdown.wait_for_line("request", |line| {
        (line == "serving a request").then_some(())
    });
    shutdown.close_stdin();
    assert_eq!(client.next()["results"], "done");
    assert!(shutdown.wait().success());
    wait_until("its last line", || {
        shutdown.stdout().last().is_some_and(|line| line == "ended")
    });
    distributor
        .program
        .wait_for_log(&["left", "name=\"slow\"", "cause=drained"]);
}

#[test]
fn reactor_sends_lines_to_all_others() {
    let Some(mut reactor) = example("reactor") else {
        return;
    };
    let mut reactor = Program::start(reactor.arg("127.0.0.1:0"));
    let addr = address_of(&mut reactor);
    let mut writer = TcpStream::connect(addr).unwrap();
    let reader = TcpStream::connect(addr).unwrap();
    reader
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    let mut reader = BufReader::new(reader);
    let mut line = String::new();
    wait_until("a line", || {
        // The reader may not be accepted yet.
        writer.write_all(b"hel").unwrap();
        writer.write_all(b"lo\n").unwrap();
        reader.read_line(&mut line).is_ok()
    });
    assert_eq!(line, "hello\n");
}
