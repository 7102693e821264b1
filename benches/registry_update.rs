//! `registry_update`: what a join and a leave cost a Distributor with 100 and with 9,000
//! registered nodes, of which one watches the list. Processor time of the Distributor's thread,
//! including the kernel's part.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

mod side_by_side;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use pilcrow::distributor::{Config, Distributor, Snapshot, SnapshotSink};
use pilcrow::reactor::{Limits, Reactor, TcpOptions};
use side_by_side::{cpu_of, is_selected};

/// Number of joins, and of leaves, at each size.
const CHANGES: usize = 200;
const SIZES: [usize; 2] = [100, 9_000];

fn main() {
    println!(
        "{:<44} {:>10} {:>10} {:>10} {:>7}",
        "processor time, median", "least", "median", "p99", "ratio"
    );
    for (row, persists) in [("without a file", false), ("with a snapshot", true)] {
        if is_selected("registry_update") || is_selected(row) {
            let [few, many] = SIZES.map(|nodes| changes(nodes, persists));
            for (kind, few, many) in [("join", &few.0, &many.0), ("leave", &few.1, &many.1)] {
                let median = |times: &[Duration]| times[times.len() / 2].as_secs_f64();
                for (nodes, times) in SIZES.into_iter().zip([few, many]) {
                    let row = format!("a {kind}, {nodes} nodes, {row}");
                    let at = |percent| format!("{:.1?}", times[(times.len() - 1) * percent / 100]);
                    let [least, middle, p99] = [0, 50, 99].map(at);
                    let ratio = median(times) / median(few);
                    println!("{row:<44} {least:>10} {middle:>10} {p99:>10} {ratio:>6.2}x");
                }
            }
        }
    }
}

/// Drops snapshots; a program writes them in another thread.
struct Dropping;

impl SnapshotSink for Dropping {
    fn persist(&mut self, snapshot: Snapshot) {
        drop(snapshot);
    }
}

/// Returns the sorted times of joins and of leaves among this many nodes.
fn changes(nodes: usize, persists: bool) -> (Vec<Duration>, Vec<Duration>) {
    let hour = Duration::from_secs(3600);
    let limits = Limits {
        max_connections: 20_000,
        // The nodes that join later send nothing until then.
        first_byte_timeout: hour,
        // Probes of thousands of connections overflow the queue of the loopback device.
        tcp: TcpOptions {
            keepalive_idle: hour,
            user_timeout: hour,
            ..TcpOptions::default()
        },
        ..Limits::default()
    };
    let mut reactor = Reactor::new(limits).unwrap();
    let mut distributor = Distributor::new(
        Config::default()
            .heartbeat(hour)
            .silence(3 * hour)
            .warm_up(Duration::ZERO),
    );
    distributor.keep_journal(reactor.net());
    if persists {
        distributor.persist_to(reactor.net(), Dropping);
    }
    let addr = distributor
        .listen(reactor.net(), "127.0.0.1:0".parse().unwrap())
        .unwrap();
    let mut bench = Bench {
        reactor,
        distributor,
        addr,
    };
    // All connect while the list is empty, and so receive a short one.
    let mut all = bench.connect(nodes + CHANGES);
    let mut joiners = all.split_off(nodes);
    let mut watcher = all.remove(0);
    for (n, stream) in all.iter_mut().enumerate() {
        stream
            .write_all(registration(n, "none").as_bytes())
            .unwrap();
        if n % 100 == 0 || n == nodes - 2 {
            bench.turn_until(|distributor| distributor.registry().len() > n);
        }
    }
    watcher
        .write_all(registration(nodes, "delta").as_bytes())
        .unwrap();
    bench.turn_until(|distributor| distributor.registry().len() == nodes);
    bench.settle(&mut watcher);

    let (mut joins, mut leaves) = (Vec::new(), Vec::new());
    for (n, mut joiner) in joiners.drain(..).enumerate() {
        joiner
            .write_all(registration(nodes + 1 + n, "none").as_bytes())
            .unwrap();
        joins.push(bench.change(&mut watcher));
        drop(joiner);
        leaves.push(bench.change(&mut watcher));
    }
    joins.sort_unstable();
    leaves.sort_unstable();
    (joins, leaves)
}

struct Bench {
    reactor: Reactor,
    distributor: Distributor,
    addr: SocketAddr,
}

impl Bench {
    fn connect(&mut self, count: usize) -> Vec<TcpStream> {
        let mut all: Vec<TcpStream> = Vec::new();
        while all.len() < count {
            let stream = TcpStream::connect(self.addr).unwrap();
            stream.set_nonblocking(true).unwrap();
            all.push(stream);
            if all.len().is_multiple_of(100) || all.len() == count {
                let count = all.len();
                while self.reactor.net().connections() < count {
                    self.turn(Duration::from_millis(1));
                }
            }
        }
        all
    }

    fn turn(&mut self, wait: Duration) {
        self.reactor
            .turn(Some(wait), &mut self.distributor)
            .unwrap();
    }

    fn turn_until(&mut self, done: impl Fn(&Distributor) -> bool) {
        while !done(&self.distributor) {
            self.turn(Duration::from_millis(1));
        }
    }

    /// Returns the processor time until a change has been sent to the watcher.
    fn change(&mut self, watcher: &mut TcpStream) -> Duration {
        let pushes = self.distributor.stats().pushes;
        let cost = cpu_of(|| {
            while self.distributor.stats().pushes == pushes {
                self.reactor.turn(None, &mut self.distributor).unwrap();
            }
        });
        self.settle(watcher);
        cost
    }

    /// Reads what the watcher received, and lets the pause after a push and the one before the
    /// next snapshot pass.
    fn settle(&mut self, watcher: &mut TcpStream) {
        let end = std::time::Instant::now() + Duration::from_millis(52);
        let mut scratch = vec![0; 1 << 20];
        while std::time::Instant::now() < end {
            self.turn(Duration::from_millis(5));
            match watcher.read(&mut scratch) {
                Ok(0) => panic!("the watcher was disconnected"),
                Err(error) if error.kind() != ErrorKind::WouldBlock => panic!("{error}"),
                _ => {}
            }
        }
    }
}

fn registration(n: usize, watch: &str) -> String {
    let port = n % 60_000 + 1;
    format!(
        r#"{{"uri":"/distributes","method":"POST","key":1,"params":{{"port":{port},"name":"service-{n}","urls":["GET/service-{n}","POST/service-{n}"]}},"session":{{"version":1,"watch":"{watch}"}}}}¶"#
    )
}
