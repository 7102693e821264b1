//! Tests of pushes.

use super::*;

#[test]
fn pushes_a_leave_and_a_join_of_one_turn_as_one_change() {
    let mut bench = Bench::new();
    let watcher = bench.join("watcher", &Value::Null);
    let mut old = bench.join("node-0", &Value::Null);
    for number in 1..=4 {
        let new = bench.connect();
        bench.pass(SECOND);
        bench.world().take_sent(watcher);
        let name = format!("node-{number}");
        let joins_first = number % 2 == 0;
        if joins_first {
            bench.world().register(new, &name, &Value::Null);
        }
        bench.world().end(old);
        if !joins_first {
            bench.world().register(new, &name, &Value::Null);
        }
        bench.pass(SECOND);
        let lists = bench.world().take_sent(watcher);
        assert_eq!(lists.len(), 1, "{lists:?}");
        let names: Vec<&Value> = (0..2)
            .map(|place| &lists[0]["params"][place]["name"])
            .collect();
        assert_eq!(names, ["watcher", &*name]);
        old = new;
    }
}

/// Returns the number of pushes within one second. The list changes every 5 ms, and each write
/// takes 1 ms. One more node, with `changer_watches`, makes the changes.
fn pushes_in_a_second(watches: &[&str], changer_watches: &str) -> u64 {
    let mut bench = Bench::new();
    let session = |watch: &str| json!({"version": 1, "watch": watch});
    let mut all: Vec<SocketId> = watches
        .iter()
        .enumerate()
        .map(|(number, watch)| bench.join(&format!("watcher-{number}"), &session(watch)))
        .collect();
    all.push(bench.join("changer", &session(changer_watches)));
    // Wait until the list is complete, and was sent once more.
    for _ in 0..12 {
        bench.pass(SECOND);
        bench.beat(&all);
    }
    let changer = *all.last().unwrap();
    let before = bench.distributor.stats().pushes;
    bench.world().write_takes = MILLI;
    let until = bench.world().now + SECOND;
    let mut number = 0;
    while bench.world().now < until {
        number += 1;
        let name = format!("changer-{number}");
        bench
            .world()
            .register(changer, &name, &session(changer_watches));
        bench.pass(5 * MILLI);
    }
    bench.distributor.stats().pushes - before
}

#[test]
fn spends_three_quarters_of_the_time_on_changes_and_half_on_lists() {
    let deltas = pushes_in_a_second(&["delta"; 10], "none");
    let lists = pushes_in_a_second(&["list"; 10], "none");
    // Each takes 10 ms, and a burst goes before.
    assert!((75..=80).contains(&deltas), "{deltas}");
    assert!((50..=55).contains(&lists), "{lists}");
    // A watching node that joins receives a list: one among many changes.
    let with_a_list = pushes_in_a_second(&["delta"; 10], "list");
    assert!(with_a_list >= lists * 13 / 10, "{with_a_list} {lists}");
}

/// Joins ten sessions, and waits until all is complete and the budget is full.
fn settled_watchers() -> (Bench, Vec<SocketId>, Value) {
    let mut bench = Bench::new();
    let session = json!({"version": 1, "watch": "delta"});
    let all: Vec<SocketId> = (0..10)
        .map(|number| bench.join(&format!("watcher-{number}"), &session))
        .collect();
    for _ in 0..12 {
        bench.pass(SECOND);
        bench.beat(&all);
    }
    (bench, all, session)
}

#[test]
fn pushes_at_once_while_there_is_budget() {
    let (mut bench, all, session) = settled_watchers();
    bench.world().write_takes = MILLI / 2;
    let before = *bench.distributor.stats();
    for number in 1..=100 {
        bench.world().take_sent(all[1]);
        let name = format!("changer-{number}");
        bench.world().register(all[0], &name, &session);
        bench.pass(Duration::ZERO);
        let sent = bench.world().take_sent(all[1]);
        assert_eq!(sent.len(), 1, "{sent:?}");
        bench.pass(10 * MILLI);
    }
    let after = *bench.distributor.stats();
    assert_eq!(after.pushes - before.pushes, 100);
    assert_eq!(after.folds_by_budget, before.folds_by_budget);
}

#[test]
fn pauses_between_lists_to_plain_peers_only() {
    let mut bench = Bench::new();
    let session = json!({"version": 1, "watch": "delta"});
    let plain = bench.join("plain", &Value::Null);
    let delta = bench.join("delta", &session);
    let changer = bench.join("changer", &json!({"version": 1, "watch": "none"}));
    for _ in 0..12 {
        bench.pass(SECOND);
        bench.beat(&[delta, changer]);
    }
    let none = json!({"version": 1, "watch": "none"});
    let before = bench.distributor.stats().folds_by_plain_pause;
    let change = |bench: &mut Bench, name: &str| {
        bench.world().take_sent(plain);
        bench.world().take_sent(delta);
        bench.world().register(changer, name, &none);
        bench.pass(Duration::ZERO);
        let lists = bench.world().take_sent(plain).len();
        (lists, bench.world().take_sent(delta).len())
    };
    assert_eq!(change(&mut bench, "first"), (1, 1));
    bench.pass(MILLI);
    assert_eq!(change(&mut bench, "second"), (0, 1));
    bench.pass(MILLI);
    assert_eq!(change(&mut bench, "third"), (0, 1));
    let folds = bench.distributor.stats().folds_by_plain_pause;
    assert_eq!(folds - before, 1);
    bench.pass(7 * MILLI);
    assert_eq!(bench.world().take_sent(plain).len(), 0);
    bench.pass(2 * MILLI);
    let lists = bench.world().take_sent(plain);
    assert_eq!(lists.len(), 1, "{lists:?}");
    assert_eq!(lists[0]["params"][2]["name"], "third");
    assert_eq!(bench.world().take_sent(delta).len(), 0);
}

#[test]
fn delays_no_push_by_more_than_a_second() {
    let (mut bench, all, session) = settled_watchers();
    // Each push takes 1.5 s, more than a second refills.
    bench.world().write_takes = 150 * MILLI;
    for number in 1..=4 {
        let pushes = bench.distributor.stats().pushes;
        let name = format!("changer-{number}");
        bench.world().register(all[0], &name, &session);
        bench.pass(Duration::ZERO);
        let mut waited = Duration::ZERO;
        while bench.distributor.stats().pushes == pushes {
            let before = bench.world().now;
            bench.pass(10 * MILLI);
            waited += bench.world().now.saturating_since(before);
        }
        // This includes the time to write it.
        assert!(waited <= 2600 * MILLI, "{waited:?}");
    }
    assert!(bench.distributor.stats().folds_by_debt > 0);
}

#[test]
fn a_subscriber_that_joined_meanwhile_is_sent_what_left_again() {
    let (mut bench, all, session) = settled_watchers();
    let only = json!({"watch": "delta", "only": {"names": ["comes-and-goes"]}});
    let first = bench.join("first", &only);
    bench.pass(SECOND);
    bench.beat(&all);
    // One push exhausts the budget, so that the next one waits.
    bench.world().write_takes = 150 * MILLI;
    bench.world().register(all[0], "changed", &session);
    bench.pass(Duration::ZERO);
    bench.world().write_takes = Duration::ZERO;
    bench.world().take_sent(first);
    let second = bench.connect();
    bench.world().register(all[1], "comes-and-goes", &session);
    bench.world().register(second, "second", &only);
    bench.pass(Duration::ZERO);
    let list = bench.world().take_sent(second);
    let list = list.iter().rev().find(|packet| packet["method"] == "GET");
    assert_eq!(list.unwrap()["params"].as_array().unwrap().len(), 1);
    assert_eq!(bench.world().take_sent(first), [] as [Value; 0]);
    bench.world().register(all[1], "another", &session);
    bench.pass(2 * SECOND);
    let updates = bench.world().take_sent(second);
    assert_eq!(updates.len(), 1, "{updates:?}");
    assert_eq!(updates[0]["params"]["left"][0]["cause"], "changed");
}
