use super::*;

#[test]
fn opens_once_connected_and_sends_the_queue() {
    let mut bench = Bench::new();
    let conn = bench
        .reactor
        .net()
        .connect(any_addr(), ConnectOptions::default());
    send(bench.reactor.net(), conn, "hello");
    let socket = SocketId(1);
    bench.world().event(socket, false, true, false);
    bench.settle();
    assert!(
        bench.handler.take_log().is_empty(),
        "it is not connected yet"
    );
    bench.world().socket(socket).connected = Some(Ok(()));
    bench.world().event(socket, false, true, false);
    bench.settle();
    assert_eq!(bench.handler.take_log(), ["connected under 0"]);
    assert_eq!(bench.written(socket), "hello¶");
    bench.world().arrive(socket, "hi¶".as_bytes());
    bench.turn();
    assert_eq!(bench.handler.take_log(), ["frame hi"]);
    bench.pass(100 * SECOND);
    assert!(
        bench.handler.take_log().is_empty(),
        "an outgoing connection has no first-byte timeout"
    );
}

#[test]
fn connects_from_the_given_address() {
    let mut bench = Bench::new();
    let source = Some("127.0.0.2".parse().unwrap());
    for source in [None, source] {
        let options = ConnectOptions {
            source,
            ..ConnectOptions::default()
        };
        bench.reactor.net().connect(any_addr(), options);
    }
    assert_eq!(bench.world().socket(SocketId(1)).source, None);
    assert_eq!(bench.world().socket(SocketId(2)).source, source);
}

#[test]
fn reports_a_refused_connect_once_although_it_looks_writable() {
    let mut bench = Bench::new();
    bench
        .reactor
        .net()
        .connect(any_addr(), ConnectOptions::default());
    let refused = Some(Err(ErrorKind::ConnectionRefused));
    bench.world().socket(SocketId(1)).connected = refused;
    bench.world().event(SocketId(1), true, true, true);
    bench.settle();
    assert_eq!(
        bench.handler.take_log(),
        ["closed ConnectFailed(ConnectionRefused)"]
    );
    bench.assert_at_baseline();
}

#[test]
fn reports_a_connect_that_fails_at_once_in_the_next_turn() {
    let mut bench = Bench::new();
    bench.world().connect_fails = Some(ErrorKind::NetworkUnreachable);
    bench.handler.on_close = Some(Box::new(|net| {
        net.connect(any_addr(), ConnectOptions::default());
    }));
    bench
        .reactor
        .net()
        .connect(any_addr(), ConnectOptions::default());
    for turns in 1..=3 {
        bench.reactor.turn(None, &mut bench.handler).unwrap();
        assert_eq!(
            bench
                .handler
                .count("closed ConnectFailed(NetworkUnreachable)"),
            turns
        );
    }
}

#[test]
fn limits_how_long_connecting_takes() {
    let mut bench = Bench::new();
    bench
        .reactor
        .net()
        .connect(any_addr(), ConnectOptions::default());
    bench.pass(2999 * MILLI);
    assert!(bench.handler.take_log().is_empty());
    bench.pass(2 * MILLI);
    assert_eq!(bench.handler.take_log(), ["closed ConnectTimeout"]);
    bench.assert_at_baseline();
}
