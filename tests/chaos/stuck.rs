//! Peers that hold resources: files, unfinished frames, unread lists.

use std::io::{ErrorKind, Write};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::plain_peers::{Baseline, affordable};
use crate::support::{Client, DEADLINE, Distributor, Program, program, wait_until};
use crate::{note, scale};

/// Returns whether a registration was accepted, and not rejected for lack of connections.
fn is_in(client: &mut Client, name: &str) -> bool {
    while let Some(text) = client.next_text() {
        if text.contains("\"errorcode\"") {
            assert!(text.contains("\"errorcode\":6"), "{text}");
            return false;
        }
        if text.contains(&format!("\"name\":\"{name}\"")) {
            return true;
        }
    }
    false
}

#[test]
fn serves_all_in_turn_when_fds_run_out() {
    let clients = scale(100, 200);
    let mut shell = Command::new("sh");
    let script = "ulimit -n 64 && exec \"$0\" --listen 127.0.0.1:0 --http none";
    let mut program = Program::start(shell.args(["-c", script, &program("distributor")]));
    let addr = program.wait_for_line("address", |line| {
        line.strip_prefix("listening on ")?.parse().ok()
    });
    let distributor = Distributor { program, addr };
    let until = Instant::now() + DEADLINE;
    let mut waiting: Vec<String> = (0..clients).map(|number| format!("n{number}")).collect();
    let (mut rounds, mut rejected) = (0, 0);
    while !waiting.is_empty() {
        assert!(
            Instant::now() < until,
            "{} were not accepted",
            waiting.len()
        );
        let mut tried: Vec<(String, Client)> = Vec::new();
        for name in waiting.drain(..) {
            let mut client = Client::connect(addr);
            client.register(&name, 1);
            tried.push((name, client));
        }
        let (inside, outside): (Vec<_>, Vec<_>) = tried
            .into_iter()
            .map(|(name, mut client)| (is_in(&mut client, &name), name, client))
            .partition(|(is_in, _, _)| *is_in);
        if rounds == 0 {
            assert!(
                !inside.is_empty() && !outside.is_empty(),
                "some are accepted, some rejected"
            );
        }
        rejected += outside.len();
        waiting.extend(outside.into_iter().map(|(_, name, _)| name));
        // The accepted ones make room.
        drop(inside);
        rounds += 1;
    }
    wait_until("the Distributor to serve", || {
        let mut client = Client::connect(addr);
        client.register("last", 1);
        is_in(&mut client, "last")
    });
    distributor.assert_serves();
    note(format_args!(
        "{clients} clients with 64 files: all were accepted within {rounds} rounds, with {rejected} rejections"
    ));
}

#[test]
fn slow_senders_are_closed_and_delay_no_others() {
    let senders = affordable(scale(60, 500));
    let (flags, pause): (&[&str], u64) = scale((&["--frame-timeout", "2s"], 100), (&[], 1000));
    let distributor = Distributor::start(flags);
    let baseline = Baseline::of(&distributor);
    let mut watcher = distributor.join("watcher", 1);
    let mut slow: Vec<Client> = (0..senders).map(|_| distributor.connect()).collect();
    let frame = format!(
        "{{\"uri\":\"/distributes\",\"pad\":\"{}",
        "x".repeat(10_000)
    );
    let until = Instant::now() + DEADLINE;
    let mut joins = 0;
    let mut sending = vec![true; slow.len()];
    for byte in frame.bytes() {
        for (client, is_sending) in slow.iter_mut().zip(&mut sending).filter(|(_, on)| **on) {
            client.stream.set_nonblocking(true).unwrap();
            match client.stream.write(&[byte]) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => *is_sending = false,
            }
            client.stream.set_nonblocking(false).unwrap();
        }
        if !sending.contains(&true) {
            break;
        }
        assert!(Instant::now() < until, "they are not closed");
        let name = format!("joiner{joins}");
        let joiner = distributor.join(&name, 1);
        watcher.wait_for_list(&name, |names| names.contains(&name));
        joins += 1;
        drop(joiner);
        watcher.wait_for_list("it gone", |names| !names.contains(&name));
        thread::sleep(Duration::from_millis(pause));
    }
    assert!(!sending.contains(&true), "a slow frame is not closed");
    for client in &mut slow {
        if !client.was_reset {
            let frames = client.read_to_end();
            let codes: Vec<u64> = frames
                .iter()
                .filter_map(|it| it["errorcode"].as_u64())
                .collect();
            assert!(codes == [7] || client.was_reset, "{frames:?}");
        }
    }
    drop((slow, watcher));
    baseline.wait_for(&distributor, "slow senders");
    note(format_args!(
        "{senders} slow senders were closed while {joins} others joined and left"
    ));
}

#[test]
fn peers_that_never_read_are_closed_and_delay_no_others() {
    let (readers, changes) = (affordable(scale(20, 200)), scale(10, 30));
    let flags: &[&str] = scale(&["--write-timeout", "2s"], &[]);
    let distributor = Distributor::start(flags);
    let baseline = Baseline::of(&distributor);
    // A list that does not fit into the buffers of the kernel.
    let mut long = Vec::new();
    for number in 0..scale(40, 60) {
        let mut client = distributor.connect();
        let params = json!({"port": 1, "name": format!("long{number}"), "pad": "x".repeat(15_000)});
        client.send(&json!({"uri": "/distributes", "method": "POST", "key": 1,
            "params": params, "session": {"version": 1, "watch": "none"}}));
        assert_eq!(client.next()["errorcode"], 0);
        long.push(client);
    }
    let mut watcher = distributor.join("watcher", 1);
    let stuck: Vec<Client> = (0..readers)
        .map(|number| {
            let mut client = Client::connect_narrow(distributor.addr);
            client.register(&format!("stuck{number}"), 1);
            client
        })
        .collect();
    let count = |names: &[String]| {
        names
            .iter()
            .filter(|name| name.starts_with("stuck"))
            .count()
    };
    // Some may be closed before the last has registered.
    watcher.wait_for_list("a stuck peer", |names| count(names) > 0);
    for number in 0..changes {
        let name = format!("joiner{number}");
        let mut joiner = Client::connect(distributor.addr);
        joiner.register(&name, 1);
        watcher.wait_for_list(&name, |names| names.contains(&name));
        drop(joiner);
        watcher.wait_for_list("it gone", |names| !names.contains(&name));
    }
    watcher.wait_for_list("no stuck peer", |names| count(names) == 0);
    distributor
        .program
        .wait_for_log(&["closed", "stopped reading"]);
    drop((stuck, long, watcher));
    baseline.wait_for(&distributor, "never-readers");
    note(format_args!(
        "{readers} peers that never read were closed after {changes} others joined and left"
    ));
}
