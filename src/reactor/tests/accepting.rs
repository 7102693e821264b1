use super::*;

#[test]
fn accepts_beyond_the_budget_without_another_event() {
    let limits = Limits {
        max_accepts_per_turn: 4,
        ..Limits::default()
    };
    let mut bench = Bench::with(limits, ListenOptions::default());
    bench.world().accepts = [Accept::Connection; 10].into();
    let listener = bench.listener;
    bench.world().event(listener, true, false, false);
    bench.turn();
    assert_eq!(bench.handler.count("accepted"), 4);
    bench.settle();
    assert_eq!(bench.handler.count("accepted"), 10);
}

#[test]
fn retries_by_timer_when_there_is_no_fd() {
    let mut bench = Bench::new();
    // The reserve does not help: another process takes the fd at once.
    let failing = [Accept::NoFdAtAll; 8];
    bench.world().accepts = failing.into();
    bench.world().accepts.push_back(Accept::Connection);
    let listener = bench.listener;
    bench.world().event(listener, true, false, false);
    bench.turn();
    assert!(bench.handler.take_log().is_empty());
    // Each attempt calls accept twice, and no event is reported. The pauses are 10, 20, 40 and 80
    // ms.
    bench.pass(149 * MILLI);
    assert!(bench.handler.take_log().is_empty());
    bench.pass(2 * MILLI);
    assert_eq!(bench.handler.take_log(), ["accepted under 0"]);
    assert_eq!(bench.reactor.net().counters().accept_failures, 4);
}

#[test]
fn retries_at_once_when_an_fd_is_freed() {
    let mut bench = Bench::new();
    let (conn, _) = bench.accept();
    bench.world().accepts = [Accept::NoFdAtAll; 2].into();
    bench.world().accepts.push_back(Accept::Connection);
    let listener = bench.listener;
    bench.world().event(listener, true, false, false);
    bench.turn();
    bench.reactor.net().close(conn, Close::Now);
    bench.turn();
    bench.turn();
    assert_eq!(
        bench.handler.take_log(),
        ["closed Local", "accepted under 0"]
    );
    assert_eq!(bench.world().now, Time::ZERO);
}

#[test]
fn refuses_with_the_reserved_fd_when_there_is_no_other() {
    let refusal = SharedFrame::new(|out| out.extend_from_slice(b"busy"));
    let options = ListenOptions {
        refusal,
        ..ListenOptions::default()
    };
    let mut bench = Bench::with(Limits::default(), options);
    bench.world().accepts = [Accept::NoFd, Accept::NoFd, Accept::Connection].into();
    let listener = bench.listener;
    bench.world().event(listener, true, false, false);
    bench.settle();
    assert_eq!(bench.handler.take_log(), ["accepted under 0"]);
    assert_eq!(bench.reactor.net().counters().shed, 2);
    assert!(bench.world().reserve);
    assert_eq!(bench.world().sockets.len(), 2);
}

#[test]
fn skips_connections_that_ended_before_they_were_accepted() {
    let mut bench = Bench::new();
    bench.world().accepts = [
        Accept::Fails(ErrorKind::ConnectionAborted),
        Accept::Fails(ErrorKind::Interrupted),
        Accept::Connection,
    ]
    .into();
    let listener = bench.listener;
    bench.world().event(listener, true, false, false);
    bench.turn();
    assert_eq!(bench.handler.take_log(), ["accepted under 0"]);
}

#[test]
fn sends_the_refusal_when_there_are_too_many() {
    let limits = Limits {
        max_connections: 1,
        ..Limits::default()
    };
    let refusal = SharedFrame::new(|out| out.extend_from_slice(b"busy"));
    let options = ListenOptions {
        refusal,
        ..ListenOptions::default()
    };
    let mut bench = Bench::with(limits, options);
    let (first, _) = bench.accept();
    bench.world().accepts = [Accept::Connection; 40].into();
    let listener = bench.listener;
    bench.world().event(listener, true, false, false);
    bench.settle();
    assert!(
        bench.handler.take_log().is_empty(),
        "refused connections are not reported"
    );
    assert_eq!(bench.reactor.net().counters().refused, 40);
    let refused = bench.world().accepted[1];
    assert_eq!(bench.written(refused), "busy¶");
    assert!(bench.world().socket(refused).shut_down);
    bench.pass(2 * SECOND);
    assert_eq!(bench.reactor.net().connections(), 1);

    bench.reactor.net().close(first, Close::Now);
    bench.turn();
    bench.accept();
    assert_eq!(bench.reactor.net().counters().accepted, 2);
}

#[test]
fn limits_the_connections_of_an_owner() {
    let options = ListenOptions {
        max_connections: Some(2),
        ..ListenOptions::default()
    };
    let mut bench = Bench::with(Limits::default(), options);
    let other = bench.reactor.net().new_owner();
    let of_other = ConnectOptions {
        owner: other,
        ..ConnectOptions::default()
    };
    bench.reactor.net().connect(any_addr(), of_other);
    let (first, _) = bench.accept();
    bench.accept();
    for (accepted, refused) in [(2, 1), (2, 2)] {
        bench.world().accepts = [Accept::Connection].into();
        let listener = bench.listener;
        bench.world().event(listener, true, false, false);
        bench.settle();
        bench.pass(2 * SECOND);
        let counters = bench.reactor.net().counters();
        assert_eq!((counters.accepted, counters.refused), (accepted, refused));
    }
    bench.reactor.net().close(first, Close::Now);
    bench.settle();
    bench.accept();
    assert_eq!(bench.reactor.net().counters().accepted, 3);
}

#[test]
fn accepts_nothing_on_a_closed_listener() {
    let mut bench = Bench::new();
    let id = ListenerId(0);
    assert_eq!(bench.reactor.net().local_addr(id), Some(any_addr()));
    bench.world().accepts.push_back(Accept::Connection);
    let listener = bench.listener;
    bench.world().event(listener, true, false, false);
    bench.reactor.net().close_listener(id);
    bench.turn();
    assert!(bench.handler.take_log().is_empty());
    assert_eq!(bench.reactor.net().local_addr(id), None);
    assert!(bench.world().sockets.is_empty());
}

#[test]
fn skips_an_accept_error_of_one_connection() {
    let mut bench = Bench::new();
    let denied = Accept::Fails(ErrorKind::PermissionDenied);
    bench.world().accepts = [denied, Accept::Connection].into();
    let listener = bench.listener;
    bench.world().event(listener, true, false, false);
    bench.settle();
    bench.pass(SECOND);
    assert_eq!(bench.handler.take_log(), ["accepted under 0"]);
}
