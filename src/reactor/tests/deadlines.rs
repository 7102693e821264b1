use super::*;

#[test]
fn limits_the_time_of_a_frame_however_many_bytes_arrive() {
    let mut bench = Bench::new();
    let (_, socket) = bench.accept();
    bench.world().arrive(socket, "whole¶".as_bytes());
    bench.pass(20 * SECOND);
    for _ in 0..99 {
        bench.world().arrive(socket, b"x");
        bench.pass(100 * MILLI);
    }
    assert_eq!(bench.handler.take_log(), ["frame whole"]);
    bench.pass(200 * MILLI);
    assert_eq!(
        bench.handler.take_log(),
        ["limit FrameTimeout", "closed FrameTimeout"]
    );
    assert_eq!(bench.written(socket), "too much¶");
    bench.pass(2 * SECOND);
    bench.assert_at_baseline();
}

#[test]
fn gives_each_frame_its_own_time() {
    let mut bench = Bench::new();
    let (_, socket) = bench.accept();
    bench.world().arrive(socket, b"begin");
    for _ in 0..10 {
        bench.pass(9 * SECOND);
        bench.world().arrive(socket, "end¶begin".as_bytes());
    }
    bench.pass(9 * SECOND);
    assert_eq!(bench.handler.count("frame"), 10);
    assert_eq!(bench.handler.count("limit"), 0);
    bench.pass(2 * SECOND);
    assert_eq!(bench.handler.count("limit FrameTimeout"), 1);
}

#[test]
fn starts_no_frame_with_white_space() {
    let mut bench = Bench::new();
    let (_, socket) = bench.accept();
    bench.world().arrive(socket, "{}¶\r\n ".as_bytes());
    bench.pass(100 * SECOND);
    assert_eq!(bench.handler.take_log(), ["frame {}"]);
}

#[test]
fn closes_silent_connections_before_the_first_byte_only() {
    let mut bench = Bench::new();
    let (_, silent) = bench.accept();
    let (_, spoken) = bench.accept();
    bench.world().arrive(spoken, "{}¶".as_bytes());
    bench.pass(59 * SECOND);
    assert_eq!(bench.handler.take_log(), ["frame {}"]);
    bench.pass(2 * SECOND);
    assert_eq!(
        bench.handler.take_log(),
        ["limit NoFirstByte", "closed NoFirstByte"]
    );
    bench.pass(300 * SECOND);
    assert!(!bench.world().is_open(silent));
    assert!(bench.world().is_open(spoken));
}

#[test]
fn treats_white_space_as_silence() {
    let mut bench = Bench::new();
    let (_, socket) = bench.accept();
    for _ in 0..7 {
        bench.world().arrive(socket, " ¶\r\n".as_bytes());
        bench.pass(9 * SECOND);
    }
    assert_eq!(
        bench.handler.take_log(),
        ["limit NoFirstByte", "closed NoFirstByte"]
    );
}

#[test]
fn does_not_count_the_time_of_a_pause() {
    let mut bench = Bench::new();
    let (conn, socket) = bench.accept();
    bench.reactor.net().pause(conn);
    bench.world().arrive(socket, "{}¶".as_bytes());
    bench.pass(61 * SECOND);
    assert!(bench.handler.take_log().is_empty());
    bench.reactor.net().resume(conn);
    bench.settle();
    assert_eq!(bench.handler.take_log(), ["frame {}"]);
}

#[test]
fn does_not_extend_the_time_of_raw_bytes() {
    let mut bench = raw_bench(Limits::default());
    let (_, socket) = bench.accept();
    bench.world().arrive(socket, b"x");
    bench.pass(9 * SECOND);
    bench.world().arrive(socket, b"x");
    bench.pass(2 * SECOND);
    assert_eq!(bench.handler.count("closed FrameTimeout"), 1);
}

#[test]
fn measures_deadlines_from_calls_between_turns() {
    let mut bench = Bench::new();
    let (conn, socket) = bench.accept();
    bench.world().arrive(socket, b"begin");
    bench.settle();
    bench.reactor.net().pause(conn);
    bench.pass(600 * SECOND);
    // A host loop was busy elsewhere.
    let later = bench.world().now + 9_900 * MILLI;
    bench.world().now = later;
    bench.reactor.net().resume(conn);
    bench.handler.take_log();
    bench.pass(5 * SECOND);
    assert!(bench.handler.take_log().is_empty());

    let mut bench = Bench::new();
    bench.turn();
    bench.world().now = Time::from_millis(600_000);
    let later = bench.reactor.now() + 5 * SECOND;
    bench.reactor.net().arm(Owner::default(), later, 1);
    bench
        .reactor
        .net()
        .connect(any_addr(), ConnectOptions::default());
    bench.pass(2 * SECOND);
    assert!(bench.handler.take_log().is_empty());
    assert_eq!(bench.reactor.net().counters().stalls, 0);
}
