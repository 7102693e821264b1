use super::*;

#[test]
fn resumes_an_interrupted_wait_with_the_rest_of_it() {
    let mut bench = Bench::new();
    bench.world().interruptions = [300 * MILLI, 300 * MILLI].into();
    bench
        .reactor
        .turn(Some(SECOND), &mut bench.handler)
        .unwrap();
    let expected = [1000, 700, 400].map(|left| Some(left * MILLI));
    assert_eq!(bench.world().timeouts, expected);
    assert_eq!(bench.world().now, Time::from_millis(1000));
}

#[test]
fn reads_everything_after_a_stall_before_anything_expires() {
    let limits = Limits {
        max_read_bytes_per_turn: 4,
        ..Limits::default()
    };
    let mut bench = Bench::with(limits, ListenOptions::default());
    let (_, socket) = bench.accept();
    bench.world().arrive(socket, b"beg");
    bench.settle();
    let tag = 5;
    let deadline = bench.reactor.net().now() + SECOND;
    bench.reactor.net().arm(Owner::default(), deadline, tag);
    bench.handler.take_log();

    // The process is stopped; its peer is not, and sends more than one turn reads.
    bench.world().now = Time::from_millis(60_000);
    bench.world().arrive(socket, "in, and the end¶".as_bytes());
    bench.settle();
    assert_eq!(
        bench.handler.take_log(),
        [
            "first bytes begin, ",
            "first bytes begin, and ",
            "first bytes begin, and the ",
            "first bytes begin, and the end\u{fffd}",
            "frame begin, and the end",
            "timer 5 under 0",
        ]
    );
    assert_eq!(bench.reactor.net().counters().stalls, 1);
}

#[test]
fn expires_timers_although_reading_never_ends() {
    let mut bench = Bench::new();
    let (_, socket) = bench.accept();
    let deadline = bench.reactor.net().now() + MILLI;
    bench.reactor.net().arm(Owner::default(), deadline, 5);
    bench.world().now = Time::from_millis(60_000);
    for _ in 0..20 {
        bench.world().arrive(socket, "x¶".as_bytes());
        bench.turn();
        let now = bench.world().now + 100 * MILLI;
        bench.world().now = now;
    }
    assert_eq!(bench.handler.count("timer 5"), 1);
}

#[test]
fn sleeps_no_longer_than_until_the_next_timer() {
    let mut bench = Bench::new();
    let timer = bench
        .reactor
        .net()
        .arm(Owner::default(), Time::from_millis(30), 1);
    bench
        .reactor
        .net()
        .arm(Owner::default(), Time::from_millis(10), 2);
    bench.reactor.turn(None, &mut bench.handler).unwrap();
    assert_eq!(bench.handler.take_log(), ["timer 2 under 0"]);
    assert_eq!(bench.world().now, Time::from_millis(10));
    assert!(bench.reactor.net().disarm(timer));
    assert!(!bench.reactor.net().disarm(timer));
    bench.pass(SECOND);
    assert!(bench.handler.take_log().is_empty());
    assert_eq!(bench.reactor.next_deadline(), None);
}

#[test]
fn calls_on_wake_once_for_several_wakes() {
    let mut bench = Bench::new();
    bench.world().events = vec![Event::Wake, Event::Wake];
    bench.turn();
    assert_eq!(bench.handler.take_log(), ["wake"]);
}

#[test]
fn calls_back_under_the_owner_that_made_it() {
    let mut bench = Bench::new();
    let net = bench.reactor.net();
    let owner = net.new_owner();
    net.arm(owner, Time::from_millis(1), 1);
    let options = ConnectOptions {
        owner,
        ..ConnectOptions::default()
    };
    net.connect(any_addr(), options);
    bench.world().socket(SocketId(1)).connected = Some(Ok(()));
    bench.world().event(SocketId(1), false, true, false);
    bench.pass(2 * MILLI);
    assert_eq!(
        bench.handler.take_log(),
        ["connected under 1", "timer 1 under 1"]
    );
}
