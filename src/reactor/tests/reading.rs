use super::*;

const STREAM: &str = " {\"a\":1}¶¶\r\n{\"b\":\"ö¢\u{b6b}\"}¶ \n{\"c\":3}¶";

fn stream_frames() -> Vec<String> {
    ["{\"a\":1}", "{\"b\":\"ö¢\u{b6b}\"}", "{\"c\":3}"]
        .map(str::to_owned)
        .to_vec()
}

#[test]
fn delivers_the_same_frames_wherever_reads_end() {
    let stream = STREAM.as_bytes();
    for cut in 0..=stream.len() {
        for again in cut..=stream.len() {
            let mut bench = Bench::new();
            let (_, socket) = bench.accept();
            for piece in [&stream[..cut], &stream[cut..again], &stream[again..]] {
                if !piece.is_empty() {
                    bench.world().arrive(socket, piece);
                    bench.turn();
                }
            }
            assert_eq!(
                bench.handler.frames(),
                stream_frames(),
                "cut at {cut} and {again}"
            );
        }
    }
}

#[test]
fn delivers_the_same_frames_byte_by_byte_with_errors_between() {
    let mut bench = Bench::new();
    let (_, socket) = bench.accept();
    for byte in STREAM.as_bytes() {
        let would_block = Read::Fails(ErrorKind::WouldBlock);
        let interrupted = Read::Fails(ErrorKind::Interrupted);
        let byte = Read::Bytes(vec![*byte]);
        for reads in [
            vec![would_block.clone()],
            vec![interrupted, byte, would_block],
        ] {
            bench.world().socket(socket).reads = reads.into();
            bench.world().event(socket, true, false, false);
            bench.world().event(socket, true, true, true);
            bench.settle();
        }
    }
    assert_eq!(bench.handler.frames(), stream_frames());
}

#[test]
fn reads_no_more_in_a_turn_after_a_short_read() {
    let mut bench = Bench::new();
    let (_, socket) = bench.accept();
    bench.world().arrive(socket, "{}¶".as_bytes());
    bench.turn();
    assert_eq!(bench.world().socket(socket).read_calls, 1);
    assert!(!bench.reactor.has_work());
}

#[test]
fn sees_the_end_after_a_short_read_in_the_same_turn() {
    let mut bench = Bench::new();
    let (_, socket) = bench.accept();
    bench.world().arrive(socket, "{}¶".as_bytes());
    bench.world().end(socket);
    bench.turn();
    assert_eq!(bench.handler.take_log(), ["frame {}", "closed PeerClosed"]);
    bench.assert_at_baseline();
}

#[test]
fn delivers_frames_beyond_the_budget_in_the_next_turn() {
    let limits = Limits {
        max_frames_per_turn: 3,
        ..Limits::default()
    };
    let mut bench = Bench::with(limits, ListenOptions::default());
    let (_, greedy) = bench.accept();
    let (_, modest) = bench.accept();
    let many: String = (0..10).map(|n| format!("{n}¶")).collect();
    bench.world().arrive(greedy, many.as_bytes());
    bench.world().arrive(modest, "modest¶".as_bytes());
    bench.turn();
    assert_eq!(bench.handler.frames(), ["0", "1", "2", "modest"]);
    assert_eq!(bench.reactor.next_deadline(), Some(bench.reactor.net.now));
    bench.reactor.turn(None, &mut bench.handler).unwrap();
    assert_eq!(bench.world().timeouts.last(), Some(&Some(Duration::ZERO)));
    assert_eq!(bench.handler.frames().len(), 7);
    bench.settle();
    assert_eq!(bench.handler.frames().len(), 11);
    assert_eq!(bench.handler.frames()[10], "9");
}

#[test]
fn reads_bytes_beyond_the_budget_without_another_event() {
    let limits = Limits {
        max_read_bytes_per_turn: 8,
        ..Limits::default()
    };
    let mut bench = Bench::with(limits, ListenOptions::default());
    let (_, socket) = bench.accept();
    bench
        .world()
        .arrive(socket, "0123456789¶abcdefghij¶".as_bytes());
    bench.turn();
    assert_eq!(bench.world().socket(socket).read_calls, 1);
    bench.settle();
    assert_eq!(bench.handler.frames(), ["0123456789", "abcdefghij"]);
}

#[test]
fn keeps_input_while_paused_and_resumes() {
    let mut bench = Bench::new();
    let (conn, socket) = bench.accept();
    bench.handler.react = Some(Box::new(|net, conn, frame| {
        if frame == b"pause" {
            net.pause(conn);
        }
    }));
    bench.world().arrive(socket, "pause¶kept¶ha".as_bytes());
    bench.settle();
    bench.world().arrive(socket, "lf¶".as_bytes());
    bench.pass(60 * SECOND);
    assert_eq!(bench.handler.take_log(), ["frame pause"]);
    bench.reactor.net().resume(conn);
    bench.settle();
    assert_eq!(bench.handler.take_log(), ["frame kept", "frame half"]);
}

#[test]
fn closes_for_a_frame_too_large_while_it_arrives() {
    let limits = Limits {
        max_frame_bytes: 10,
        ..Limits::default()
    };
    for (bytes, frames) in [
        ("0123456789¶", 1),
        ("0123456789a", 0),
        ("0123456789a¶", 0),
        ("{}¶0123456789a", 1),
    ] {
        for split in 0..bytes.len() {
            let mut bench = Bench::with(limits.clone(), ListenOptions::default());
            let (_, socket) = bench.accept();
            for piece in [&bytes.as_bytes()[..split], &bytes.as_bytes()[split..]] {
                if !piece.is_empty() {
                    bench.world().arrive(socket, piece);
                    bench.turn();
                }
            }
            let fits = bytes == "0123456789¶";
            assert_eq!(
                bench.handler.frames().len(),
                frames,
                "{bytes} cut at {split}"
            );
            assert_eq!(
                bench.handler.count("closed FrameTooLarge"),
                usize::from(!fits)
            );
        }
    }
}

#[test]
fn keeps_raw_bytes_until_they_are_consumed() {
    let options = ListenOptions {
        framing: Framing::Raw,
        ..ListenOptions::default()
    };
    let mut bench = Bench::with(Limits::default(), options);
    let (conn, socket) = bench.accept();
    bench.world().arrive(socket, b"ab");
    bench.turn();
    bench.world().arrive(socket, b"cd");
    bench.turn();
    assert_eq!(bench.handler.take_log(), ["bytes ab", "bytes abcd"]);
    bench.handler.consume = 3;
    bench.world().arrive(socket, b"ef");
    bench.turn();
    assert_eq!(bench.handler.take_log(), ["bytes abcdef", "bytes def"]);
    send(bench.reactor.net(), conn, "raw ¶ stays");
    bench.turn();
    assert_eq!(bench.written(socket), "raw ¶ stays");

    // Kept bytes have the limits of an unfinished frame.
    bench.handler.consume = 0;
    bench.world().arrive(socket, b"x");
    bench.pass(11 * SECOND);
    assert_eq!(
        bench.handler.take_log(),
        ["bytes x", "limit FrameTimeout", "closed FrameTimeout"]
    );
}

#[test]
fn does_not_count_waiting_raw_requests_as_one_frame() {
    let limits = Limits {
        max_frame_bytes: 10,
        max_frames_per_turn: 64,
        ..Limits::default()
    };
    let mut bench = raw_bench(limits);
    let (_, socket) = bench.accept();
    bench.handler.consume = 2;
    bench.world().arrive(socket, &[b'x'; 200]);
    bench.settle();
    assert_eq!(bench.handler.take_log().len(), 100);
}

#[test]
fn offers_unconsumed_raw_bytes_again_only_with_new_ones() {
    for budget in [1, 2, 64] {
        let limits = Limits {
            max_frames_per_turn: budget,
            ..Limits::default()
        };
        let mut bench = raw_bench(limits);
        let (_, socket) = bench.accept();
        bench.world().arrive(socket, b"GET / HT");
        bench.settle();
        assert_eq!(bench.handler.take_log().len(), 1);
    }
}

#[test]
fn keeps_no_memory_when_stopped_at_the_last_frame() {
    let mut bench = Bench::new();
    let (conn, socket) = bench.accept();
    bench.handler.react = Some(Box::new(|net, conn, _| net.pause(conn)));
    bench.world().arrive(socket, "x".repeat(60_000).as_bytes());
    bench.turn();
    bench.world().arrive(socket, "¶".as_bytes());
    bench.settle();
    assert_eq!(bench.handler.frames().len(), 1);
    let connection = bench.reactor.net.connection(conn).unwrap();
    assert_eq!(connection.input.capacity(), 0);
}

#[test]
fn measures_a_frame_wherever_it_was_cut() {
    let limits = Limits {
        max_frame_bytes: 10,
        ..Limits::default()
    };
    let bytes = "0123456789 \r\n¶".as_bytes();
    for split in 0..bytes.len() {
        let mut bench = Bench::with(limits.clone(), ListenOptions::default());
        let (_, socket) = bench.accept();
        for piece in [&bytes[..split], &bytes[split..]] {
            if !piece.is_empty() {
                bench.world().arrive(socket, piece);
                bench.turn();
            }
        }
        assert_eq!(
            bench.handler.count("closed FrameTooLarge"),
            1,
            "cut at {split}"
        );
    }
}

#[test]
fn ignores_events_for_an_earlier_connection_of_the_slot() {
    let mut bench = Bench::new();
    let (old, old_socket) = bench.accept();
    let stale_token = bench.world().socket(old_socket).token.unwrap();
    bench.reactor.net().close(old, Close::Now);
    bench.turn();
    let (new, new_socket) = bench.accept();
    assert_eq!(old.slot(), new.slot());
    bench.handler.take_log();

    // One batch has bytes for the new connection, and a late event for the earlier one with its
    // slot and fd.
    bench.world().arrive(new_socket, "{}¶".as_bytes());
    bench.world().events.push(Event::Socket {
        token: stale_token,
        readable: true,
        writable: true,
        closed: true,
    });
    bench.turn();
    assert_eq!(bench.handler.take_log(), ["frame {}"]);
    assert_eq!(bench.reactor.net().counters().stale, 1);
    bench.reactor.net().close(old, Close::Now);
    bench.settle();
    assert!(bench.world().is_open(new_socket));
}

#[test]
fn ignores_spurious_events() {
    let mut bench = Bench::new();
    let (_, socket) = bench.accept();
    for _ in 0..3 {
        bench.world().event(socket, true, true, true);
        bench.world().event(socket, true, false, false);
        let listener = bench.listener;
        bench.world().event(listener, true, false, false);
        bench.settle();
    }
    assert!(bench.handler.take_log().is_empty());
}
