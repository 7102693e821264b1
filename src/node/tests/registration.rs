//! Tests of registration: attempts, rejections, and plain Distributors.

use super::*;

#[test]
fn reconnects_at_once_and_then_about_every_three_seconds() {
    let mut bench = Bench::registered(&[]);
    for random in [0, 50, 77, 100] {
        let socket = bench.socket(distributor());
        bench.end(socket);
        assert_eq!(bench.state(), LinkState::Lost);
        for _ in 0..5 {
            bench.world().random = random;
            bench.refuse(distributor());
            let refused_at = bench.now();
            bench.pass_until(|bench| !bench.sockets(distributor()).is_empty());
            let pause = bench.now().saturating_since(refused_at);
            assert!(pause >= 1490 * MILLI && pause <= 4520 * MILLI, "{pause:?}");
        }
        let link = bench.open(distributor());
        let post = bench.sent(link).pop().unwrap();
        assert_eq!(
            (&post["session"]["epoch"], &post["session"]["rev"]),
            (&json!("e1"), &json!(1))
        );
        let results = json!({"id": 1, "epoch": "e1", "rev": 1, "heartbeat_ms": 5000});
        bench.receive(
            link,
            &json!({"key": post["key"], "errorcode": 0, "results": results}),
        );
        assert_eq!(bench.state(), LinkState::Registered);
    }
}

#[test]
fn does_not_hammer_a_distributor_that_closes_at_once() {
    let mut bench = Bench::new();
    let began_at = bench.now();
    let mut rounds = 0_u32;
    while bench.now().saturating_since(began_at) < 30 * SECOND {
        if !bench.sockets(distributor()).is_empty() {
            let link = bench.open(distributor());
            bench.welcome(link, "e1", 5000);
            bench.end(link);
            rounds += 1;
        }
        bench.pass(10 * MILLI);
    }
    assert!((8..25).contains(&rounds), "{rounds}");
}

#[test]
fn clamps_the_pause_that_a_stopping_distributor_sends() {
    for (told, least, most) in [
        (json!(1500), 1500, 1520),
        (json!(0), 100, 120),
        (json!(u64::MAX), 60_000, 60_020),
        // Without a requested pause, as after any other loss.
        (Value::Null, 0, 20),
    ] {
        let mut bench = Bench::registered(&[]);
        let link = bench.socket(distributor());
        let session = json!({"draining": true, "retry_after_ms": told});
        bench.receive(
            link,
            &json!({"uri": "/distributes", "method": "PATCH", "session": session}),
        );
        let lost_at = bench.now();
        bench.world().end(link);
        bench.turn();
        while bench.sockets(distributor()).is_empty() {
            bench.pass(MILLI);
            let waited = bench.now().saturating_since(lost_at).as_millis();
            assert!(waited <= most, "{told}: {waited}");
        }
        let waited = bench.now().saturating_since(lost_at).as_millis();
        assert!((least..=most).contains(&waited), "{told}: {waited}");
    }
}

#[test]
fn takes_a_distributor_that_sends_only_lists_for_plain() {
    let mut bench = Bench::new();
    let link = bench.open(distributor());
    bench.list(link, &[1, 2], Value::Null);
    // Some nodes are better than none.
    assert_eq!(
        (bench.ports(), bench.state()),
        (vec![1, 2], LinkState::Searching)
    );
    bench.pass(1900 * MILLI);
    assert_eq!(bench.state(), LinkState::Searching);
    bench.pass(200 * MILLI);
    assert_eq!(bench.state(), LinkState::Registered);
    bench.list(link, &[2], Value::Null);
    assert_eq!(bench.ports(), [2]);

    // After the connection was lost, its lists are merged for ten seconds.
    bench.end(link);
    let link = bench.open(distributor());
    bench.list(link, &[3], Value::Null);
    assert_eq!(bench.ports(), [2]);
    bench.pass(2100 * MILLI);
    assert_eq!(
        (bench.ports(), bench.state()),
        (vec![3, 2], LinkState::Registered)
    );
    bench.pass(9 * SECOND);
    bench.list(link, &[3, 4], Value::Null);
    assert_eq!(bench.ports(), [3, 4, 2]);
    bench.pass(SECOND);
    assert_eq!(bench.ports(), [3, 4]);
}

#[test]
fn leaves_a_distributor_that_does_not_answer_in_two_seconds() {
    let mut bench = Bench::new();
    let link = bench.open(distributor());
    bench.pass(1900 * MILLI);
    assert_eq!(bench.sockets(distributor()), [link]);
    bench.pass(200 * MILLI);
    assert!(bench.sockets(distributor()).is_empty());
    bench.pass_until(|bench| !bench.sockets(distributor()).is_empty());
}

#[test]
fn begins_a_session_with_a_late_answer() {
    let mut bench = Bench::new();
    let link = bench.open(distributor());
    let post = bench.sent(link).remove(0);
    bench.list(link, &[1], Value::Null);
    bench.pass(3 * SECOND);
    assert_eq!(bench.state(), LinkState::Registered);
    let results = json!({"id": 1, "epoch": "e1", "rev": 1, "heartbeat_ms": 100});
    bench.receive(
        link,
        &json!({"key": post["key"], "errorcode": 0, "results": results}),
    );
    bench.list(
        link,
        &[1],
        json!({"epoch": "e1", "rev": 1, "complete": true}),
    );
    bench.pass(130 * MILLI);
    assert_eq!(
        bench.sent(link).pop().unwrap()["uri"],
        "/distributes/heartbeat"
    );
}

#[test]
fn retries_a_forbidden_registration_after_growing_pauses() {
    let mut bench = Bench::new();
    for times in [2, 4, 8, 10, 10, 10] {
        let link = bench.open(distributor());
        let post = bench.sent(link).pop().unwrap();
        let refusal = json!({"key": post["key"], "errorcode": 5, "errormessage": "no"});
        bench.receive(link, &refusal);
        assert_eq!(bench.events(), ["refused 5"]);
        let refused_at = bench.now();
        bench.pass_until(|bench| !bench.sockets(distributor()).is_empty());
        let pause = bench.now().saturating_since(refused_at);
        assert!(pause >= times * 1480 * MILLI && pause <= times * 4520 * MILLI);
    }
    let link = bench.open(distributor());
    bench.welcome(link, "e1", 5000);
    assert_eq!(bench.state(), LinkState::Registered);
}

#[test]
fn reports_a_rejected_registration_and_retries() {
    let mut bench = Bench::new();
    let link = bench.open(distributor());
    bench.receive(
        link,
        &json!({"key": null, "errorcode": 6, "errormessage": "try later"}),
    );
    assert_eq!(bench.events(), ["refused 6"]);
    bench.pass(1400 * MILLI);
    assert!(bench.sockets(distributor()).is_empty());
    bench.pass_until(|bench| !bench.sockets(distributor()).is_empty());
}
