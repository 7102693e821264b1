//! Tests of the Distributor on a scripted system, in virtual time.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::rc::Rc;

use serde_json::{Value, json};

use super::*;
use crate::protocol::RegistrationLimits;
use crate::reactor::{Limits, Reactor};
use crate::registry::Cause;
use crate::sys::SocketId;
use crate::testing::scripted::{Read, Scripted, World, Write};

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// A Distributor, and nodes whose frames a test writes.
struct Bench {
    system: Scripted,
    reactor: Reactor,
    distributor: Distributor,
    listener: SocketId,
}

impl Bench {
    fn new() -> Bench {
        Bench::restoring(Restored::default())
    }

    fn restoring(restored: Restored) -> Bench {
        let system = Scripted::new();
        let mut reactor = Reactor::on(Box::new(system.clone()), Limits::default());
        let mut distributor = Distributor::new(Config::default());
        distributor.restore(reactor.net(), restored);
        let addr = "127.0.0.1:9000".parse().unwrap();
        distributor.listen(reactor.net(), addr).unwrap();
        Bench {
            system,
            reactor,
            distributor,
            listener: SocketId(0),
        }
    }

    fn world(&self) -> std::cell::RefMut<'_, World> {
        self.system.world()
    }

    /// Lets virtual time pass, in as many turns as the reactor wants.
    fn pass(&mut self, time: Duration) {
        self.system
            .pass(&mut self.reactor, &mut self.distributor, time);
    }

    fn settle(&mut self) {
        for _ in 0..20 {
            self.pass(Duration::ZERO);
        }
    }

    fn connect(&mut self) -> SocketId {
        let listener = self.listener;
        self.world().connect(listener);
        self.settle();
        self.world().last_accepted()
    }

    fn join(&mut self, name: &str, session: &Value) -> SocketId {
        let socket = self.connect();
        self.world().register(socket, name, session);
        self.settle();
        socket
    }

    fn beat(&mut self, sockets: &[SocketId]) {
        for socket in sockets {
            self.world().beat(*socket, 0);
        }
        self.settle();
    }

    /// Adds numbered nodes with a session.
    fn crowd(&mut self, count: usize) -> Vec<SocketId> {
        (0..count)
            .map(|number| {
                let session = json!({"watch": "none", "instance": format!("a{number}")});
                self.join(&format!("n{number}"), &session)
            })
            .collect()
    }

    /// Lets time pass while these send heartbeats. Returns when how many entries left.
    fn departures(&mut self, seconds: u64, beating: &[SocketId]) -> Vec<(Duration, usize)> {
        let began = self.world().now;
        let mut gone = Vec::new();
        for tenth in 0..seconds * 10 {
            if tenth % 50 == 0 {
                self.beat(beating);
            }
            let before = self.distributor.registry().len();
            self.pass(100 * MILLI);
            let left = before - self.distributor.registry().len();
            if left > 0 {
                gone.push((self.world().now.saturating_since(began), left));
            }
        }
        gone
    }

    fn left(&self, cause: Cause) -> u64 {
        self.distributor.registry().departures(cause)
    }

    fn kernel_gives_up(&mut self, socket: SocketId) {
        let fails = Read::Fails(ErrorKind::TimedOut);
        self.world().socket(socket).reads.push_back(fails);
        self.world().event(socket, true, false, true);
    }
}

#[test]
fn removes_few_silent_sessions_at_once_and_no_plain_node() {
    let mut bench = Bench::new();
    let crowd = bench.crowd(20);
    let plain = bench.join("plain", &Value::Null);
    let gone = bench.departures(30, &crowd[3..]);
    assert_eq!(gone.iter().map(|(_, count)| count).sum::<usize>(), 3);
    assert_eq!(gone.len(), 1, "{gone:?}");
    assert!(gone[0].0 <= 16 * SECOND, "{gone:?}");
    assert_eq!(bench.left(Cause::Silent), 3);
    assert_eq!(bench.distributor.stats().suspects_held, 0);
    let is_open = |socket: &SocketId| bench.world().is_open(*socket);
    assert!(!crowd[..3].iter().any(is_open));
    assert!(crowd[3..].iter().all(is_open) && is_open(&plain));
}

#[test]
fn does_not_take_a_session_for_silent_while_it_waits_for_its_list() {
    let mut bench = Bench::new();
    let slow = bench.join("slow", &json!({"watch": "list"}));
    bench.world().take_sent(slow);
    // It reads a byte at a time, and while its list is pending nothing is read from it.
    bench.world().socket(slow).writes = [Write::Takes(1); 100].into();
    bench.join("other", &Value::Null);
    bench.pass(SECOND);
    let get = json!({"uri": "/distributes", "method": "GET", "key": 7});
    bench.world().send(slow, &get);
    for _ in 0..12 {
        bench.pass(5 * SECOND);
        bench.world().event(slow, false, true, false);
    }
    assert_eq!(bench.distributor.registry().len(), 2);
    bench.world().socket(slow).writes.clear();
    bench.world().event(slow, false, true, false);
    bench.settle();
    let sent = bench.world().take_sent(slow);
    assert_eq!(sent.iter().filter(|packet| packet["key"] == 7).count(), 1);
}

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

#[test]
fn takes_any_frame_as_a_sign_of_life() {
    let mut bench = Bench::new();
    let crowd = bench.crowd(4);
    for _ in 0..3 {
        bench.pass(10 * SECOND);
        bench.world().arrive(crowd[0], "nonsense¶".as_bytes());
        bench
            .world()
            .send(crowd[1], &json!({"key": 1, "errorcode": 0}));
        bench
            .world()
            .send(crowd[2], &json!({"uri": "/", "method": "GET"}));
        bench.settle();
    }
    assert_eq!(bench.distributor.registry().len(), 3);
    assert_eq!(bench.left(Cause::Silent), 1);
}

#[test]
fn holds_many_silent_sessions_and_evicts_one_per_second() {
    let mut bench = Bench::new();
    let crowd = bench.crowd(20);
    // One after the other, like heartbeats: not even the first leaves at once.
    for silent in &crowd[..8] {
        bench.beat(&[*silent]);
        bench.pass(400 * MILLI);
    }
    let gone = bench.departures(15, &crowd[8..]);
    assert!(!gone.is_empty());
    assert!(gone.iter().all(|(_, count)| *count == 1), "{gone:?}");
    let times: Vec<Duration> = gone.iter().map(|(at, _)| *at).collect();
    let pauses = times.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(pauses.clone().all(|pause| pause >= SECOND), "{gone:?}");
    // The last two send heartbeats again.
    bench.beat(&crowd[6..]);
    bench.departures(30, &crowd[6..]);
    assert_eq!(bench.distributor.registry().len(), 14);
    assert_eq!(bench.left(Cause::Silent), 6);
    assert_eq!(bench.left(Cause::Closed), 0);
}

#[test]
fn holds_no_entry_after_an_orderly_end_or_a_reset() {
    let mut bench = Bench::new();
    let crowd = bench.crowd(10);
    bench.departures(15, &crowd[8..]);
    assert!(bench.distributor.registry().len() > 4, "they are held");
    for socket in &crowd[..4] {
        bench.world().end(*socket);
    }
    for socket in &crowd[4..9] {
        let reset = Read::Fails(ErrorKind::ConnectionReset);
        bench.world().socket(*socket).reads.push_back(reset);
        bench.world().event(*socket, true, false, true);
    }
    bench.settle();
    assert_eq!(bench.distributor.registry().len(), 1);
}

#[test]
fn holds_entries_of_many_unreachable_hosts() {
    let mut bench = Bench::new();
    let plain: Vec<SocketId> = (0..20)
        .map(|number| bench.join(&format!("n{number}"), &Value::Null))
        .collect();
    for socket in &plain[..10] {
        bench.kernel_gives_up(*socket);
    }
    bench.settle();
    // Three of twenty are not a mass loss.
    assert_eq!(bench.left(Cause::Silent), 3);
    assert_eq!(bench.distributor.registry().len(), 17);
    // A node that reconnects claims its entry at once.
    bench.join("n9", &Value::Null);
    assert_eq!(bench.distributor.registry().len(), 17);
    let gone = bench.departures(20, &[]);
    assert_eq!(gone.len(), 6, "{gone:?}");
    assert!(gone.iter().all(|(_, count)| *count == 1), "{gone:?}");
    assert_eq!(bench.left(Cause::Silent), 9);
    let names: Vec<String> = bench
        .distributor
        .registry()
        .iter()
        .map(|(_, entry)| entry.name.to_string())
        .collect();
    assert_eq!(names[0], "n9", "in its old place");
}

#[test]
fn reads_everything_after_a_stall_and_holds_the_silent() {
    let mut bench = Bench::new();
    let crowd = bench.crowd(10);
    bench.pass(10 * SECOND);
    bench.beat(&crowd);
    // The process stands still, while all but one send heartbeats.
    let later = bench.world().now + 20 * SECOND;
    bench.world().now = later;
    bench.beat(&crowd[1..]);
    bench.pass(600 * MILLI);
    assert_eq!(bench.distributor.registry().len(), 10);
    assert_eq!(bench.distributor.stats().suspects_held, 1);
    bench.beat(&crowd);
    bench.departures(4, &crowd);
    assert_eq!(bench.distributor.registry().len(), 10);
    // The same without a stall: one of ten leaves at once.
    bench.departures(20, &crowd);
    let held = bench.distributor.stats().suspects_held;
    let gone = bench.departures(20, &crowd[1..]);
    assert_eq!(gone.len(), 1);
    assert_eq!(bench.distributor.stats().suspects_held, held);
}

#[test]
fn counts_each_limit_separately() {
    let mut bench = Bench::new();
    let _silent = bench.connect();
    let slow = bench.connect();
    bench.world().arrive(slow, b"{");
    let long = bench.connect();
    bench.world().arrive(long, &[b'x'; 70_000]);
    bench.pass(62 * SECOND);
    let stats = bench.distributor.stats();
    let counts = [
        stats.first_byte_timeouts,
        stats.frame_timeouts,
        stats.frames_too_large,
        stats.write_timeouts,
        stats.unsent_overflows,
    ];
    assert_eq!(counts, [1, 1, 1, 0, 0]);
}

/// Records when it was handed how many entries.
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

#[test]
fn restores_the_list_after_a_restart() {
    let mut bench = Bench::new();
    let crowd = bench.crowd(3);
    bench.join("plain", &Value::Null);
    let saved = |bench: &Bench| bench.distributor.snapshot().into_bytes();
    let decode = |bytes: &[u8]| Restored::decode(bytes, &RegistrationLimits::default()).unwrap();
    let state = saved(&bench);
    // Neither a stop nor the end of connections after it empties the list.
    bench.distributor.stop(bench.reactor.net());
    for socket in crowd {
        bench.world().end(socket);
    }
    bench.settle();
    assert_eq!(saved(&bench), state);

    // Nor does a start, nor a second one before any node has reconnected.
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

/// Returns the number of pushes in a second in which the list changes every 5 ms and each write takes
/// 1 ms. One more node, with `changer_watches`, makes the changes.
fn pushes_in_a_second(watches: &[&str], changer_watches: &str) -> u64 {
    let mut bench = Bench::new();
    let session = |watch: &str| json!({"version": 1, "watch": watch});
    let mut all: Vec<SocketId> = watches
        .iter()
        .enumerate()
        .map(|(number, watch)| bench.join(&format!("watcher-{number}"), &session(watch)))
        .collect();
    all.push(bench.join("changer", &session(changer_watches)));
    // Until the list is complete, and was sent once more.
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
    // A watching node that joins is sent a list: one among many changes.
    let with_a_list = pushes_in_a_second(&["delta"; 10], "list");
    assert!(with_a_list >= lists * 3 / 2, "{with_a_list} {lists}");
}
