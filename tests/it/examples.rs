//! The examples, run as in their header comments.

use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::support::{Client, Distributor, Program, skip_or_require, wait_until};

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

/// An example that listens, and where.
fn listening(distributor: &Distributor, name: &str) -> Option<(Program, Client)> {
    let addr = distributor.addr.to_string();
    let flags = ["--listen", "127.0.0.1:0", "--distributor", &addr];
    let mut program = Program::start(example(name)?.args(flags));
    let addr = program.wait_for_line("address", |line| {
        line.strip_prefix("listening on ")?.parse().ok()
    });
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
    let caller = caller.args([
        "GET",
        "/echo",
        "{\"b\":2}",
        "--count",
        "2",
        "--distributor",
        &addr,
    ]);
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
