use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use super::*;
use crate::sys::{Event, System, TcpOptions};
use crate::time::Time;

const SECOND: Duration = Duration::from_secs(1);

struct Bench {
    world: World,
    hosts: [HostId; 2],
    server: Process,
    client: Process,
    here: Socket,
    there: Socket,
    addr: SocketAddr,
    from: SocketAddr,
}

/// A connection between two hosts. The server's end is watched under token 7, as by a reactor.
fn connected(faults: Faults) -> Bench {
    let world = World::new(Random::new(1), faults).unwrap();
    let hosts = ["10.0.0.1", "10.0.0.2"].map(|addr| world.add_host(addr.parse().unwrap()));
    let (mut server, mut client) = (world.start(hosts[0]), world.start(hosts[1]));
    let addr: SocketAddr = "10.0.0.1:9000".parse().unwrap();
    let tcp = TcpOptions::default();
    let (listener, _) = System::listen(&mut server, addr, 8, &tcp, 1).unwrap();
    let here = client.connect(addr).unwrap();
    let mut bench = Bench {
        world,
        hosts,
        there: Socket(listener),
        server,
        client,
        here,
        addr,
        from: addr,
    };
    bench.wait(SECOND);
    assert_eq!(bench.events(), [(1, true, false, false)]);
    let (accepted, from) = System::accept(&mut bench.server, listener).unwrap();
    bench.server.watch(accepted, 7).unwrap();
    assert_eq!(bench.events(), [(7, false, true, false)]);
    assert!(bench.client.connected(bench.here).unwrap().is_some());
    bench.there = Socket(accepted);
    bench.from = from;
    bench
}

impl Bench {
    fn wait(&self, time: Duration) {
        self.world.advance(self.world.now() + time);
    }

    fn events(&mut self) -> Vec<(u64, bool, bool, bool)> {
        let mut events = Vec::new();
        self.server.poll(&mut events, None).unwrap();
        let flags = |event| match event {
            Event::Socket {
                token,
                readable,
                writable,
                closed,
            } => (token, readable, writable, closed),
            Event::Wake => (0, false, false, false),
        };
        events.into_iter().map(flags).collect()
    }
}

fn kind<T: std::fmt::Debug>(result: std::io::Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

#[test]
fn reports_each_change_of_readiness_once() {
    let mut bench = connected(Faults::none());
    assert_eq!(bench.client.write(bench.here, b"abc").unwrap(), 3);
    bench.wait(SECOND);
    assert_eq!(bench.events(), [(7, true, false, false)]);
    assert_eq!(bench.events(), []);
    let mut into = [0; 2];
    assert_eq!(bench.server.read(bench.there, &mut into).unwrap(), 2);
    bench.wait(SECOND);
    assert_eq!(bench.events(), [], "a change is reported once");
    assert_eq!(bench.server.read(bench.there, &mut into).unwrap(), 1);
    assert_eq!(
        kind(bench.server.read(bench.there, &mut into)),
        ErrorKind::WouldBlock
    );
}

#[test]
fn fills_the_window_and_then_the_send_buffer_of_a_reader_that_stops() {
    let mut faults = Faults::none();
    (faults.send_buffer_bytes, faults.receive_buffer_bytes) = (100, 50);
    let mut bench = connected(faults);
    assert_eq!(bench.server.write(bench.there, &[1; 400]).unwrap(), 100);
    bench.wait(SECOND);
    assert_eq!(bench.events(), [(7, false, true, false)]);
    assert_eq!(bench.server.write(bench.there, &[2; 400]).unwrap(), 50);
    assert_eq!(
        kind(bench.server.write(bench.there, &[3])),
        ErrorKind::WouldBlock
    );
    bench.wait(60 * SECOND);
    assert_eq!(bench.events(), []);
    let mut into = [0; 400];
    assert_eq!(bench.client.read(bench.here, &mut into).unwrap(), 50);
    bench.wait(SECOND);
    assert_eq!(bench.events(), [(7, false, true, false)]);
}

#[test]
fn resets_and_drops_queued_bytes_when_closed_with_unread_input() {
    for is_read_first in [false, true] {
        let mut bench = connected(Faults::none());
        bench.client.write(bench.here, b"unread").unwrap();
        bench.wait(SECOND);
        if is_read_first {
            bench.server.read(bench.there, &mut [0; 9]).unwrap();
        }
        bench.server.write(bench.there, b"goodbye").unwrap();
        bench.server.close(bench.there);
        bench.wait(SECOND);
        let mut into = [0; 9];
        let read = bench.client.read(bench.here, &mut into);
        if is_read_first {
            assert_eq!(read.unwrap(), 7);
            assert_eq!(bench.client.read(bench.here, &mut into).unwrap(), 0);
        } else {
            assert_eq!(kind(read), ErrorKind::ConnectionReset);
        }
    }
}

#[test]
fn detects_a_vanished_host_by_probes_and_sooner_by_unacknowledged_bytes() {
    for is_sent_something in [false, true] {
        let mut bench = connected(Faults::none());
        bench.world.crash(bench.hosts[1]);
        if is_sent_something {
            bench.server.write(bench.there, b"news").unwrap();
        }
        bench.wait(9 * SECOND);
        assert_eq!(bench.events(), []);
        assert!(
            !bench
                .world
                .facts(bench.server.id(), bench.from)
                .unwrap()
                .has_far_end
        );
        bench.wait(6 * SECOND);
        assert_eq!(bench.events(), [(7, true, true, true)]);
        let read = bench.server.read(bench.there, &mut [0; 9]);
        assert_eq!(kind(read), ErrorKind::TimedOut);
    }
}

#[test]
fn delivers_delayed_bytes_when_a_partition_heals() {
    let mut bench = connected(Faults::none());
    let [here, there] = bench.hosts;
    bench.world.block(here, there);
    bench.server.write(bench.there, b"late").unwrap();
    bench.wait(3 * SECOND);
    let mut into = [0; 9];
    assert_eq!(
        kind(bench.client.read(bench.here, &mut into)),
        ErrorKind::WouldBlock
    );
    bench.world.heal();
    bench.wait(3 * SECOND);
    assert_eq!(bench.client.read(bench.here, &mut into).unwrap(), 4);
}

#[test]
fn fails_connects_without_a_listener_or_a_response() {
    let mut bench = connected(Faults::none());
    let refused = bench.client.connect("10.0.0.1:1".parse().unwrap()).unwrap();
    let lost = bench.client.connect("10.9.9.9:1".parse().unwrap()).unwrap();
    bench.wait(SECOND);
    assert_eq!(
        kind(bench.client.connected(refused)),
        ErrorKind::ConnectionRefused
    );
    assert_eq!(bench.client.connected(lost).unwrap(), None);
    bench.wait(20 * SECOND);
    assert_eq!(kind(bench.client.connected(lost)), ErrorKind::TimedOut);
}

#[test]
fn leaves_connections_of_an_ended_process_to_the_kernel() {
    let mut bench = connected(Faults::none());
    bench.client.write(bench.here, b"last words").unwrap();
    let host = bench.hosts[1];
    bench.client = bench.world.start(host);
    bench.wait(SECOND);
    let mut into = [0; 99];
    assert_eq!(bench.server.read(bench.there, &mut into).unwrap(), 10);
    assert_eq!(bench.server.read(bench.there, &mut into).unwrap(), 0);
    bench.server.close(bench.there);
    bench.wait(SECOND);
    assert_eq!(bench.world.sockets(bench.server.id()), 1);
    assert!(
        bench
            .world
            .local_addr(bench.server.id(), bench.addr)
            .is_none()
    );
    assert!(bench.world.now() > Time::ZERO);
}

#[test]
fn fails_accepts_without_fds_and_reports_no_event() {
    let mut bench = connected(Faults::none());
    bench.world.limit_fds(bench.server.id(), 0);
    let again = bench.client.connect(bench.addr).unwrap();
    bench.wait(SECOND);
    assert_eq!(bench.events(), [(1, true, false, false)]);
    let listener = bench.world.0.borrow().listeners[&bench.addr].key;
    let listener = crate::sys::SocketId(listener);
    let error = System::accept(&mut bench.server, listener).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(24));
    bench.world.limit_fds(bench.server.id(), 1);
    bench.wait(SECOND);
    assert_eq!(bench.events(), []);
    assert!(System::accept(&mut bench.server, listener).is_ok());
    assert!(bench.client.connected(again).unwrap().is_some());
}
