//! The loop on a scripted system: every order and every failure, in virtual time.

use std::io::ErrorKind;
use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use super::*;
use crate::sys::SocketId;
use crate::testing::scripted::{Accept, Read, Scripted, World, Write};

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// What a handler was told, in words.
#[derive(Default)]
struct Recorder {
    log: Vec<String>,
    opened: Vec<ConnId>,
    /// What to do with a frame, if not only to note it.
    react: Option<Reaction>,
    consume: usize,
    on_turn_end: Option<Action>,
    on_close: Option<Action>,
    on_drained: Option<Reaction>,
}

type Reaction = Box<dyn FnMut(&mut Net, ConnId, &[u8])>;
type Action = Box<dyn FnMut(&mut Net)>;

impl Recorder {
    fn take_log(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }

    fn frames(&self) -> Vec<String> {
        let frame = |line: &String| line.strip_prefix("frame ").map(str::to_owned);
        self.log.iter().filter_map(frame).collect()
    }

    fn count(&self, prefix: &str) -> usize {
        self.log
            .iter()
            .filter(|line| line.starts_with(prefix))
            .count()
    }
}

impl Handler for Recorder {
    fn on_open(&mut self, net: &mut Net, conn: ConnId, origin: Origin) {
        let how = match origin {
            Origin::Accepted(_) => "accepted",
            Origin::Connected => "connected",
        };
        self.log
            .push(format!("{how} under {}", net.owner().index()));
        self.opened.push(conn);
    }

    fn on_frame(&mut self, net: &mut Net, conn: ConnId, frame: &[u8]) {
        self.log
            .push(format!("frame {}", String::from_utf8_lossy(frame)));
        if let Some(react) = &mut self.react {
            react(net, conn, frame);
        }
    }

    fn on_bytes(&mut self, _net: &mut Net, _conn: ConnId, bytes: &[u8]) -> usize {
        self.log
            .push(format!("bytes {}", String::from_utf8_lossy(bytes)));
        self.consume.min(bytes.len())
    }

    fn on_first_bytes(&mut self, _net: &mut Net, _conn: ConnId, bytes: &[u8]) {
        self.log
            .push(format!("first bytes {}", String::from_utf8_lossy(bytes)));
    }

    fn on_limit(&mut self, net: &mut Net, conn: ConnId, why: CloseReason) {
        self.log.push(format!("limit {why:?}"));
        send(net, conn, "too much");
    }

    fn on_drained(&mut self, net: &mut Net, conn: ConnId) {
        self.log.push("drained".to_owned());
        if let Some(react) = &mut self.on_drained {
            react(net, conn, b"");
        }
    }

    fn on_close(&mut self, net: &mut Net, conn: ConnId, why: CloseReason) {
        assert!(
            net.send(conn).is_none(),
            "nothing is sent on what is closed"
        );
        assert!(net.peer_addr(conn).is_some(), "its peer is still known");
        self.log.push(format!("closed {why:?}"));
        if let Some(act) = &mut self.on_close {
            act(net);
        }
    }

    fn on_timer(&mut self, net: &mut Net, _timer: TimerId, tag: u64) {
        self.log
            .push(format!("timer {tag} under {}", net.owner().index()));
    }

    fn on_wake(&mut self, _net: &mut Net) {
        self.log.push("wake".to_owned());
    }

    fn on_turn_end(&mut self, net: &mut Net) {
        if let Some(act) = &mut self.on_turn_end {
            act(net);
        }
    }
}

fn send(net: &mut Net, conn: ConnId, text: &str) {
    net.send_with(conn, |frame| frame.write_all(text.as_bytes()));
}

fn any_addr() -> SocketAddr {
    "127.0.0.1:9000".parse().unwrap()
}

/// A reactor that listens, on a scripted system.
struct Bench {
    system: Scripted,
    reactor: Reactor,
    handler: Recorder,
    listener: SocketId,
}

impl Bench {
    fn new() -> Bench {
        Bench::with(Limits::default(), ListenOptions::default())
    }

    fn with(limits: Limits, options: ListenOptions) -> Bench {
        let system = Scripted::new();
        let mut reactor = Reactor::on(Box::new(system.clone()), limits);
        reactor.net().listen(any_addr(), options).unwrap();
        Bench {
            system,
            reactor,
            handler: Recorder::default(),
            listener: SocketId(0),
        }
    }

    fn world(&self) -> std::cell::RefMut<'_, World> {
        self.system.world()
    }

    /// A turn that does not wait.
    fn turn(&mut self) {
        self.reactor
            .turn(Some(Duration::ZERO), &mut self.handler)
            .unwrap();
    }

    /// Lets virtual time pass, in as many turns as the reactor wants.
    fn pass(&mut self, time: Duration) {
        let until = self.world().now + time;
        loop {
            let left = until.saturating_since(self.world().now);
            self.reactor.turn(Some(left), &mut self.handler).unwrap();
            if self.world().now >= until {
                return;
            }
        }
    }

    /// Turns until nothing is left to be done at once.
    fn settle(&mut self) {
        for _ in 0..100_000 {
            self.turn();
            if !self.reactor.has_work() && self.world().events.is_empty() {
                return;
            }
        }
        panic!("the loop never comes to rest");
    }

    fn accept(&mut self) -> (ConnId, SocketId) {
        self.world().accepts.push_back(Accept::Connection);
        let listener = self.listener;
        self.world().event(listener, true, false, false);
        self.turn();
        self.handler.log.pop();
        let socket = *self.world().accepted.last().unwrap();
        (*self.handler.opened.last().unwrap(), socket)
    }

    fn written(&self, socket: SocketId) -> String {
        String::from_utf8(self.world().socket(socket).written.clone()).unwrap()
    }

    /// Nothing is left of any connection: no socket, no timer, no slot.
    fn assert_at_baseline(&mut self) {
        assert_eq!(self.world().sockets.len(), 1, "only the listener is open");
        assert_eq!(self.reactor.net().connections(), 0);
        assert_eq!(self.reactor.net.timers.len(), 0);
        assert!(!self.reactor.has_work());
    }
}

const STREAM: &str = " {\"a\":1}¶¶\r\n{\"b\":\"ö¢\u{b6b}\"}¶ \n{\"c\":3}¶";

fn stream_frames() -> Vec<String> {
    ["{\"a\":1}", "{\"b\":\"ö¢\u{b6b}\"}", "{\"c\":3}"]
        .map(str::to_owned)
        .to_vec()
}

#[test]
fn frames_are_the_same_wherever_the_reads_end() {
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
fn frames_are_the_same_byte_by_byte_with_refusals_between() {
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
fn a_short_read_is_the_last_one_of_a_turn() {
    let mut bench = Bench::new();
    let (_, socket) = bench.accept();
    bench.world().arrive(socket, "{}¶".as_bytes());
    bench.turn();
    assert_eq!(bench.world().socket(socket).read_calls, 1);
    assert!(!bench.reactor.has_work());
}

#[test]
fn an_end_behind_a_short_read_is_seen_in_the_same_turn() {
    let mut bench = Bench::new();
    let (_, socket) = bench.accept();
    bench.world().arrive(socket, "{}¶".as_bytes());
    bench.world().end(socket);
    bench.turn();
    assert_eq!(bench.handler.take_log(), ["frame {}", "closed PeerClosed"]);
    bench.assert_at_baseline();
}

#[test]
fn what_is_queued_comes_out_the_same_wherever_the_writes_end() {
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
fn one_byte_a_write_is_enough() {
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
fn a_turns_frames_leave_in_one_write_and_nobody_hears_of_it() {
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
fn more_blocks_than_one_write_takes_leave_all_the_same() {
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
fn a_frame_that_is_not_finished_is_not_sent() {
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
fn a_frame_end_inside_a_frame_is_escaped_across_writes() {
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
fn a_reset_is_told_once() {
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
fn a_peer_that_the_kernel_gave_up_has_vanished() {
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
fn an_interrupted_wait_goes_on_with_what_is_left_of_it() {
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
fn an_event_for_a_connection_before_does_not_touch_the_one_in_its_slot() {
    let mut bench = Bench::new();
    let (old, old_socket) = bench.accept();
    let stale_token = bench.world().socket(old_socket).token.unwrap();
    bench.reactor.net().close(old, Close::Now);
    bench.turn();
    let (new, new_socket) = bench.accept();
    assert_eq!(old.slot(), new.slot());
    bench.handler.take_log();

    // In one batch: the new one's bytes, and a late event for who had slot and fd before.
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
fn a_connection_that_ends_in_a_batch_gets_nothing_more_from_it() {
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
fn spurious_events_do_nothing() {
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

#[test]
fn frames_beyond_the_budget_wait_for_a_turn_that_does_not() {
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
fn bytes_beyond_the_budget_are_read_without_another_event() {
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
fn accepting_has_a_budget_and_goes_on_without_another_event() {
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
fn a_pause_keeps_what_was_read_and_resume_goes_on() {
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
fn an_orderly_close_writes_what_is_queued_and_outlasts_what_the_peer_sends() {
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
fn a_goodbye_has_an_end() {
    // The peer neither reads nor closes.
    let mut bench = Bench::new();
    let (conn, _) = bench.accept();
    bench.reactor.net().close(conn, Close::AfterFlush);
    bench.pass(2 * SECOND);
    bench.assert_at_baseline();

    // It sends without end.
    let (conn, socket) = bench.accept();
    bench.reactor.net().close(conn, Close::AfterFlush);
    bench.world().arrive(socket, &[b'x'; 200_000]);
    bench.settle();
    bench.assert_at_baseline();

    // It takes nothing of what is queued.
    let (conn, socket) = bench.accept();
    send(bench.reactor.net(), conn, "never read");
    bench.world().socket(socket).writes = [Write::Fails(ErrorKind::WouldBlock)].into();
    bench.reactor.net().close(conn, Close::AfterFlush);
    bench.pass(11 * SECOND);
    bench.assert_at_baseline();
}

#[test]
fn the_last_words_to_a_peer_that_has_said_all_are_written() {
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
fn closing_twice_is_told_once_and_the_harder_way_wins() {
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
fn what_is_closed_at_the_end_of_a_turn_is_told_in_the_next_without_sleep() {
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
fn accepting_goes_on_by_timer_when_there_is_no_fd() {
    let mut bench = Bench::new();
    // Not even the reserve helps: another process takes the fd at once.
    let failing = [Accept::NoFdAtAll; 8];
    bench.world().accepts = failing.into();
    bench.world().accepts.push_back(Accept::Connection);
    let listener = bench.listener;
    bench.world().event(listener, true, false, false);
    bench.turn();
    assert!(bench.handler.take_log().is_empty());
    // Each try asks twice, and no event ever comes. It waits 10 ms, 20, 40 and 80.
    bench.pass(149 * MILLI);
    assert!(bench.handler.take_log().is_empty());
    bench.pass(2 * MILLI);
    assert_eq!(bench.handler.take_log(), ["accepted under 0"]);
    assert_eq!(bench.reactor.net().counters().accept_failures, 4);
}

#[test]
fn accepting_goes_on_at_once_when_an_fd_is_freed() {
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
fn the_fd_in_reserve_turns_away_whom_no_other_can_serve() {
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
fn a_connection_that_went_before_it_was_accepted_hides_no_other() {
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
fn one_connection_too_many_is_told_why_and_closed() {
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
        "nobody hears of those refused"
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
fn a_connect_opens_when_the_system_says_so_and_sends_what_waited() {
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
        "who connects may wait for ever"
    );
}

#[test]
fn a_connect_says_where_it_comes_from_if_it_is_told_to() {
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
fn a_refused_connect_is_told_once_though_it_looks_writable() {
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
fn a_connect_that_fails_at_once_is_told_in_the_next_turn() {
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
fn a_connect_has_a_deadline() {
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

#[test]
fn a_frame_must_end_in_time_and_bytes_do_not_extend_it() {
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
fn each_frame_has_its_own_time() {
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
fn white_space_begins_no_frame() {
    let mut bench = Bench::new();
    let (_, socket) = bench.accept();
    bench.world().arrive(socket, "{}¶\r\n ".as_bytes());
    bench.pass(100 * SECOND);
    assert_eq!(bench.handler.take_log(), ["frame {}"]);
}

#[test]
fn silence_has_an_end_but_only_before_the_first_byte() {
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
fn a_frame_too_large_is_noticed_while_it_arrives() {
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
fn a_peer_that_takes_nothing_is_cut_and_one_that_takes_little_is_not() {
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
fn what_one_connection_queues_is_limited_but_shared_frames_are_not_counted() {
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
fn after_a_stall_everything_is_read_before_anything_expires() {
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

    // The process stands still; its peer does not, and sends more than one turn reads.
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
fn timers_still_expire_if_reading_never_ends() {
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
fn a_turn_sleeps_no_longer_than_to_the_next_timer() {
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
fn rings_of_the_waker_are_told_together() {
    let mut bench = Bench::new();
    bench.world().events = vec![Event::Wake, Event::Wake];
    bench.turn();
    assert_eq!(bench.handler.take_log(), ["wake"]);
}

#[test]
fn everything_is_called_back_under_the_owner_that_made_it() {
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

#[test]
fn raw_bytes_are_kept_until_they_are_consumed() {
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

    // What is kept has the limits of an unfinished frame.
    bench.handler.consume = 0;
    bench.world().arrive(socket, b"x");
    bench.pass(11 * SECOND);
    assert_eq!(
        bench.handler.take_log(),
        ["bytes x", "limit FrameTimeout", "closed FrameTimeout"]
    );
}

#[test]
fn writing_stops_when_its_time_is_over_and_goes_on_after_reading() {
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
    assert!(bench.reactor.net().has_unflushed());
    assert!(bench.reactor.net().is_backlogged(connections[99].0));

    let (_, first) = connections[0];
    bench.world().arrive(first, "request¶".as_bytes());
    bench.reactor.turn(None, &mut bench.handler).unwrap();
    assert_eq!(bench.handler.frames(), ["request"]);
    assert_eq!(served(&bench), 32);
    bench.settle();
    assert_eq!(served(&bench), 100);
    // Those that had to wait are told when they are done.
    assert_eq!(bench.handler.count("drained"), 84);
}

#[test]
fn the_time_that_writing_takes_is_counted_for_its_owner() {
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
fn a_handler_that_sends_when_drained_is_flushed_in_the_same_turn() {
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
fn a_closed_listener_accepts_nobody() {
    let mut bench = Bench::new();
    let id = ListenerId::new(0, 1);
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
fn who_is_paused_is_not_blamed_for_silence() {
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
fn white_space_is_silence() {
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

fn raw_bench(limits: Limits) -> Bench {
    let options = ListenOptions {
        framing: Framing::Raw,
        ..ListenOptions::default()
    };
    Bench::with(limits, options)
}

#[test]
fn raw_bytes_do_not_extend_the_time_of_those_before() {
    let mut bench = raw_bench(Limits::default());
    let (_, socket) = bench.accept();
    bench.world().arrive(socket, b"x");
    bench.pass(9 * SECOND);
    bench.world().arrive(socket, b"x");
    bench.pass(2 * SECOND);
    assert_eq!(bench.handler.count("closed FrameTimeout"), 1);
}

#[test]
fn raw_requests_that_wait_for_their_turn_are_no_frame_too_large() {
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
fn raw_bytes_that_nobody_consumes_come_again_only_with_others() {
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
fn a_stop_at_the_last_frame_keeps_no_memory() {
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
fn the_size_of_a_frame_does_not_depend_on_where_it_was_cut() {
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
fn what_is_begun_between_turns_has_its_whole_time() {
    let mut bench = Bench::new();
    let (conn, socket) = bench.accept();
    bench.world().arrive(socket, b"begin");
    bench.settle();
    bench.reactor.net().pause(conn);
    bench.pass(600 * SECOND);
    // A host loop has had other things to do.
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

#[test]
fn what_is_queued_in_a_turn_was_not_left_over_from_the_last() {
    let mut bench = Bench::new();
    let (_, socket) = bench.accept();
    bench.handler.react = Some(Box::new(|net, conn, _| send(net, conn, "reply")));
    bench.handler.on_turn_end = Some(Box::new(|net| assert!(!net.has_unflushed())));
    for _ in 0..50 {
        bench.world().arrive(socket, "{}¶".as_bytes());
        bench.turn();
    }
}

#[test]
fn an_accept_error_of_one_connection_costs_no_other() {
    let mut bench = Bench::new();
    let denied = Accept::Fails(ErrorKind::PermissionDenied);
    bench.world().accepts = [denied, Accept::Connection].into();
    let listener = bench.listener;
    bench.world().event(listener, true, false, false);
    bench.settle();
    bench.pass(SECOND);
    assert_eq!(bench.handler.take_log(), ["accepted under 0"]);
}

#[test]
fn a_farewell_that_trickles_has_an_end() {
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

#[test]
fn a_frame_can_end_with_a_part_of_a_shared_one() {
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
fn a_long_frame_does_not_hold_up_a_short_one() {
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
