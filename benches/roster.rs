//! A node's roster of 1,000 nodes: `roster_lookup`, beside a hash map of the same strings, and
//! `roster_update`, beside parsing the same bytes. An update includes reading it from its socket;
//! its time is processor time of the node's thread.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

mod side_by_side;

use std::collections::HashMap;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use pilcrow::node::{Config, Node};
use pilcrow::protocol::Route;
use pilcrow::reactor::{Limits, Reactor};
use serde_json::Value;
use serde_json::value::RawValue;
use side_by_side::cpu_of;

criterion_group!(benches, roster_lookup, roster_update);
criterion_main!(benches);

const NODES: usize = 1000;

fn entry(n: usize) -> String {
    format!(
        r#"{{"port":{},"name":"service-{n}","urls":["GET/service-{n}","POST/service-{n}"],"host":"127.0.0.1"}}"#,
        n + 1
    )
}

/// A node with a session and a roster of [`NODES`] nodes, and the Distributor's end of it.
struct Bench {
    reactor: Reactor,
    node: Node<()>,
    distributor: TcpStream,
    revision: u64,
}

impl Bench {
    fn new() -> Bench {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut reactor = Reactor::new(Limits::default()).unwrap();
        let config = Config {
            distributor: Some(listener.local_addr().unwrap().into()),
            max_frame_bytes: 1 << 20,
            ..Config::default()
        };
        let mut node = Node::new(config, ());
        node.start(reactor.net()).unwrap();
        let distributor = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            // The last byte of `¶`: the request is ASCII otherwise.
            BufReader::new(&stream)
                .read_until(0xB6, &mut request)
                .unwrap();
            let end = request.len() - "¶".len();
            let request: Value = serde_json::from_slice(&request[..end]).unwrap();
            let reply = format!(
                r#"{{"key":{},"errorcode":0,"errormessage":"success","results":{{"id":0,"epoch":"e","rev":1,"heartbeat_ms":3600000}}}}¶"#,
                request["key"]
            );
            stream.write_all(reply.as_bytes()).unwrap();
            stream.write_all(list(1, 0).as_bytes()).unwrap();
            stream
        });
        while node.context(reactor.net()).roster().members().len() < NODES {
            let wait = Some(Duration::from_secs(1));
            reactor.turn(wait, &mut node).unwrap();
        }
        Bench {
            reactor,
            node,
            distributor: distributor.join().unwrap(),
            revision: 1,
        }
    }

    /// Returns the processor time for one update.
    fn update(&mut self, frame: String) -> Duration {
        self.revision += 1;
        let before = self.node.context(self.reactor.net()).roster().updated_at();
        let mut stream = self.distributor.try_clone().unwrap();
        let sender = thread::spawn(move || stream.write_all(frame.as_bytes()).unwrap());
        let cost = cpu_of(|| {
            let now = |bench: &mut Bench| {
                bench
                    .node
                    .context(bench.reactor.net())
                    .roster()
                    .updated_at()
            };
            while now(self) == before {
                self.reactor.turn(None, &mut self.node).unwrap();
            }
        });
        sender.join().unwrap();
        cost
    }
}

/// A whole list. The first entry has a name of its own in each revision.
fn list(revision: u64, renamed: usize) -> String {
    let entries: Vec<String> = (0..NODES)
        .map(|n| entry(if n == 0 { NODES + renamed } else { n }))
        .collect();
    let ids: Vec<String> = (0..NODES).map(|n| n.to_string()).collect();
    format!(
        r#"{{"uri":"/distributes","method":"GET","key":0,"params":[{}],"session":{{"epoch":"e","rev":{revision},"complete":true,"ids":[{}]}}}}¶"#,
        entries.join(","),
        ids.join(",")
    )
}

/// A change: entry `id` leaves, and one with the next id joins.
fn delta(revision: u64, id: u64) -> String {
    format!(
        r#"{{"uri":"/distributes","method":"PATCH","key":0,"params":{{"joined":[{}],"left":[{{"id":{id},"cause":"closed"}}]}},"session":{{"epoch":"e","from":{},"rev":{revision},"ids":[{}]}}}}¶"#,
        entry(1),
        revision - 1,
        id + 1
    )
}

fn roster_update(criterion: &mut Criterion) {
    let mut bench = Bench::new();
    let mut group = criterion.benchmark_group("roster_update");
    let frame = list(1, 0);
    let json = frame.trim_end_matches('¶');
    group.bench_function("bare parse of a list of 1,000", |bencher| {
        bencher.iter(|| serde_json::from_str::<HashMap<&str, &RawValue>>(black_box(json)).unwrap());
    });
    group.bench_function("roster, list of 1,000 with one changed", |bencher| {
        bencher.iter_custom(|iterations| {
            let update =
                |n| bench.update(list(bench.revision + 1, usize::try_from(n % 2).unwrap()));
            (0..iterations).map(update).sum()
        });
    });
    let mut id = u64::try_from(NODES).unwrap() - 1;
    group.bench_function("roster, one left and one joined", |bencher| {
        bencher.iter_custom(|iterations| {
            let update = |_| {
                id += 1;
                bench.update(delta(bench.revision + 1, id - 1))
            };
            (0..iterations).map(update).sum()
        });
    });
    group.finish();
}

fn roster_lookup(criterion: &mut Criterion) {
    let mut bench = Bench::new();
    let cx = bench.node.context(bench.reactor.net());
    let roster = cx.roster();
    let paths: Vec<String> = (0..NODES).map(|n| format!("/service-{n}")).collect();
    let longer: Vec<String> = paths.iter().map(|path| format!("{path}/17")).collect();
    let bare: HashMap<String, Vec<usize>> = paths
        .iter()
        .enumerate()
        .flat_map(|(n, path)| ["GET", "POST"].map(|method| (format!("{method}{path}"), vec![n])))
        .collect();
    let urls: Vec<String> = paths.iter().map(|path| format!("GET{path}")).collect();

    let mut group = criterion.benchmark_group("roster_lookup");
    let mut next = 0;
    group.bench_function("bare hash map", |bencher| {
        bencher.iter(|| {
            next = (next + 1) % NODES;
            bare.get(black_box(&urls[next])).map_or(0, Vec::len)
        });
    });
    group.bench_function("roster, METHOD/path", |bencher| {
        bencher.iter(|| {
            next = (next + 1) % NODES;
            let route = Route::new(black_box("GET"), black_box(&paths[next]));
            roster.serving(&route).count()
        });
    });
    group.bench_function("roster, longest prefix", |bencher| {
        bencher.iter(|| {
            next = (next + 1) % NODES;
            let route = Route::new(black_box("GET"), black_box(&longer[next]));
            roster.serving_prefix(&route).count()
        });
    });
    group.finish();
}
