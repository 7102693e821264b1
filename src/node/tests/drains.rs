//! Tests of drains, with acknowledgements and without.

use super::*;

#[test]
fn ends_a_drain_with_the_acknowledgements() {
    let mut bench = Bench::registered(&[1]);
    let link = bench.socket(distributor());
    bench.node.context(bench.reactor.net()).drain(5 * SECOND);
    bench.settle();
    let delete = bench.sent(link).remove(0);
    assert_eq!(
        (&delete["method"], &delete["params"]["wait_ms"]),
        (&json!("DELETE"), &json!(5000))
    );
    let results = json!({"rev": 2, "acked": 3, "of": 3, "late": [], "blind": 0});
    bench.receive(
        link,
        &json!({"key": delete["key"], "errorcode": 0, "results": results}),
    );
    assert_eq!(bench.events(), ["drained 3 of 3"]);
    bench.pass(10 * SECOND);
    assert!(bench.events().is_empty());
}

#[test]
fn ends_a_drain_as_unproven_if_the_link_is_lost() {
    let mut bench = Bench::registered(&[1]);
    let link = bench.socket(distributor());
    bench.node.context(bench.reactor.net()).drain(5 * SECOND);
    bench.settle();
    bench.end(link);
    assert_eq!(bench.events(), ["Lost"]);
    bench.pass(4900 * MILLI);
    assert!(bench.events().is_empty());
    bench.pass(200 * MILLI);
    assert_eq!(bench.events(), ["drained unproven"]);
}

#[test]
fn leaves_the_distributor_to_drain_without_a_session() {
    for is_plain in [false, true] {
        let mut bench = Bench::new();
        let link = bench.open(distributor());
        bench.list(link, &[1], Value::Null);
        if is_plain {
            bench.pass(3 * SECOND);
        }
        bench.events();
        bench.node.context(bench.reactor.net()).drain(5 * SECOND);
        bench.pass(4 * SECOND);
        assert!(bench.sockets(distributor()).is_empty());
        bench.pass(2 * SECOND);
        let last = bench.events().pop();
        assert_eq!(last, Some("drained unproven".to_owned()));
        bench.pass(30 * SECOND);
        assert_eq!(
            (bench.sockets(distributor()).len(), bench.events().len()),
            (0, 0)
        );
    }
}

#[test]
fn ends_a_drain_that_is_not_answered() {
    let mut bench = Bench::registered(&[1]);
    let link = bench.socket(distributor());
    bench.node.context(bench.reactor.net()).drain(SECOND);
    bench.settle();
    let delete = bench.sent(link).remove(0);
    bench.pass(4 * SECOND);
    assert_eq!(bench.events(), ["drained unproven"]);
    let results = json!({"rev": 2, "acked": 3, "of": 3, "late": [], "blind": 0});
    bench.receive(
        link,
        &json!({"key": delete["key"], "errorcode": 0, "results": results}),
    );
    bench.end(link);
    bench.pass(4 * SECOND);
    assert_eq!(bench.events(), ["Lost"]);
}

#[test]
fn leaves_the_distributor_when_it_rejects_a_drain() {
    let mut bench = Bench::registered(&[1]);
    let link = bench.socket(distributor());
    bench.node.context(bench.reactor.net()).drain(5 * SECOND);
    bench.settle();
    let delete = bench.sent(link).remove(0);
    bench.receive(link, &json!({"key": delete["key"], "errorcode": 2}));
    assert_eq!(bench.events(), ["Lost"]);
    assert!(bench.sockets(distributor()).is_empty());
    bench.pass(4900 * MILLI);
    assert!(bench.events().is_empty());
    bench.pass(200 * MILLI);
    assert_eq!(bench.events(), ["drained unproven"]);
}

#[test]
fn ignores_a_second_drain() {
    let mut bench = Bench::registered(&[1]);
    let link = bench.socket(distributor());
    for _ in 0..2 {
        bench.node.context(bench.reactor.net()).drain(5 * SECOND);
        bench.settle();
    }
    let asked = bench.sent(link);
    assert_eq!(asked.len(), 1);
    let results = json!({"rev": 2, "acked": 3, "of": 3, "late": [], "blind": 0});
    bench.receive(
        link,
        &json!({"key": asked[0]["key"], "errorcode": 0, "results": results}),
    );
    assert_eq!(bench.events(), ["drained 3 of 3"]);
}
