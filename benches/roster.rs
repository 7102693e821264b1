//! A node's look-ups among 1,000 others, beside a hash map of the same strings.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::HashMap;
use std::hint::black_box;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use pilcrow::node::{Config, Node};
use pilcrow::protocol::Route;
use pilcrow::reactor::{Limits, Reactor};

criterion_group!(benches, look_up);
criterion_main!(benches);

const NODES: usize = 1000;

/// Sends a list of so many nodes to whoever connects, as a Distributor without sessions does.
fn distributor() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let entries: Vec<String> = (0..NODES)
        .map(|n| format!(r#"{{"port":{},"name":"service-{n}","urls":["GET/service-{n}","POST/service-{n}"],"host":"127.0.0.1"}}"#, n + 1))
        .collect();
    let list = format!(
        r#"{{"uri":"/distributes","method":"GET","key":0,"params":[{}]}}¶"#,
        entries.join(",")
    );
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.write_all(list.as_bytes()).unwrap();
            // Held open for as long as the bench runs.
            std::mem::forget(stream);
        }
    });
    addr
}

fn look_up(criterion: &mut Criterion) {
    let mut reactor = Reactor::new(Limits::default()).unwrap();
    let config = Config {
        distributor: Some(distributor().into()),
        ..Config::default()
    };
    let mut node = Node::new(config, ());
    node.start(reactor.net()).unwrap();
    while node.context(reactor.net()).roster().members().len() < NODES {
        let wait = Some(Duration::from_secs(1));
        reactor.turn(wait, &mut node).unwrap();
    }
    let cx = node.context(reactor.net());
    let roster = cx.roster();
    let paths: Vec<String> = (0..NODES).map(|n| format!("/service-{n}")).collect();
    let longer: Vec<String> = paths.iter().map(|path| format!("{path}/17")).collect();
    let bare: HashMap<String, Vec<usize>> = paths
        .iter()
        .enumerate()
        .flat_map(|(n, path)| ["GET", "POST"].map(|method| (format!("{method}{path}"), vec![n])))
        .collect();
    let urls: Vec<String> = paths.iter().map(|path| format!("GET{path}")).collect();

    let mut group = criterion.benchmark_group("look-up among 1,000 nodes");
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
