//! Tests of silence, self-preservation and limits.

use super::*;

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
    // The node reads a byte at a time, and nothing is read from it while its list is pending.
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

/// Sends a heartbeat that the budget of the next turn does not reach, and skips the time up to it.
fn beat_past_the_budget(bench: &mut Bench, session: SocketId, skipped: Duration) {
    let mut bytes = vec![b' '; Limits::default().max_read_bytes_per_turn];
    let heartbeat = r#"{"uri":"/distributes/heartbeat","method":"POST","key":1}¶"#;
    bytes.extend_from_slice(heartbeat.as_bytes());
    bench.world().arrive(session, &bytes);
    let resumed_at = bench.world().now + skipped;
    bench.world().now = resumed_at;
    bench.settle();
}

#[test]
fn reads_all_that_a_session_sent_before_it_counts_as_silent() {
    let mut bench = Bench::new();
    let session = bench.join("late", &json!({"watch": "none"}));
    bench.pass(14_600 * MILLI);
    beat_past_the_budget(&mut bench, session, 900 * MILLI);
    assert_eq!(bench.distributor.registry().len(), 1);
    bench.pass(16 * SECOND);
    assert_eq!(bench.left(Cause::Silent), 1);
}

#[test]
fn reads_all_that_a_suspect_sent_before_it_is_evicted() {
    let mut bench = Bench::new();
    let crowd = bench.crowd(20);
    while bench.left(Cause::Silent) == 0 {
        bench.pass(100 * MILLI);
    }
    bench.pass(60 * MILLI);
    let is_open = |bench: &Bench, socket: SocketId| bench.world().is_open(socket);
    let first_open = crowd.iter().find(|socket| is_open(&bench, **socket));
    let next = *first_open.unwrap();
    beat_past_the_budget(&mut bench, next, 950 * MILLI);
    assert!(is_open(&bench, next));
    bench.pass(5 * SECOND);
    assert!(is_open(&bench, next));
    assert!(bench.left(Cause::Silent) > 3);
}

#[test]
fn holds_many_silent_sessions_and_evicts_one_per_second() {
    let mut bench = Bench::new();
    let crowd = bench.crowd(20);
    // The nodes fall silent one after the other, as they send heartbeats: the first is not evicted
    // at once.
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
        .map(|(_, entry)| entry.keys.name.to_string())
        .collect();
    assert_eq!(names[0], "n9", "in its old place");
}

#[test]
fn reads_everything_after_a_stall_and_holds_the_silent() {
    let mut bench = Bench::new();
    let crowd = bench.crowd(10);
    bench.pass(10 * SECOND);
    bench.beat(&crowd);
    // The process is stopped, while all but one send heartbeats.
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
