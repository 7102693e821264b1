//! Tests of a Distributor that is given by name: lookups, and the addresses that they find.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};

use super::*;
use crate::node::address::LONGEST_LOOKUP;

/// Returns the results that a test sets, one lookup after the other.
#[derive(Default)]
struct Names {
    results: VecDeque<io::Result<Vec<SocketAddr>>>,
    lookups: usize,
}

#[derive(Clone, Default)]
struct FakeResolver(Arc<Mutex<Names>>);

impl fmt::Debug for FakeResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("distributor.test:9000")
    }
}

impl Resolve for FakeResolver {
    fn start(&self) {
        self.0.lock().unwrap().lookups += 1;
    }

    fn take(&self) -> Option<io::Result<Vec<SocketAddr>>> {
        self.0.lock().unwrap().results.pop_front()
    }
}

impl FakeResolver {
    /// Ends the pending lookup with this result.
    fn end(&self, bench: &mut Bench, result: io::Result<&[SocketAddr]>) {
        let result = result.map(<[SocketAddr]>::to_vec);
        self.0.lock().unwrap().results.push_back(result);
        bench.node.on_wake(bench.reactor.net());
    }

    fn lookups(&self) -> usize {
        self.0.lock().unwrap().lookups
    }
}

fn named() -> (FakeResolver, Bench) {
    let resolver = FakeResolver::default();
    let system = Scripted::new();
    let config = Config {
        name: "n".to_owned(),
        distributor: Some(DistributorAddress::Named(Arc::new(resolver.clone()))),
        ..Config::default()
    };
    let mut bench = Bench {
        reactor: Reactor::on(Box::new(system.clone()), Limits::default()),
        system,
        node: Node::new(config, Notes::default()),
    };
    bench.node.start(bench.reactor.net()).unwrap();
    (resolver, bench)
}

fn not_found() -> io::Result<&'static [SocketAddr]> {
    Err(io::Error::other("name or service not known"))
}

#[test]
fn tries_all_addresses_of_a_name_in_turn() {
    let (resolver, mut bench) = named();
    let (first, second) = ("[::1]:9000".parse().unwrap(), distributor());
    resolver.end(&mut bench, Ok(&[first, second]));
    assert!(bench.sockets(second).is_empty(), "one at a time");
    bench.refuse(first);
    // At once, without the pause between two rounds.
    let link = bench.open(second);
    bench.welcome(link, "e1", 5000);
    assert_eq!(bench.events(), ["Registered"]);
    assert_eq!(resolver.lookups(), 1);
}

#[test]
fn retries_a_lookup_that_failed() {
    let (resolver, mut bench) = named();
    for failures in 1..=5 {
        resolver.end(&mut bench, not_found());
        bench.pass(5 * SECOND);
        assert_eq!(resolver.lookups(), failures + 1);
    }
    // A lookup without an address has failed as well.
    resolver.end(&mut bench, Ok(&[]));
    bench.pass(5 * SECOND);
    resolver.end(&mut bench, Ok(&[distributor()]));
    bench.open(distributor());
}

#[test]
fn resolves_anew_for_each_round() {
    let (resolver, mut bench) = named();
    resolver.end(&mut bench, Ok(&[peer(1), peer(2)]));
    bench.refuse(peer(1));
    bench.refuse(peer(2));
    bench.pass(5 * SECOND);
    assert_eq!(resolver.lookups(), 2);
    resolver.end(&mut bench, Ok(&[peer(3), peer(4)]));
    let link = bench.open(peer(3));
    bench.welcome(link, "e1", 5000);
    // The Distributor was there: the name may have other addresses now, so the rest of this round
    // is skipped.
    bench.end(link);
    assert_eq!(resolver.lookups(), 3);
    resolver.end(&mut bench, Ok(&[peer(5)]));
    bench.open(peer(5));
}

#[test]
fn uses_the_addresses_from_before_while_lookups_fail() {
    let (resolver, mut bench) = named();
    resolver.end(&mut bench, Ok(&[peer(1)]));
    bench.refuse(peer(1));
    bench.pass(5 * SECOND);
    resolver.end(&mut bench, not_found());
    bench.refuse(peer(1));
    // A lookup that hangs fails after 5 s.
    bench.pass_until(|_| resolver.lookups() == 3);
    bench.pass(LONGEST_LOOKUP - SECOND);
    assert!(bench.sockets(peer(1)).is_empty());
    bench.pass(SECOND + 10 * MILLI);
    bench.open(peer(1));
}

#[test]
fn a_node_that_stops_ends_its_search() {
    let (resolver, mut bench) = named();
    bench.node.context(bench.reactor.net()).stop();
    resolver.end(&mut bench, Ok(&[peer(1)]));
    bench.pass(60 * SECOND);
    assert!(bench.sockets(peer(1)).is_empty());
    assert_eq!(resolver.lookups(), 1);
}
