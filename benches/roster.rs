//! A node's roster: `roster_lookup`, among 1,000 nodes, beside a hash map of the same strings;
//! `roster_update`, whole lists beside parsing the same bytes, and single joins and leaves at 10,
//! 1,000 and 10,000 nodes. An update includes reading it from its socket; its time is processor
//! time of the node's thread.

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

use pilcrow::Time;
use pilcrow::node::{Config, Node};
use pilcrow::protocol::Route;
use pilcrow::reactor::{Limits, Reactor};
use serde_json::Value;
use serde_json::value::RawValue;
use side_by_side::{compare, cpu_of, cpu_of_all, is_selected, print_head};

fn main() {
    print_head();
    roster_lookup();
    roster_update();
    if is_selected("roster_update") {
        print_changes();
    }
}

const NODES: usize = 1000;
/// Number of joins, and of leaves, at each size.
const CHANGES: usize = 2000;

fn entry(n: usize) -> String {
    entry_of(n, n)
}

/// Returns the entry of a node of this service. All nodes have different addresses.
fn entry_of(n: usize, service: usize) -> String {
    let (port, host) = (n % 60_000 + 1, n / 60_000 + 1);
    format!(
        r#"{{"port":{port},"name":"service-{service}","urls":["GET/service-{service}","POST/service-{service}"],"host":"127.0.0.{host}"}}"#
    )
}

/// A node with a session, and the Distributor's end of it.
struct Bench {
    reactor: Reactor,
    node: Node<()>,
    distributor: TcpStream,
    revision: u64,
}

impl Bench {
    /// Returns a node with a roster of these entries, whose ids are their places.
    fn new(entries: &[String]) -> Bench {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut reactor = Reactor::new(Limits::default()).unwrap();
        let config = Config::default().distributor(listener.local_addr().unwrap());
        let mut node = Node::new(config, ());
        node.start(reactor.net()).unwrap();
        let list = list(1, entries);
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
            stream.write_all(list.as_bytes()).unwrap();
            stream
        });
        while node.context(reactor.net()).roster().members().len() < entries.len() {
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

    fn updated_at(&mut self) -> Option<Time> {
        let cx = self.node.context(self.reactor.net());
        cx.roster().updated_at()
    }

    /// Turns until an update is applied. Returns the processor time of the turns.
    fn apply(&mut self) -> Duration {
        let before = self.updated_at();
        cpu_of(|| {
            while self.updated_at() == before {
                self.reactor.turn(None, &mut self.node).unwrap();
            }
        })
    }

    /// Returns the processor time for an update of any length.
    fn update(&mut self, frame: String) -> Duration {
        self.revision += 1;
        let mut stream = self.distributor.try_clone().unwrap();
        let sender = thread::spawn(move || stream.write_all(frame.as_bytes()).unwrap());
        let cost = self.apply();
        sender.join().unwrap();
        cost
    }

    /// Returns the processor time for one change, which fits into the buffer of the socket.
    fn change(&mut self, joined: Option<(&str, usize)>, left: Option<usize>) -> Duration {
        let (from, rev) = (self.revision, self.revision + 1);
        let (entry, id) = joined.map_or((String::new(), String::new()), |(entry, id)| {
            (entry.to_owned(), id.to_string())
        });
        let left = left.map(|id| format!(r#"{{"id":{id},"cause":"closed"}}"#));
        let left = left.unwrap_or_default();
        let frame = format!(
            r#"{{"uri":"/distributes","method":"PATCH","key":0,"params":{{"joined":[{entry}],"left":[{left}]}},"session":{{"epoch":"e","from":{from},"rev":{rev},"ids":[{id}]}}}}¶"#
        );
        self.revision = rev;
        self.distributor.write_all(frame.as_bytes()).unwrap();
        self.apply()
    }
}

/// A whole list.
fn list(revision: u64, entries: &[String]) -> String {
    let ids: Vec<String> = (0..entries.len()).map(|n| n.to_string()).collect();
    format!(
        r#"{{"uri":"/distributes","method":"GET","key":0,"params":[{}],"session":{{"epoch":"e","rev":{revision},"complete":true,"ids":[{}]}}}}¶"#,
        entries.join(","),
        ids.join(",")
    )
}

fn roster_update() {
    for nodes in [10, NODES, 10 * NODES] {
        let row = format!("roster_update of {nodes}/list with one changed");
        if !is_selected(&row) {
            continue;
        }
        let entries: Vec<String> = (0..nodes).map(entry).collect();
        let mut bench = Bench::new(&entries);
        let frame = list(1, &entries);
        let json = frame.trim_end_matches('¶');
        // The first entry has a name of its own in each revision.
        let mut changed = entries.clone();
        compare(
            &row,
            20,
            1,
            || {
                let revision = bench.revision + 1;
                changed[0] = entry(nodes + usize::try_from(revision % 2).unwrap());
                bench.update(list(revision, &changed))
            },
            || {
                cpu_of_all(1, || {
                    serde_json::from_str::<HashMap<&str, &RawValue>>(black_box(json)).unwrap()
                })
            },
        );
    }
}

/// Prints the distribution of the times of single joins and leaves.
fn print_changes() {
    println!(
        "{:<48} {:>9} {:>9} {:>9} {:>9}",
        "roster_update, processor time", "median", "p90", "p99", "most"
    );
    for nodes in [10, NODES, 10 * NODES] {
        for is_shared in [false, true] {
            let service = |n| if is_shared { 0 } else { n };
            let entries: Vec<String> = (0..nodes).map(|n| entry_of(n, service(n))).collect();
            let mut bench = Bench::new(&entries);
            let mut ids: Vec<usize> = (0..nodes).collect();
            let (mut joins, mut leaves) = (Vec::new(), Vec::new());
            for n in nodes..nodes + CHANGES {
                // Evenly distributed over all places of the list.
                let left = ids.swap_remove(n.wrapping_mul(0x9E37_79B9) % ids.len());
                leaves.push(bench.change(None, Some(left)));
                joins.push(bench.change(Some((&entry_of(n, service(n)), n)), None));
                ids.push(n);
            }
            let routes = if is_shared {
                "one route"
            } else {
                "a route each"
            };
            for (kind, mut times) in [("join", joins), ("leave", leaves)] {
                times.sort_unstable();
                let row = format!("a {kind}, {nodes} nodes with {routes}");
                let at = |percent| format!("{:.1?}", times[(times.len() - 1) * percent / 100]);
                let [median, p90, p99, most] = [50, 90, 99, 100].map(at);
                println!("{row:<48} {median:>9} {p90:>9} {p99:>9} {most:>9}");
            }
        }
    }
}

fn roster_lookup() {
    let rows = ["METHOD/path", "longest prefix"].map(|row| format!("roster_lookup/{row}"));
    if !rows.iter().any(|row| is_selected(row)) {
        return;
    }
    let entries: Vec<String> = (0..NODES).map(entry).collect();
    let mut bench = Bench::new(&entries);
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
    let [by_path, by_prefix] = &rows;
    beside_hash_map(
        by_path,
        |n| {
            let route = Route::new(black_box("GET"), black_box(&paths[n]));
            roster.serving(&route).count()
        },
        |n| bare.get(black_box(&urls[n])).map_or(0, Vec::len),
    );
    beside_hash_map(
        by_prefix,
        |n| {
            let route = Route::new(black_box("GET"), black_box(&longer[n]));
            roster.serving_prefix(&route).count()
        },
        |n| bare.get(black_box(&urls[n])).map_or(0, Vec::len),
    );
}

/// Compares two look-ups of a node by its number.
fn beside_hash_map(row: &str, ours: impl Fn(usize) -> usize, bare: impl Fn(usize) -> usize) {
    const LOOKUPS: u32 = 100_000;
    if !is_selected(row) {
        return;
    }
    let (mut our_next, mut bare_next) = (0, 0);
    compare(
        row,
        50,
        LOOKUPS,
        || {
            cpu_of_all(LOOKUPS, || {
                our_next = (our_next + 1) % NODES;
                ours(our_next)
            })
        },
        || {
            cpu_of_all(LOOKUPS, || {
                bare_next = (bare_next + 1) % NODES;
                bare(bare_next)
            })
        },
    );
}
