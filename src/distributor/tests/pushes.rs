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
fn pushes_changes_up_to_twice_as_often_as_lists() {
    let deltas = pushes_in_a_second(&["delta"; 10], "none");
    let lists = pushes_in_a_second(&["list"; 10], "none");
    assert!(lists >= 10 && deltas >= lists * 3 / 2, "{deltas} {lists}");
    // A watching node that joins receives a list: one among many changes.
    let with_a_list = pushes_in_a_second(&["delta"; 10], "list");
    assert!(with_a_list >= lists * 3 / 2, "{with_a_list} {lists}");
}
