//! Tests of peers: their choice, pauses, limits and connections.

use super::*;

#[test]
fn calls_a_refusing_peer_again_after_growing_pauses() {
    let mut bench = Bench::registered(&[1, 2]);
    let mut tried_at = Vec::new();
    let mut good = None;
    for random in 0.. {
        if bench.now() > Time::from_millis(12_000) {
            break;
        }
        bench.world().random = random;
        bench.call();
        bench.settle();
        if !bench.sockets(peer(1)).is_empty() {
            tried_at.push(bench.now().as_millis());
            bench.refuse(peer(1));
        }
        if good.is_none() && !bench.sockets(peer(2)).is_empty() {
            good = Some(bench.open(peer(2)));
        }
        if let Some(good) = good {
            for request in bench.sent(good) {
                bench.reply(good, &request);
            }
        }
    }
    let outcomes = bench.outcomes();
    assert!(
        outcomes.iter().all(|outcome| outcome == "reply 7"),
        "{outcomes:?}"
    );
    let pauses: Vec<u64> = tried_at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!((5..=9).contains(&pauses.len()), "{pauses:?}");
    let mut pause = 100;
    for waited in &pauses {
        // From half of the pause to all of it, and until the peer is chosen at random.
        assert!((pause / 2..2 * pause + 200).contains(waited), "{pauses:?}");
        pause *= 2;
    }
}

#[test]
fn limits_the_calls_to_one_peer() {
    let mut bench = Bench::with(Config {
        max_in_flight_per_peer: 2,
        ..Config::default()
    });
    let link = bench.open(distributor());
    bench.welcome(link, "e1", 5000);
    bench.list(
        link,
        &[1],
        json!({"epoch": "e1", "rev": 1, "complete": true}),
    );
    for _ in 0..3 {
        bench.call();
    }
    let socket = bench.open(peer(1));
    bench.settle();
    assert_eq!(bench.outcomes(), ["unavailable"]);
    let request = bench.sent(socket).remove(0);
    bench.reply(socket, &request);
    bench.call();
    bench.settle();
    assert_eq!(
        (bench.outcomes(), bench.sent(socket).len()),
        (vec!["reply 7".to_owned()], 1)
    );
}

#[test]
fn gives_no_calls_to_a_peer_that_reads_nothing() {
    let mut bench = Bench::registered(&[1]);
    bench.call();
    let socket = bench.socket(peer(1));
    bench
        .world()
        .socket(socket)
        .writes
        .push_back(Write::Takes(0));
    bench.open(peer(1));
    let long = "x".repeat(100 << 10);
    for _ in 0..12 {
        let mut cx = bench.node.context(bench.reactor.net());
        cx.notify("goods", &Route::post("/logs"), &long);
        cx.call(&Route::get("/goods"), &long, SECOND);
    }
    bench.settle();
    assert!(bench.world().is_open(socket));
    assert!((3..9).contains(&bench.outcomes().len()));
    bench.pass(SECOND);
    assert!(bench.outcomes().iter().all(|outcome| outcome == "deadline"));
}

#[test]
fn tries_each_unreachable_peer_once_per_call() {
    let mut bench = Bench::registered(&[1, 2]);
    bench.call();
    for _ in 0..2 {
        bench.settle();
        let port = if bench.sockets(peer(1)).is_empty() {
            2
        } else {
            1
        };
        bench.refuse(peer(port));
    }
    assert_eq!(bench.outcomes(), ["unavailable"]);
    // The next call is not delayed by that.
    bench.call();
    bench.settle();
    let port = if bench.sockets(peer(1)).is_empty() {
        2
    } else {
        1
    };
    let socket = bench.open(peer(port));
    let request = bench.sent(socket).remove(0);
    bench.reply(socket, &request);
    assert_eq!(bench.outcomes(), ["reply 7"]);
}

#[test]
fn keeps_the_connection_to_an_address_for_a_while() {
    let mut bench = Bench::registered(&[]);
    let call_at = |bench: &mut Bench, port, params: &str| {
        let mut cx = bench.node.context(bench.reactor.net());
        cx.call_at(peer(port), &Route::get("/goods"), params, SECOND);
    };
    call_at(&mut bench, 8, "");
    let socket = bench.open(peer(8));
    for _ in 0..3 {
        let request = bench.sent(socket).remove(0);
        bench.reply(socket, &request);
        assert_eq!(bench.outcomes(), ["reply 7"]);
        bench.pass(25 * SECOND);
        call_at(&mut bench, 8, "");
        bench.settle();
    }
    assert_eq!(bench.sockets(peer(8)), [socket]);
    // A peer that could not be connected to is removed as well.
    call_at(&mut bench, 9, &"x".repeat(2 << 20));
    bench.pass(62 * SECOND);
    assert!(bench.sockets(peer(8)).is_empty());
    assert_eq!(bench.node.core.caller.peers.iter().count(), 0);
}

#[test]
fn tries_a_failed_peer_with_one_call_while_another_takes_the_rest() {
    let mut bench = Bench::registered(&[1, 2]);
    let (mut good, mut is_tried) = (None, false);
    for random in 0..2000 {
        bench.world().random = random;
        for _ in 0..8 {
            bench.call_with(5 * SECOND, false);
        }
        if good.is_none() && !bench.sockets(peer(2)).is_empty() {
            good = Some(bench.open(peer(2)));
        }
        // The other host is gone: connects to it end only by their timeout.
        let given = |bench: &Bench| {
            let mut peers = bench.node.core.caller.peers.iter();
            peers
                .find(|known| known.addr == peer(1))
                .map_or(0, |known| known.in_flight)
        };
        let before = given(&bench);
        bench.pass(10 * MILLI);
        // The first failure cannot be detected earlier.
        let has_failed = bench.now() > Time::from_millis(4000);
        assert!(!has_failed || before <= 1, "{before} wait for it");
        is_tried |= has_failed && before > 0;
        if let Some(good) = good {
            for request in bench.sent(good) {
                bench.reply(good, &request);
            }
        }
    }
    assert!(is_tried);
    assert!(bench.outcomes().iter().all(|outcome| outcome == "reply 7"));
}

/// A list with a session in which these ports have these ids, all of them plain.
fn plain_list(epoch: &str, rev: u64, ports: &[u16], ids: &[u64]) -> Value {
    let entries: Vec<Value> = ports.iter().map(|port| entry(*port)).collect();
    json!({"uri": "/distributes", "method": "GET", "key": 0, "params": entries,
        "session": {"epoch": epoch, "rev": rev, "complete": true, "ids": ids, "plain": ids}})
}

#[test]
fn calls_an_entry_that_was_registered_anew_on_a_new_connection() {
    let left_then_joined = [
        delta(1, 2, false, &[], &[], &[1]),
        delta(2, 3, false, &[1], &[5], &[]),
    ];
    let in_one_change = [delta(1, 2, false, &[1], &[5], &[1])];
    let in_a_list = [plain_list("e1", 2, &[1], &[5])];
    for changes in [&left_then_joined[..], &in_one_change, &in_a_list] {
        let mut bench = Bench::registered(&[1]);
        bench.call();
        let old = bench.open(peer(1));
        let request = bench.sent(old).remove(0);
        let link = bench.socket(distributor());
        for change in changes {
            bench.receive(link, change);
        }
        bench.call();
        bench.settle();
        let new = bench.open(peer(1));
        assert_ne!(old, new);
        assert_eq!((bench.sent(old).len(), bench.sent(new).len()), (0, 1));
        // The call in flight keeps its connection until it ends.
        assert_eq!(bench.sockets(peer(1)).len(), 2);
        bench.reply(old, &request);
        assert_eq!(bench.outcomes(), ["reply 7"]);
        bench.pass(2 * SECOND);
        assert_eq!(bench.sockets(peer(1)), [new]);
    }
}

#[test]
fn keeps_the_connection_to_an_address_with_other_entries_or_of_another_epoch() {
    let workers = || {
        let mut bench = Bench::registered(&[1]);
        let link = bench.socket(distributor());
        bench.receive(link, &delta(1, 2, false, &[1], &[2], &[]));
        bench
    };
    let worker_restarts: &dyn Fn(&mut Bench) = &|bench| {
        let link = bench.socket(distributor());
        bench.receive(link, &delta(2, 3, false, &[], &[], &[1]));
        bench.receive(link, &delta(3, 4, false, &[1], &[3], &[]));
    };
    let distributor_restarts: &dyn Fn(&mut Bench) = &|bench| {
        let link = bench.socket(distributor());
        bench.end(link);
        let link = bench.open(distributor());
        bench.welcome(link, "e2", 5000);
        bench.receive(link, &plain_list("e2", 1, &[1], &[7]));
    };
    for changes in [worker_restarts, distributor_restarts] {
        let mut bench = workers();
        bench.call();
        let socket = bench.open(peer(1));
        assert_eq!(bench.sent(socket).len(), 1);
        changes(&mut bench);
        bench.call();
        bench.settle();
        assert_eq!(bench.sockets(peer(1)), [socket]);
        assert_eq!(bench.sent(socket).len(), 1);
    }
}

#[test]
fn closes_a_connection_that_answers_nothing_and_dials_after_growing_pauses() {
    let mut bench = Bench::registered(&[1]);
    let mut opened_at = Vec::new();
    while bench.now() < Time::from_millis(60_000) {
        bench.call_with(40 * MILLI, false);
        bench.settle();
        let socket = bench.socket(peer(1));
        if bench.world().socket(socket).connected.is_none() {
            bench.open(peer(1));
            opened_at.push(bench.now().as_millis());
        }
        bench.pass(48 * MILLI);
    }
    let gaps: Vec<u64> = opened_at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!((8..=14).contains(&gaps.len()), "{gaps:?}");
    for (gap, times) in gaps.iter().zip(0..) {
        let pause = (100 << times).min(10_000);
        assert!((pause..pause + 400).contains(gap), "{gaps:?}");
    }
    // A reply ends the pause.
    bench.call();
    bench.settle();
    let socket = bench.socket(peer(1));
    let request = bench.sent(socket).pop().unwrap();
    bench.reply(socket, &request);
    for _ in 0..2 {
        bench.call_with(40 * MILLI, false);
        bench.pass(50 * MILLI);
    }
    assert_eq!(bench.sockets(peer(1)), [socket]);
    bench.call_with(40 * MILLI, false);
    bench.pass(50 * MILLI);
    assert!(bench.sockets(peer(1)).is_empty());
}

#[test]
fn keeps_a_slow_connection_as_long_as_something_is_read() {
    let mut bench = Bench::registered(&[1]);
    bench.call_with(SECOND, false);
    let socket = bench.open(peer(1));
    for _ in 0..8 {
        bench.call_with(SECOND, false);
        bench.pass(900 * MILLI);
        // This is not a whole frame.
        bench.world().arrive(socket, b"{");
        bench.pass(200 * MILLI);
    }
    assert_eq!(bench.sockets(peer(1)), [socket]);
    assert!(bench.outcomes().iter().all(|outcome| outcome == "deadline"));
}

#[test]
fn has_at_most_32_kib_in_flight_to_a_plain_peer() {
    let with_session = || {
        let mut bench = Bench::registered(&[]);
        let link = bench.socket(distributor());
        bench.receive(link, &plain_list("e1", 2, &[1], &[5]));
        bench
    };
    let with_plain_distributor = || {
        let mut bench = Bench::new();
        let link = bench.open(distributor());
        bench.list(link, &[1], Value::Null);
        bench.pass(3 * SECOND);
        bench
    };
    for mut bench in [with_session(), with_plain_distributor()] {
        let call = |bench: &mut Bench, params: &str, deadline| {
            let mut cx = bench.node.context(bench.reactor.net());
            cx.call(&Route::get("/goods"), params, deadline);
        };
        for _ in 0..512 {
            call(&mut bench, &"x".repeat(200), 10 * SECOND);
        }
        let socket = bench.open(peer(1));
        let (mut unread, mut most, mut replies) = (VecDeque::new(), 0, 0);
        loop {
            unread.extend(bench.sent(socket));
            let bytes: usize = unread
                .iter()
                .map(|packet| packet.to_string().len() + 2)
                .sum();
            most = most.max(bytes);
            let Some(request) = unread.pop_front() else {
                break;
            };
            bench.reply(socket, &request);
            replies += 1;
        }
        assert_eq!(replies, 512);
        assert!((24 << 10..=32 << 10).contains(&most), "{most}");
        bench.outcomes();

        // A longer request waits until all are read, and is sent alone.
        call(&mut bench, "", 10 * SECOND);
        call(&mut bench, &"x".repeat(100 << 10), 10 * SECOND);
        call(&mut bench, "", 10 * SECOND);
        call(&mut bench, "", SECOND);
        bench.settle();
        for _ in 0..2 {
            let request = bench.sent(socket);
            assert_eq!(request.len(), 1);
            bench.pass(600 * MILLI);
            bench.reply(socket, &request[0]);
        }
        // A request that waited until its deadline was not sent.
        assert_eq!(bench.outcomes(), ["reply 7", "unavailable", "reply 7"]);
        assert_eq!(bench.sent(socket).len(), 1);
    }
}

#[test]
fn moves_calls_that_wait_for_room_when_the_connection_is_lost() {
    let mut bench = Bench::registered(&[]);
    let link = bench.socket(distributor());
    bench.receive(link, &plain_list("e1", 2, &[1], &[5]));
    for _ in 0..2 {
        let mut cx = bench.node.context(bench.reactor.net());
        cx.call(&Route::get("/goods"), &"x".repeat(20 << 10), 10 * SECOND);
    }
    let socket = bench.open(peer(1));
    assert_eq!(bench.sent(socket).len(), 1);
    bench.end(socket);
    assert_eq!(bench.outcomes(), ["lost"]);
    let socket = bench.open(peer(1));
    assert_eq!(bench.sent(socket).len(), 1);
}
