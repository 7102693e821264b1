use super::*;

#[test]
fn calls_on_close_once_for_a_reset() {
    for (reads, events) in [(true, 1), (true, 3), (false, 1)] {
        let mut bench = Bench::new();
        let (conn, socket) = bench.accept();
        if reads {
            let reset = Read::Fails(ErrorKind::ConnectionReset);
            bench.world().socket(socket).reads.push_back(reset);
        } else {
            let reset = Write::Fails(ErrorKind::ConnectionReset);
            bench.world().socket(socket).writes.push_back(reset);
        }
        send(bench.reactor.net(), conn, "into the void");
        for _ in 0..events {
            bench.world().event(socket, reads, true, true);
        }
        bench.settle();
        assert_eq!(bench.handler.take_log(), ["closed Failed(ConnectionReset)"]);
        bench.assert_at_baseline();
    }
}

#[test]
fn reports_a_peer_that_the_kernel_gave_up_as_vanished() {
    let mut bench = Bench::new();
    let (_, socket) = bench.accept();
    bench
        .world()
        .socket(socket)
        .reads
        .push_back(Read::Fails(ErrorKind::TimedOut));
    bench.world().event(socket, true, true, true);
    bench.turn();
    assert_eq!(bench.handler.take_log(), ["closed PeerVanished"]);
}

#[test]
fn delivers_nothing_more_of_a_batch_after_a_close() {
    let mut bench = Bench::new();
    let (victim, victim_socket) = bench.accept();
    let (_, socket) = bench.accept();
    bench.handler.react = Some(Box::new(move |net, _, _| net.close(victim, Close::Now)));
    bench
        .world()
        .arrive(socket, "{\"close\":\"the other\"}¶".as_bytes());
    bench
        .world()
        .arrive(victim_socket, "{\"never\":\"seen\"}¶".as_bytes());
    bench.settle();
    assert_eq!(
        bench.handler.take_log(),
        ["frame {\"close\":\"the other\"}", "closed Local"]
    );
    assert!(!bench.world().is_open(victim_socket));
}

#[test]
fn writes_the_queue_and_discards_input_in_an_orderly_close() {
    let mut bench = Bench::new();
    let (conn, socket) = bench.accept();
    send(bench.reactor.net(), conn, "goodbye");
    bench
        .world()
        .socket(socket)
        .writes
        .push_back(Write::Takes(3));
    bench.reactor.net().close(conn, Close::AfterFlush);
    bench.world().arrive(socket, "{\"unread\":1}¶".as_bytes());
    bench.settle();
    assert_eq!(bench.handler.take_log(), ["closed Local"]);
    assert!(!bench.world().socket(socket).shut_down);
    bench.world().event(socket, false, true, false);
    bench.settle();
    assert_eq!(bench.written(socket), "goodbye¶");
    assert!(bench.world().socket(socket).shut_down);
    assert!(bench.world().is_open(socket), "unread input would reset it");
    bench.world().end(socket);
    bench.settle();
    assert!(bench.handler.take_log().is_empty());
    bench.assert_at_baseline();
}

#[test]
fn limits_how_long_a_close_lingers() {
    // The peer neither reads nor closes.
    let mut bench = Bench::new();
    let (conn, _) = bench.accept();
    bench.reactor.net().close(conn, Close::AfterFlush);
    bench.pass(2 * SECOND);
    bench.assert_at_baseline();

    // The peer sends endlessly.
    let (conn, socket) = bench.accept();
    bench.reactor.net().close(conn, Close::AfterFlush);
    bench.world().arrive(socket, &[b'x'; 200_000]);
    bench.settle();
    bench.assert_at_baseline();

    // The peer reads nothing of the queue.
    let (conn, socket) = bench.accept();
    send(bench.reactor.net(), conn, "never read");
    bench.world().socket(socket).writes = [Write::Fails(ErrorKind::WouldBlock)].into();
    bench.reactor.net().close(conn, Close::AfterFlush);
    bench.pass(11 * SECOND);
    bench.assert_at_baseline();
}

#[test]
fn writes_the_queue_after_the_end_of_the_peer() {
    let mut bench = Bench::new();
    let (_, socket) = bench.accept();
    bench.handler.react = Some(Box::new(|net, conn, _| send(net, conn, "answer")));
    bench
        .world()
        .socket(socket)
        .writes
        .push_back(Write::Takes(2));
    bench.world().arrive(socket, "question¶".as_bytes());
    bench.world().end(socket);
    bench.turn();
    assert_eq!(
        bench.handler.take_log(),
        ["frame question", "closed PeerClosed"]
    );
    bench.world().event(socket, false, true, false);
    bench.settle();
    bench.assert_at_baseline();
}

#[test]
fn calls_on_close_once_and_aborts_if_one_close_does() {
    let mut bench = Bench::new();
    let (conn, socket) = bench.accept();
    send(bench.reactor.net(), conn, "lost");
    bench.reactor.net().close(conn, Close::AfterFlush);
    bench.reactor.net().close(conn, Close::Now);
    bench.turn();
    assert_eq!(bench.handler.take_log(), ["closed Local"]);
    assert!(!bench.world().is_open(socket));
    bench.assert_at_baseline();
    bench.reactor.net().close(conn, Close::Now);
    assert_eq!(bench.reactor.net().counters().stale, 1);
}

#[test]
fn calls_on_close_in_the_next_turn_without_sleep() {
    let mut bench = Bench::new();
    let (conn, _) = bench.accept();
    let mut once = Some(conn);
    bench.handler.on_turn_end = Some(Box::new(move |net| {
        if let Some(conn) = once.take() {
            net.close(conn, Close::Now);
        }
    }));
    bench.turn();
    assert!(bench.handler.take_log().is_empty());
    bench.reactor.turn(None, &mut bench.handler).unwrap();
    assert_eq!(bench.handler.take_log(), ["closed Local"]);
    bench.assert_at_baseline();
}

#[test]
fn reports_closes_within_on_close_in_the_next_turn() {
    let mut bench = Bench::new();
    let (first, _) = bench.accept();
    let (second, _) = bench.accept();
    bench.handler.on_close = Some(Box::new(move |net| net.close(second, Close::Now)));
    bench.reactor.net().close(first, Close::Now);
    bench.turn();
    assert_eq!(bench.handler.take_log(), ["closed Local"]);
    bench.reactor.turn(None, &mut bench.handler).unwrap();
    assert_eq!(bench.handler.take_log(), ["closed Local"]);
    bench.assert_at_baseline();
}

#[test]
fn limits_how_long_a_slow_peer_delays_a_close() {
    let mut bench = Bench::new();
    let (conn, socket) = bench.accept();
    send(bench.reactor.net(), conn, &"x".repeat(1000));
    bench.world().socket(socket).writes = [Write::Takes(1); 500].into();
    bench.reactor.net().close(conn, Close::AfterFlush);
    bench.pass(9 * SECOND);
    bench.world().event(socket, false, true, false);
    bench.pass(9 * SECOND);
    bench.assert_at_baseline();
}
