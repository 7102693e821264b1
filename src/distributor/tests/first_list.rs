//! Tests of the first list of a connection.

use super::*;

/// Returns the names in a list, or its text if it is none.
fn names(packet: &Value) -> Vec<String> {
    let Some(entries) = packet["params"].as_array() else {
        return vec![packet.to_string()];
    };
    let names = entries.iter().filter_map(|entry| entry["name"].as_str());
    names.map(str::to_owned).collect()
}

impl Bench {
    /// Returns the names in each list that was sent to this socket since the last call.
    fn lists(&self, socket: SocketId) -> Vec<Vec<String>> {
        self.world().take_sent(socket).iter().map(names).collect()
    }
}

#[test]
fn waits_20_ms_for_the_first_frame() {
    let mut bench = Bench::new();
    let silent = bench.connect();
    bench.pass(19 * MILLI);
    assert_eq!(bench.lists(silent), Vec::<Vec<String>>::new());
    bench.pass(2 * MILLI);
    assert_eq!(bench.lists(silent), [Vec::<String>::new()]);
    bench.pass(SECOND);
    assert_eq!(bench.lists(silent), Vec::<Vec<String>>::new());
}

#[test]
fn precedes_the_registration_of_a_plain_peer_by_10_ms() {
    let mut bench = Bench::new();
    let first = bench.join("first", &Value::Null);
    assert_eq!(bench.lists(first), [Vec::<String>::new()]);
    bench.pass(9 * MILLI);
    assert_eq!(bench.lists(first), Vec::<Vec<String>>::new());
    bench.pass(2 * MILLI);
    assert_eq!(bench.lists(first), [["first"]]);

    let second = bench.join("second", &Value::Null);
    assert_eq!(bench.lists(second), [["first"]]);
    bench.pass(11 * MILLI);
    assert_eq!(bench.lists(second), [["first", "second"]]);
    assert_eq!(bench.lists(first), [["first", "second"]]);
}

#[test]
fn pauses_after_a_first_list_that_waited_too() {
    let mut bench = Bench::new();
    let peer = bench.connect();
    bench.pass(21 * MILLI);
    assert_eq!(bench.lists(peer), [Vec::<String>::new()]);
    bench.world().register(peer, "peer", &Value::Null);
    bench.pass(8 * MILLI);
    assert_eq!(bench.lists(peer), Vec::<Vec<String>>::new());
    bench.pass(3 * MILLI);
    assert_eq!(bench.lists(peer), [["peer"]]);
}

#[test]
fn is_shared_by_plain_peers_that_register_in_one_turn() {
    let mut bench = Bench::new();
    let all: Vec<SocketId> = (0..3).map(|_| bench.connect()).collect();
    for socket in &all {
        bench.world().register(*socket, "node", &Value::Null);
    }
    bench.settle();
    for socket in &all {
        assert_eq!(bench.lists(*socket), [Vec::<String>::new()]);
    }
    bench.pass(11 * MILLI);
    for socket in &all {
        assert_eq!(bench.lists(*socket), [["node"; 3]]);
    }
}

#[test]
fn is_replaced_by_the_list_of_a_session() {
    let mut bench = Bench::new();
    let session = bench.join("session", &json!({"version": 1, "watch": "delta"}));
    bench.pass(SECOND);
    let sent = bench.world().take_sent(session);
    assert_eq!(sent.len(), 2, "{sent:?}");
    assert!(
        sent[0]["answer"].is_object() || sent[0]["results"].is_object(),
        "{sent:?}"
    );
    assert_eq!(names(&sent[1]), ["session"]);

    let silent = bench.join("silent", &json!({"version": 1, "watch": "none"}));
    bench.pass(SECOND);
    assert_eq!(bench.world().take_sent(silent).len(), 1);
}

#[test]
fn precedes_the_error_of_a_rejected_session() {
    let mut bench = Bench::new();
    let rejected = bench.join("rejected", &json!(5));
    let sent = bench.world().take_sent(rejected);
    assert_eq!(sent.len(), 2, "{sent:?}");
    assert_eq!(names(&sent[0]), Vec::<String>::new());
    assert!(sent[1]["errorcode"].is_number(), "{sent:?}");
}

#[test]
fn precedes_the_reply_to_a_request() {
    let mut bench = Bench::new();
    let peer = bench.connect();
    let request = "{\"uri\":\"/distributes\",\"method\":\"GET\",\"key\":7}¶";
    bench.world().arrive(peer, request.as_bytes());
    bench.settle();
    let sent = bench.world().take_sent(peer);
    assert_eq!(sent.len(), 2, "{sent:?}");
    assert_eq!(sent[1]["key"], 7);
}

#[test]
fn is_not_sent_after_another_protocol() {
    let mut bench = Bench::new();
    let browser = bench.connect();
    bench.world().arrive(browser, b"GET / HTTP/1.1\r\n");
    bench.pass(SECOND);
    let stats = bench.distributor.stats();
    assert_eq!((stats.wrong_protocol, stats.lists_sent), (1, 0));
}

#[test]
fn waits_with_one_timer_for_all_connections() {
    let mut bench = Bench::new();
    let before = bench.reactor.net().timers();
    let all: Vec<SocketId> = (0..50).map(|_| bench.connect()).collect();
    // Each connection has the timers of the reactor, which one without a list has too.
    let timers = bench.reactor.net().timers() - before;
    assert!(timers <= all.len() + 1, "{timers}");
    bench.pass(21 * MILLI);
    for socket in all {
        assert_eq!(bench.lists(socket).len(), 1);
    }
}
