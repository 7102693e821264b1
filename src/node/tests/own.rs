//! Timers and connections of the service, which share the loop with those of the node.

use super::*;
use crate::reactor::{ConnectOptions, Owner};

/// Tags that the timers of the node use too: of the first call, of the link, of events.
const TAGS: [u64; 4] = [16_777_218, 0, 1, 4];

#[test]
fn returns_timers_with_any_tag_to_the_service() {
    let mut bench = Bench::registered(&[1]);
    bench.call_with(10 * SECOND, false);
    bench.open(peer(1));
    let mut cx = bench.node.context(bench.reactor.net());
    let at = cx.net().now() + 200 * MILLI;
    for tag in TAGS {
        cx.arm(at, tag);
    }
    // As in a program with one handler.
    cx.net().arm(Owner::default(), at, 16_777_218);
    bench.pass(SECOND);
    let timers = std::mem::take(&mut bench.node.service.timers);
    assert_eq!(timers, [16_777_218, 0, 1, 4, 16_777_218]);
    assert_eq!(bench.node.core.caller.len(), 1);
    assert!(bench.outcomes().is_empty() && bench.events().is_empty());
}

#[test]
fn creates_under_the_owner_of_the_service_in_its_callbacks() {
    let mut bench = Bench::registered(&[1]);
    bench.node.service.arms = true;
    let caller = bench.accept();
    for _ in 0..2 {
        bench.receive(caller, &json!({"uri": "/x", "method": "GET", "key": 5}));
    }
    bench.pass(SECOND);
    assert_eq!(bench.node.service.timers, [16_777_218; 2]);
    assert_eq!(bench.sent(caller).len(), 2);
}

#[test]
fn returns_connections_to_the_service() {
    let mut bench = Bench::registered(&[1]);
    let options = ConnectOptions::default();
    let mut cx = bench.node.context(bench.reactor.net());
    let own = cx.connect(peer(99), options);
    bench.call_with(10 * SECOND, false);
    let calls = bench.open(peer(1));
    let socket = bench.open(peer(99));
    bench.receive(socket, &json!({"own": 1}));
    let request = bench.sent(calls).remove(0);
    bench.reply(calls, &request);
    bench.end(socket);
    let expected = ["open", r#"{"own":1}"#, "close"];
    assert_eq!(
        bench.node.service.own,
        expected.map(|word| (own, word.to_owned()))
    );
    assert_eq!(bench.outcomes(), ["reply 7"]);
}

#[test]
fn is_ready_from_its_registration_to_its_drain() {
    let mut bench = Bench::new();
    let is_ready = |bench: &mut Bench| bench.node.context(bench.reactor.net()).is_ready();
    assert!(!is_ready(&mut bench));
    let link = bench.open(distributor());
    assert!(!is_ready(&mut bench));
    bench.welcome(link, "e1", 5000);
    assert!(is_ready(&mut bench));
    bench.end(link);
    assert!(is_ready(&mut bench), "it still serves");
    bench.node.context(bench.reactor.net()).drain(SECOND);
    assert!(!is_ready(&mut bench));
}

#[test]
fn does_not_report_the_end_of_its_own_stop_as_a_loss() {
    let mut bench = Bench::registered(&[1]);
    bench.node.context(bench.reactor.net()).stop();
    bench.pass(SECOND);
    assert!(bench.events().is_empty());
    assert_eq!(bench.reactor.net().connections(), 0);
}

#[test]
fn answers_internal_if_results_cannot_be_encoded() {
    let mut bench = Bench::registered(&[1]);
    bench.node.service.garbles = true;
    let caller = bench.accept();
    bench.receive(caller, &json!({"uri": "/x", "method": "GET", "key": 5}));
    let replies = bench.sent(caller);
    assert_eq!(replies.len(), 1);
    assert_eq!(
        (&replies[0]["key"], &replies[0]["errorcode"]),
        (&json!(5), &json!(8))
    );
}
