//! Tests of the list: heartbeats, deltas, merging, and waits for routes.

use super::*;

#[test]
fn leaves_a_silent_distributor_after_three_heartbeats() {
    let mut bench = Bench::registered(&[1]);
    let link = bench.socket(distributor());
    let silent_since = bench.now();
    assert_eq!(bench.sockets(distributor()), [link]);
    bench.pass_until(|bench| bench.state() == LinkState::Lost);
    let silence = bench.now().saturating_since(silent_since);
    assert!(
        silence >= 14 * SECOND && silence <= 21 * SECOND,
        "{silence:?}"
    );
    assert_eq!((bench.state(), bench.ports()), (LinkState::Lost, vec![1]));
    // Calls continue meanwhile.
    bench.call();
    let socket = bench.open(peer(1));
    let request = bench.sent(socket).remove(0);
    bench.reply(socket, &request);
    assert_eq!(bench.outcomes(), ["reply 7"]);
}

#[test]
fn acknowledges_the_applied_revision_with_heartbeats() {
    let mut bench = Bench::registered(&[1]);
    let link = bench.socket(distributor());
    for _ in 0..100 {
        bench.pass(SECOND);
        for beat in bench.sent(link) {
            assert_eq!(
                (&beat["uri"], &beat["session"]["rev"]),
                (&json!("/distributes/heartbeat"), &json!(1))
            );
            bench.receive(
                link,
                &json!({"key": beat["key"], "errorcode": 0, "results": {"rev": 1}}),
            );
        }
    }
    assert_eq!(bench.sockets(distributor()), [link]);
}

#[test]
fn acknowledges_deltas_on_request_and_fetches_the_list_after_a_gap() {
    let mut bench = Bench::registered(&[1]);
    let link = bench.socket(distributor());
    bench.receive(link, &delta(1, 2, false, &[2], &[2], &[]));
    assert!(bench.sent(link).is_empty());
    bench.receive(link, &delta(2, 4, true, &[], &[], &[1]));
    let ack = json!({"uri": "/distributes/heartbeat", "method": "POST", "key": null, "session": {"rev": 4}});
    assert_eq!((bench.sent(link), bench.ports()), (vec![ack], vec![2]));
    assert_eq!(bench.events(), ["+2", "-1"]);

    bench.receive(link, &delta(5, 6, true, &[3], &[3], &[]));
    let get = bench.sent(link).remove(0);
    assert_eq!((&get["method"], bench.ports()), (&json!("GET"), vec![2]));
    bench.list(
        link,
        &[2, 3],
        json!({"epoch": "e1", "rev": 6, "complete": true}),
    );
    bench.receive(link, &delta(6, 7, false, &[], &[], &[1]));
    assert_eq!(bench.ports(), [3]);
}

#[test]
fn merges_a_new_run_of_the_distributor_until_it_is_complete() {
    let mut bench = Bench::registered(&[1, 2, 3]);
    let link = bench.socket(distributor());
    bench.end(link);
    let link = bench.open(distributor());
    bench.welcome(link, "e2", 5000);
    bench.list(
        link,
        &[2],
        json!({"epoch": "e2", "rev": 1, "complete": false}),
    );
    assert_eq!(bench.ports(), [2, 1, 3]);
    bench.list(
        link,
        &[2, 3],
        json!({"epoch": "e2", "rev": 2, "complete": true}),
    );
    assert_eq!(
        (bench.ports(), bench.events().pop()),
        (vec![2, 3], Some("-1".to_owned()))
    );
}

#[test]
fn removes_merged_nodes_even_if_the_link_is_lost_meanwhile() {
    let mut bench = Bench::registered(&[1, 2, 3]);
    let link = bench.socket(distributor());
    bench.end(link);
    let link = bench.open(distributor());
    bench.welcome(link, "e2", 5000);
    bench.list(
        link,
        &[2],
        json!({"epoch": "e2", "rev": 1, "complete": false}),
    );
    bench.end(link);
    // Changes since revision 1 would not remove the other nodes.
    bench.pass_until(|bench| !bench.sockets(distributor()).is_empty());
    let link = bench.open(distributor());
    let post = bench.sent(link).pop().unwrap();
    assert_eq!(
        (&post["session"]["epoch"], &post["session"]["rev"]),
        (&Value::Null, &Value::Null)
    );
}

#[test]
fn ends_a_wait_when_its_routes_are_listed_or_at_its_timeout() {
    let mut bench = Bench::registered(&[]);
    bench
        .node
        .context(bench.reactor.net())
        .wait_for(&[Route::get("/goods")], SECOND);
    bench
        .node
        .context(bench.reactor.net())
        .wait_for(&[Route::get("/other")], SECOND);
    bench.settle();
    assert!(bench.events().is_empty());
    let link = bench.socket(distributor());
    bench.receive(link, &delta(1, 2, false, &[1], &[1], &[]));
    assert_eq!(bench.events(), ["+1", "waited true"]);
    bench.pass(SECOND);
    assert_eq!(bench.events(), ["waited false"]);
}

#[test]
fn does_not_acknowledge_a_revision_of_another_run() {
    let mut bench = Bench::registered(&[1]);
    let link = bench.socket(distributor());
    bench.receive(link, &delta(1, 500, false, &[], &[], &[]));
    bench.end(link);
    let link = bench.open(distributor());
    bench.welcome(link, "e2", 100);
    bench.sent(link);
    bench.pass(130 * MILLI);
    // The list of the Distributor has not arrived yet.
    assert_eq!(bench.sent(link)[0]["session"]["rev"], 0);
}

#[test]
fn waits_for_nodes_that_can_be_called() {
    let mut bench = Bench::registered(&[]);
    let mut cx = bench.node.context(bench.reactor.net());
    cx.wait_for(&[Route::get("/goods")], SECOND);
    let link = bench.socket(distributor());
    let (mut named, mut ipv6) = (entry(1), entry(2));
    named["host"] = json!("goods.example");
    ipv6["host"] = json!("::1");
    let list = |entries: &[&Value]| {
        json!({"uri": "/distributes", "method": "GET", "key": 0, "params": entries,
            "session": {"epoch": "e1", "rev": 2, "complete": true, "ids": [1, 2]}})
    };
    bench.receive(link, &list(&[&named]));
    assert_eq!(bench.events(), ["+1"]);
    bench.call();
    bench.settle();
    assert_eq!(bench.outcomes(), ["unavailable"]);
    bench.receive(link, &list(&[&named, &ipv6]));
    assert_eq!(bench.events(), ["+2", "waited true"]);
    bench.call();
    let socket = bench.open("[::1]:2".parse().unwrap());
    assert_eq!(bench.sent(socket).len(), 1);
}
