//! Calls: deadlines, moves to other nodes, and the one result of each.

use super::*;

#[test]
fn connects_for_a_call_and_ends_it_with_its_reply() {
    let mut bench = Bench::registered(&[1]);
    let call = bench.call();
    assert!(bench.node.service.outcomes.is_empty());
    let socket = bench.open(peer(1));
    let request = bench.sent(socket).remove(0);
    assert_eq!(
        (&request["uri"], &request["method"]),
        (&json!("/goods"), &json!("GET"))
    );
    assert_eq!(request["deadline_ms"], 1000);
    bench.reply(socket, &request);
    bench.reply(socket, &request);
    bench.end(socket);
    bench.pass(2 * SECOND);
    assert_eq!(bench.node.service.outcomes, [(call, "reply 7".to_owned())]);
}

#[test]
fn ends_a_call_once_at_its_deadline_and_ignores_a_late_reply() {
    let mut bench = Bench::registered(&[1]);
    bench.call();
    let socket = bench.open(peer(1));
    let request = bench.sent(socket).remove(0);
    bench.pass(999 * MILLI);
    assert!(bench.outcomes().is_empty());
    bench.pass(3 * MILLI);
    assert_eq!(bench.outcomes(), ["deadline"]);
    bench.reply(socket, &request);
    assert!(bench.outcomes().is_empty());
    assert_eq!(bench.node.core.caller.len(), 0);
}

#[test]
fn ends_nested_calls_by_the_deadline_of_the_request() {
    let mut bench = Bench::registered(&[1]);
    bench.node.service.forwards = true;
    let caller = bench.accept();
    bench.receive(
        caller,
        &json!({"uri": "/x", "method": "GET", "key": 5, "deadline_ms": 300, "params": null}),
    );
    assert_eq!(bench.sent(caller)[0]["results"], "/x");
    bench.pass(100 * MILLI);
    let socket = bench.open(peer(1));
    // The remaining time when it is sent.
    assert_eq!(bench.sent(socket)[0]["deadline_ms"], 198);
    bench.pass(202 * MILLI);
    assert_eq!(bench.outcomes(), ["deadline"]);

    bench.receive(
        caller,
        &json!({"uri": "/x", "method": "GET", "key": 6, "deadline_ms": 0}),
    );
    assert_eq!(bench.sent(caller)[0]["errorcode"], 7);
    assert_eq!(bench.node.service.requests, 1);
}

#[test]
fn reports_a_call_without_a_node_after_the_turn() {
    let mut bench = Bench::registered(&[]);
    bench.call();
    assert!(bench.node.service.outcomes.is_empty());
    bench.settle();
    assert_eq!(bench.outcomes(), ["unavailable"]);
}

#[test]
fn moves_requests_that_were_not_written() {
    let mut bench = Bench::registered(&[1, 2]);
    for _ in 0..10 {
        bench.call();
    }
    bench.settle();
    bench.refuse(peer(1));
    let socket = bench.open(peer(2));
    let requests = bench.sent(socket);
    assert_eq!(requests.len(), 10);
    for request in &requests {
        bench.reply(socket, request);
    }
    assert_eq!(bench.outcomes(), ["reply 7"; 10]);
}

#[test]
fn moves_the_calls_of_a_lost_peer_and_no_others_the_oldest_first() {
    let mut bench = Bench::registered(&[1, 2, 3]);
    let mut made = Vec::new();
    for random in 0..30 {
        bench.world().random = random;
        made.push(bench.call().key());
    }
    bench.settle();
    let keys = |requests: Vec<Value>| -> Vec<u64> {
        let keys = requests.iter().map(|request| request["key"].as_u64());
        keys.map(Option::unwrap).collect()
    };
    let other = bench.open(peer(2));
    let kept = keys(bench.sent(other));
    bench.refuse(peer(1));
    let mut moved = keys(bench.sent(other));
    let last = bench.open(peer(3));
    let in_order = keys(bench.sent(last));
    assert!(!kept.is_empty() && !moved.is_empty());
    for keys in [&kept, &moved, &in_order] {
        assert!(keys.is_sorted(), "{keys:?}");
    }
    moved.extend(kept);
    moved.extend(in_order);
    moved.sort_unstable();
    assert_eq!(moved, made, "each is sent once");
}

#[test]
fn loses_only_requests_that_were_written_whole() {
    let mut bench = Bench::registered(&[1]);
    for _ in 0..3 {
        bench.call();
    }
    let socket = bench.socket(peer(1));
    let list = json!({"uri": "/distributes", "method": "GET", "key": 0, "params": [entry(1), entry(2)],
        "session": {"epoch": "e1", "rev": 2, "complete": true, "ids": [1, 2]}});
    let link = bench.socket(distributor());
    bench.receive(link, &list);
    // The first request completely, and a part of the second.
    bench
        .world()
        .socket(socket)
        .writes
        .extend([Write::Takes(90), Write::Takes(0)]);
    bench.open(peer(1));
    assert_eq!(bench.sent(socket).len(), 1);
    bench.end(socket);
    assert_eq!(bench.outcomes(), ["lost"]);
    let other = bench.open(peer(2));
    assert_eq!(bench.sent(other).len(), 2);
}

#[test]
fn moves_written_requests_only_if_idempotent() {
    for is_idempotent in [false, true] {
        let mut bench = Bench::registered(&[1, 2]);
        bench.call_with(SECOND, is_idempotent);
        bench.settle();
        let first = [1, 2]
            .into_iter()
            .find(|port| !bench.sockets(peer(*port)).is_empty());
        let first = first.unwrap();
        let socket = bench.open(peer(first));
        assert_eq!(bench.sent(socket).len(), 1);
        bench.end(socket);
        if is_idempotent {
            assert!(bench.outcomes().is_empty());
            let socket = bench.open(peer(3 - first));
            let request = bench.sent(socket).remove(0);
            bench.reply(socket, &request);
            assert_eq!(bench.outcomes(), ["reply 7"]);
        } else {
            assert_eq!(bench.outcomes(), ["lost"]);
        }
    }
}

#[test]
fn does_not_send_a_call_on_a_connection_that_ends() {
    let mut bench = Bench::registered(&[1]);
    bench.call();
    let socket = bench.open(peer(1));
    let request = bench.sent(socket).remove(0);
    bench.reply(socket, &request);
    bench.outcomes();
    let caller = bench.accept();
    bench.node.service.forwards = true;
    // One turn reads the end and then the request.
    bench.world().end(socket);
    let request = json!({"uri": "/x", "method": "GET", "key": 5});
    bench.receive(caller, &request);
    assert_eq!(bench.outcomes(), [""; 0]);
    let socket = bench.open(peer(1));
    let request = bench.sent(socket).remove(0);
    bench.reply(socket, &request);
    assert_eq!(bench.outcomes(), ["reply 7"]);
}

#[test]
fn stops_writing_to_the_first_node_when_a_call_moves() {
    let mut bench = Bench::registered(&[1]);
    bench.call();
    let socket = bench.socket(peer(1));
    bench
        .world()
        .socket(socket)
        .writes
        .extend([Write::Takes(0); 2]);
    bench.open(peer(1));
    // The peer sends no more, but could still read.
    bench.world().end(socket);
    bench.turn();
    assert!(!bench.world().is_open(socket));
    bench.settle();
    assert_eq!(bench.outcomes(), [""; 0]);
    assert_eq!(bench.sockets(peer(1)).len(), 1);
}

#[test]
fn calls_no_node_after_a_stop() {
    let mut bench = Bench::registered(&[1, 2]);
    bench.call();
    bench.node.context(bench.reactor.net()).stop();
    bench.call();
    bench.settle();
    assert_eq!(bench.outcomes().len(), 2);
    bench.pass(10 * SECOND);
    assert!(
        bench
            .world()
            .sockets
            .iter()
            .all(|(_, socket)| socket.peer.is_none())
    );
}

#[test]
fn does_not_send_a_call_after_its_deadline() {
    let mut bench = Bench::registered(&[1]);
    bench.call_with(SECOND, false);
    let later = bench.call_with(3 * SECOND, false);
    bench.pass(2 * SECOND);
    assert_eq!(bench.outcomes(), ["unavailable"]);
    let socket = bench.open(peer(1));
    let requests = bench.sent(socket);
    assert_eq!(
        (requests.len(), &requests[0]["deadline_ms"]),
        (1, &json!(1000))
    );
    bench.reply(socket, &requests[0]);
    assert_eq!(bench.node.service.outcomes, [(later, "reply 7".to_owned())]);
}

#[test]
fn ends_the_turn_while_many_calls_are_posted() {
    let mut bench = Bench::registered(&[1]);
    let waker = bench.reactor.waker();
    let handle = bench.node.handle(waker);
    let post = |_| handle.call(&Route::get("/goods"), &(), SECOND);
    let answers: Vec<_> = (0..5000).map(post).collect();
    bench.node.on_wake(bench.reactor.net());
    assert_eq!(bench.node.core.caller.len(), MAX_POSTED_PER_TURN);
    bench.pass(1100 * MILLI);
    assert!(answers.iter().all(|answer| answer.try_recv().is_ok()));
    assert_eq!(bench.node.core.caller.len(), 0);
}

#[test]
fn accepts_the_longest_durations() {
    let mut bench = Bench::registered(&[1]);
    bench.call_with(Duration::MAX, false);
    let mut cx = bench.node.context(bench.reactor.net());
    cx.wait_for(&[Route::get("/other")], Duration::MAX);
    bench.pass(3600 * SECOND);
    bench.node.context(bench.reactor.net()).drain(Duration::MAX);
    bench.settle();
    assert_eq!(bench.node.core.caller.len(), 0);
    assert_eq!(bench.outcomes(), ["unavailable"]);
}

#[test]
fn loses_a_written_idempotent_call_if_no_other_node_is_there() {
    let mut bench = Bench::registered(&[1]);
    bench.call_with(SECOND, true);
    let socket = bench.open(peer(1));
    assert_eq!(bench.sent(socket).len(), 1);
    let link = bench.socket(distributor());
    bench.receive(link, &delta(1, 2, false, &[], &[], &[1]));
    bench.end(socket);
    assert_eq!(bench.outcomes(), ["lost"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Checks that each call has exactly one outcome, in time, whichever peers fail.
    #[test]
    fn each_call_has_exactly_one_outcome(steps in prop::collection::vec((0..8u8, 1..4u16, 0..400usize), 1..60)) {
        let mut bench = Bench::registered(&[1, 2, 3]);
        let mut calls = Vec::new();
        for (what, port, amount) in steps {
            let socket = bench.sockets(peer(port)).last().copied();
            match (what, socket) {
                (0..=1, _) => calls.push(bench.call_with(SECOND, amount % 2 == 0)),
                (2, _) => bench.pass(Duration::from_millis(amount as u64)),
                (3, Some(socket)) if bench.world().socket(socket).connected.is_none() => {
                    bench.world().socket(socket).writes.push_back(Write::Takes(amount));
                    bench.open(peer(port));
                }
                (4, Some(socket)) if bench.world().socket(socket).connected.is_none() => bench.refuse(peer(port)),
                (5, Some(socket)) if bench.world().socket(socket).connected.is_some() => {
                    for request in bench.sent(socket) {
                        // A peer that left is removed with its last call.
                        if bench.world().is_open(socket) {
                            bench.reply(socket, &request);
                        }
                    }
                }
                (6, Some(socket)) if bench.world().socket(socket).connected.is_some() => {
                    // Calls are made in the turn in which the end arrives.
                    bench.world().end(socket);
                    calls.push(bench.call());
                    bench.turn();
                    calls.push(bench.call());
                }
                (7, _) => {
                    let link = bench.socket(distributor());
                    let all = [1, 2, 3];
                    bench.list(link, &all[..amount % 4], json!({"epoch": "e1", "rev": 2, "complete": true}));
                }
                _ => {}
            }
        }
        bench.pass(1100 * MILLI);
        let mut told: Vec<CallId> = bench.node.service.outcomes.iter().map(|(call, _)| *call).collect();
        told.sort();
        calls.sort();
        prop_assert_eq!(told, calls);
        prop_assert_eq!(bench.node.core.caller.len(), 0);
        for peer in bench.node.core.caller.peers.iter() {
            prop_assert_eq!((peer.in_flight, &peer.assigned), (0, &AssignedCalls::default()));
        }
    }
}

#[test]
fn a_posted_call_reports_params_that_cannot_be_encoded() {
    let mut bench = Bench::registered(&[]);
    let handle = bench.node.context(bench.reactor.net()).handle();
    let params = std::collections::BTreeMap::from([((1, 2), 3)]);
    let result = handle.call(&Route::get("/goods"), &params, SECOND).recv();
    assert!(matches!(result, Ok(Err(CallError::InvalidParams(_)))));
}
