use super::*;

#[test]
fn writes_the_same_bytes_wherever_writes_end() {
    let expected = "first¶second¶shared¶third¶";
    for cut in 0..expected.len() {
        for would_block in [false, true] {
            let mut bench = Bench::new();
            let (conn, socket) = bench.accept();
            let net = bench.reactor.net();
            send(net, conn, "first");
            send(net, conn, "second");
            net.send_shared(
                conn,
                &SharedFrame::new(|out| out.extend_from_slice(b"shared")),
            );
            send(net, conn, "third");
            assert_eq!(net.pending_bytes(conn), expected.len());
            let mut writes = vec![Write::Takes(cut)];
            if would_block {
                writes.push(Write::Fails(ErrorKind::WouldBlock));
            }
            bench.world().socket(socket).writes.extend(writes);
            bench.settle();
            assert!(bench.reactor.net().is_backlogged(conn));
            while bench.reactor.net().pending_bytes(conn) > 0 {
                bench.world().event(socket, false, true, false);
                bench.settle();
            }
            assert_eq!(bench.written(socket), expected, "cut at {cut}");
            assert_eq!(bench.handler.take_log(), ["drained"]);
            assert!(!bench.reactor.net().is_backlogged(conn));
        }
    }
}

#[test]
fn writes_everything_one_byte_at_a_time() {
    let mut bench = Bench::new();
    let (conn, socket) = bench.accept();
    send(bench.reactor.net(), conn, "slowly");
    bench.world().socket(socket).writes = [Write::Takes(1); 7].into();
    for _ in 0..8 {
        bench.turn();
        bench.world().event(socket, false, true, false);
    }
    bench.settle();
    assert_eq!(bench.written(socket), "slowly¶");
    assert_eq!(bench.handler.take_log(), ["drained"]);
}

#[test]
fn writes_the_frames_of_a_turn_at_once_without_a_callback() {
    let mut bench = Bench::new();
    let (conn, socket) = bench.accept();
    for _ in 0..50 {
        send(bench.reactor.net(), conn, "x");
    }
    bench.turn();
    assert_eq!(bench.world().socket(socket).write_calls, 1);
    assert_eq!(bench.written(socket), "x¶".repeat(50));
    assert!(bench.handler.take_log().is_empty());
}

#[test]
fn writes_more_blocks_than_one_write_takes() {
    let mut bench = Bench::new();
    let (conn, socket) = bench.accept();
    let frame = SharedFrame::new(|out| out.push(b'x'));
    for _ in 0..200 {
        bench.reactor.net().send_shared(conn, &frame);
    }
    bench.settle();
    assert_eq!(bench.written(socket), "x¶".repeat(200));
    assert!(bench.handler.take_log().is_empty());
}

#[test]
fn does_not_send_an_unfinished_frame() {
    let mut bench = Bench::new();
    let (conn, socket) = bench.accept();
    let net = bench.reactor.net();
    send(net, conn, "whole");
    net.send(conn).unwrap().write_all(b"half").unwrap();
    net.send(conn).unwrap().finish();
    send(net, conn, "next");
    bench.turn();
    assert_eq!(bench.written(socket), "whole¶next¶");
}

#[test]
fn escapes_a_frame_end_that_is_cut_between_two_writes() {
    let mut bench = Bench::new();
    let (conn, socket) = bench.accept();
    let mut frame = bench.reactor.net().send(conn).unwrap();
    frame.write_all(b"\"\xC2").unwrap();
    frame.write_all(b"\xB6\"").unwrap();
    frame.finish();
    bench.turn();
    assert_eq!(bench.written(socket), "\"\\u00b6\"¶");
}

#[test]
fn limits_the_queue_of_a_connection_without_shared_frames() {
    let limits = Limits {
        max_unsent_bytes: 100,
        ..Limits::default()
    };
    let mut bench = Bench::with(limits, ListenOptions::default());
    let (conn, socket) = bench.accept();
    bench.world().socket(socket).writes = [Write::Takes(0)].into();
    let net = bench.reactor.net();
    net.send_shared(conn, &SharedFrame::new(|out| out.resize(10_000, b'x')));
    send(net, conn, &"x".repeat(90));
    bench.settle();
    assert!(bench.handler.take_log().is_empty());
    send(bench.reactor.net(), conn, &"x".repeat(20));
    bench.settle();
    assert_eq!(bench.handler.take_log(), ["closed TooMuchUnsent"]);
    bench.assert_at_baseline();
}

#[test]
fn closes_peers_that_read_nothing_but_not_slow_ones() {
    let mut bench = Bench::new();
    let (conn, socket) = bench.accept();
    bench.world().arrive(socket, "{}¶".as_bytes());
    bench.settle();
    bench.handler.take_log();
    send(bench.reactor.net(), conn, &"x".repeat(100));
    bench.world().socket(socket).writes = [Write::Takes(1); 50].into();
    for _ in 0..30 {
        bench.pass(5 * SECOND);
        bench.world().event(socket, false, true, false);
    }
    bench.pass(SECOND);
    assert!(bench.handler.take_log().is_empty());
    bench.pass(10 * SECOND);
    assert_eq!(bench.handler.take_log(), ["closed WriteTimeout"]);
    bench.assert_at_baseline();
}

#[test]
fn does_not_close_a_reader_for_a_stall_of_the_process() {
    for reads in [true, false] {
        let mut bench = Bench::new();
        let (conn, socket) = bench.accept();
        bench.world().arrive(socket, "{}¶".as_bytes());
        bench.settle();
        bench.handler.take_log();
        send(bench.reactor.net(), conn, "a long list");
        let blocked = Write::Fails(ErrorKind::WouldBlock);
        bench.world().socket(socket).writes = [Write::Takes(1), blocked].into();
        bench.settle();
        // The process is stopped for longer than a peer may read nothing.
        let later = bench.world().now + 60 * SECOND;
        bench.world().now = later;
        if reads {
            bench.world().socket(socket).writes.clear();
            bench.world().event(socket, false, true, false);
        }
        bench.settle();
        bench.pass(20 * SECOND);
        assert_eq!(bench.world().is_open(socket), reads);
        if reads {
            assert_eq!(bench.written(socket), "a long list¶");
        }
    }
}

#[test]
fn stops_writing_after_its_time_and_resumes_after_reading() {
    let mut bench = Bench::new();
    let connections: Vec<_> = (0..100).map(|_| bench.accept()).collect();
    bench.world().write_takes = MILLI;
    for (conn, _) in &connections {
        send(bench.reactor.net(), *conn, "x");
    }
    bench.turn();
    let served = |bench: &Bench| {
        let written = |(_, socket): &&(ConnId, SocketId)| !bench.written(*socket).is_empty();
        connections.iter().filter(written).count()
    };
    assert_eq!(served(&bench), 16);
    assert!(bench.reactor.net().has_unflushed(Owner::default()));
    assert!(bench.reactor.net().is_backlogged(connections[99].0));

    let (_, first) = connections[0];
    bench.world().arrive(first, "request¶".as_bytes());
    bench.reactor.turn(None, &mut bench.handler).unwrap();
    assert_eq!(bench.handler.frames(), ["request"]);
    assert_eq!(served(&bench), 32);
    bench.settle();
    assert_eq!(served(&bench), 100);
    // Backlogged connections are reported once they have drained.
    assert_eq!(bench.handler.count("drained"), 84);
}

#[test]
fn counts_the_time_of_writing_for_its_owner() {
    let mut bench = Bench::new();
    let net = bench.reactor.net();
    let (owner, third) = (net.new_owner(), net.new_owner());
    let options = ConnectOptions {
        owner,
        ..ConnectOptions::default()
    };
    let other = net.connect(any_addr(), options);
    bench.world().socket(SocketId(1)).connected = Some(Ok(()));
    bench.world().event(SocketId(1), false, true, false);
    bench.settle();
    let (first, _) = bench.accept();
    let (second, _) = bench.accept();
    let net = bench.reactor.net();
    for conn in [first, other, second] {
        send(net, conn, "x");
    }
    bench.world().write_takes = MILLI;
    bench.turn();
    let net = bench.reactor.net();
    assert_eq!(net.flush_time_of(Owner::default()), 2 * MILLI);
    assert_eq!(net.flush_time_of(owner), MILLI);
    assert_eq!(net.flush_time_of(third), Duration::ZERO);
    assert_eq!(net.counters().flush_time, 3 * MILLI);
}

#[test]
fn writes_what_on_drained_sends_in_the_same_turn() {
    let mut bench = Bench::new();
    let (conn, socket) = bench.accept();
    bench.handler.on_drained = Some(Box::new(|net, conn, _| send(net, conn, "newest")));
    bench
        .world()
        .socket(socket)
        .writes
        .push_back(Write::Takes(1));
    send(bench.reactor.net(), conn, "old");
    bench.turn();
    bench.world().event(socket, false, true, false);
    bench.turn();
    assert_eq!(bench.written(socket), "old¶newest¶");
    assert!(!bench.reactor.has_work());
}

#[test]
fn does_not_call_on_drained_for_frames_of_this_turn() {
    let mut bench = Bench::new();
    let (_, socket) = bench.accept();
    bench.handler.react = Some(Box::new(|net, conn, _| send(net, conn, "reply")));
    bench.handler.on_turn_end = Some(Box::new(|net| {
        assert!(!net.has_unflushed(Owner::default()))
    }));
    for _ in 0..50 {
        bench.world().arrive(socket, "{}¶".as_bytes());
        bench.turn();
    }
}

#[test]
fn ends_a_frame_with_part_of_a_shared_one() {
    let mut bench = Bench::new();
    let (conn, socket) = bench.accept();
    let shared = SharedFrame::new(|out| out.extend_from_slice(b"{\"key\":0,\"list\":[]}"));
    let mut frame = bench.reactor.net().send(conn).unwrap();
    frame.write_all("{\"key\":\"¶\"".as_bytes()).unwrap();
    frame.finish_with(&shared, 8);
    bench.turn();
    assert_eq!(bench.written(socket), "{\"key\":\"\\u00b6\",\"list\":[]}¶");
}

#[test]
fn writes_a_short_frame_between_parts_of_a_long_one() {
    let mut bench = Bench::new();
    let (greedy, greedy_socket) = bench.accept();
    let (modest, modest_socket) = bench.accept();
    let long = SharedFrame::new(|out| out.resize(10 << 20, b'x'));
    bench.reactor.net().send_shared(greedy, &long);
    send(bench.reactor.net(), modest, "short");
    bench.world().write_takes = 4 * MILLI;
    bench.turn();
    assert_eq!(bench.written(modest_socket), "short¶");
    assert!(bench.world().socket(greedy_socket).written.len() < 1 << 20);
    bench.settle();
    assert_eq!(
        bench.world().socket(greedy_socket).written.len(),
        (10 << 20) + 2
    );
}
