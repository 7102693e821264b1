//! Tests of snapshots, restarts and the warm-up.

use std::cell::RefCell;
use std::rc::Rc;

use super::*;

/// Records the time and the number of entries of each snapshot.
#[derive(Clone)]
struct Handed {
    system: Scripted,
    snapshots: Rc<RefCell<Vec<(Time, usize)>>>,
}

impl SnapshotSink for Handed {
    fn persist(&mut self, snapshot: Snapshot) {
        let file = String::from_utf8(snapshot.into_bytes()).unwrap();
        let handed = (self.system.world().now, file.matches("\"name\"").count());
        self.snapshots.borrow_mut().push(handed);
    }
}

#[test]
fn hands_over_the_last_change_and_at_most_one_snapshot_per_50_ms() {
    let mut bench = Bench::new();
    let sink = Handed {
        system: bench.system.clone(),
        snapshots: Rc::default(),
    };
    bench
        .distributor
        .persist_to(bench.reactor.net(), sink.clone());
    bench.pass(5 * SECOND);
    let began = bench.world().now;
    for number in 0..5 {
        bench.join(&format!("n{number}"), &Value::Null);
    }
    bench.pass(SECOND);
    bench.distributor.stop(bench.reactor.net());
    let snapshots = sink.snapshots.borrow();
    let counts: Vec<usize> = snapshots.iter().map(|(_, count)| *count).collect();
    assert_eq!(counts, [0, 1, 5, 5], "the last one at the stop");
    let last = snapshots[2].0.saturating_since(began);
    assert!(last >= 50 * MILLI && last <= 60 * MILLI, "{last:?}");
}

/// Keeps the newest snapshot.
#[derive(Clone, Default)]
struct Newest(Rc<RefCell<Snapshot>>);

impl SnapshotSink for Newest {
    fn persist(&mut self, snapshot: Snapshot) {
        *self.0.borrow_mut() = snapshot;
    }
}

#[test]
fn hands_over_the_whole_list_although_it_encodes_changes_only() {
    let restored = {
        let mut bench = Bench::new();
        bench.crowd(5);
        let state = bench.distributor.snapshot().into_bytes();
        Restored::decode(&state, &RegistrationLimits::default()).unwrap()
    };
    let mut bench = Bench::restoring(restored);
    let sink = Newest::default();
    bench
        .distributor
        .persist_to(bench.reactor.net(), sink.clone());
    let check = |bench: &mut Bench| {
        bench.pass(60 * MILLI);
        let newest = sink.0.borrow().clone().into_bytes();
        assert_eq!(newest, bench.distributor.snapshot().into_bytes());
    };
    check(&mut bench);
    // Joins, an entry that is claimed with another identity, a change, and leaves.
    let joined: Vec<_> = (0..4)
        .map(|number| {
            let socket = bench.join(&format!("new {number}"), &Value::Null);
            check(&mut bench);
            socket
        })
        .collect();
    bench.join("n1", &json!({"watch": "none", "instance": "a1"}));
    check(&mut bench);
    for socket in joined {
        bench.world().end(socket);
        bench.settle();
        check(&mut bench);
    }
    // The nodes that do not return leave at the end of the warm-up.
    bench.pass(11 * SECOND);
    check(&mut bench);
    assert_eq!(bench.left(Cause::Absent), 4);
}

#[test]
fn hands_over_entries_that_are_restored_later() {
    let state = {
        let mut bench = Bench::new();
        bench.crowd(5);
        bench.distributor.snapshot().into_bytes()
    };
    let restored = Restored::decode(&state, &RegistrationLimits::default()).unwrap();
    let mut bench = Bench::new();
    let sink = Newest::default();
    let net = bench.reactor.net();
    bench.distributor.persist_to(net, sink.clone());
    bench.distributor.restore(net, restored);
    bench.pass(60 * MILLI);
    assert_eq!(sink.0.borrow().clone().into_bytes(), state);
}

#[test]
fn restores_the_list_after_a_restart() {
    let mut bench = Bench::new();
    let crowd = bench.crowd(3);
    bench.join("plain", &Value::Null);
    let saved = |bench: &Bench| bench.distributor.snapshot().into_bytes();
    let decode = |bytes: &[u8]| Restored::decode(bytes, &RegistrationLimits::default()).unwrap();
    let state = saved(&bench);
    // Neither a stop nor the end of connections after it removes entries from the list.
    bench.distributor.stop(bench.reactor.net());
    for socket in crowd {
        bench.world().end(socket);
    }
    bench.settle();
    assert_eq!(saved(&bench), state);

    // Nor does a start, or a second one before any node has reconnected.
    let bench = Bench::restoring(decode(&state));
    assert_eq!(saved(&bench), state);
    let mut bench = Bench::restoring(decode(&saved(&bench)));
    assert_eq!(bench.distributor.registry().len(), 4);
    bench.join("plain", &Value::Null);
    bench.join("n1", &json!({"watch": "none", "instance": "a1"}));
    bench.pass(9 * SECOND);
    assert_eq!(saved(&bench), state, "unchanged");
    let pushes = bench.distributor.stats().pushes;
    bench.pass(SECOND);
    assert_eq!(bench.distributor.registry().len(), 2);
    assert_eq!(bench.left(Cause::Absent), 2);
    let pushes = bench.distributor.stats().pushes - pushes;
    assert!(pushes <= 2, "they leave together");
}

#[test]
fn announces_the_complete_list_once() {
    // A warm-up began when the list was restored, and another one when it listened.
    let mut bench = Bench::new();
    let watcher = bench.join("watcher", &json!({"watch": "delta"}));
    bench.pass(9 * SECOND);
    bench.beat(&[watcher]);
    let before = bench.distributor.registry().revision();
    bench.pass(2 * SECOND);
    assert!(bench.distributor.warm_up.is_complete());
    assert_eq!(bench.distributor.registry().revision(), before + 1);
}
