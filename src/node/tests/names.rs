//! Tests of Distributors that are given by name: lookups, and the addresses that they find.

use std::io;

use super::*;
use crate::node::link::LONGEST_LOOKUP;

impl Bench {
    /// Ends the lookup in progress with this result.
    #[track_caller]
    fn found(&mut self, result: io::Result<&[SocketAddr]>) {
        self.world().found(result.map(<[SocketAddr]>::to_vec));
        self.turn();
    }

    fn lookups(&self) -> usize {
        self.world().lookups_started
    }
}

fn named(address: DistributorAddress) -> Bench {
    let system = Scripted::new();
    let config = Config {
        name: "n".to_owned(),
        distributor: Some(address),
        ..Config::default()
    };
    let mut bench = Bench {
        reactor: Reactor::on(Box::new(system.clone()), Limits::default()),
        system,
        node: Node::new(config, Notes::default()),
    };
    bench.node.start(bench.reactor.net()).unwrap();
    bench
}

fn name() -> DistributorAddress {
    "distributor.test:9000".parse().unwrap()
}

fn not_found() -> io::Result<&'static [SocketAddr]> {
    Err(io::Error::other("name or service not known"))
}

#[test]
fn tries_all_addresses_of_a_name_in_turn() {
    let mut bench = named(name());
    let (first, second) = ("[::1]:9000".parse().unwrap(), distributor());
    bench.found(Ok(&[first, second]));
    assert!(bench.sockets(second).is_empty(), "one at a time");
    bench.refuse(first);
    // At once, without the pause between two rounds.
    let link = bench.open(second);
    bench.welcome(link, "e1", 5000);
    assert_eq!(bench.events(), ["Registered"]);
    assert_eq!(bench.lookups(), 1);
}

#[test]
fn retries_a_lookup_that_failed() {
    let mut bench = named(name());
    for failures in 1..=5 {
        bench.found(not_found());
        bench.pass(5 * SECOND);
        assert_eq!(bench.lookups(), failures + 1);
    }
    // A lookup without an address has failed as well.
    bench.found(Ok(&[]));
    bench.pass(5 * SECOND);
    bench.found(Ok(&[distributor()]));
    bench.open(distributor());
}

#[test]
fn resolves_anew_for_each_round() {
    let mut bench = named(name());
    bench.found(Ok(&[peer(1), peer(2)]));
    bench.refuse(peer(1));
    bench.refuse(peer(2));
    bench.pass(5 * SECOND);
    assert_eq!(bench.lookups(), 2);
    bench.found(Ok(&[peer(3), peer(4)]));
    let link = bench.open(peer(3));
    bench.welcome(link, "e1", 5000);
    // The Distributor was there: the name may have other addresses now, so the rest of this round
    // is skipped.
    bench.end(link);
    assert_eq!(bench.lookups(), 3);
    bench.found(Ok(&[peer(5)]));
    bench.open(peer(5));
}

#[test]
fn uses_the_addresses_from_before_while_lookups_fail() {
    let mut bench = named(name());
    bench.found(Ok(&[peer(1)]));
    bench.refuse(peer(1));
    bench.pass(5 * SECOND);
    bench.found(not_found());
    bench.refuse(peer(1));
    // A lookup that hangs fails after 5 s.
    bench.pass_until(|bench| bench.lookups() == 3);
    bench.pass(LONGEST_LOOKUP - SECOND);
    assert!(bench.sockets(peer(1)).is_empty());
    bench.pass(SECOND + 10 * MILLI);
    bench.open(peer(1));
}

#[test]
fn wake_ups_do_not_prolong_a_lookup() {
    let mut bench = named(name().or(distributor()));
    for _ in 0..=LONGEST_LOOKUP.as_millis() / 100 {
        bench.world().events.push(SystemEvent::Wake);
        bench.turn();
        bench.pass(100 * MILLI);
    }
    bench.open(distributor());
}

#[test]
fn tries_several_distributors_in_turn() {
    let second = "second.test:9000".parse::<DistributorAddress>().unwrap();
    let mut bench = named(name().or(second).or(distributor()));
    // The first name has no address, and the second is looked up at once.
    bench.found(not_found());
    assert_eq!(bench.lookups(), 2);
    bench.found(Ok(&[peer(1)]));
    bench.refuse(peer(1));
    let link = bench.open(distributor());
    bench.welcome(link, "e1", 5000);
    // All are tried again after a loss.
    bench.end(link);
    assert_eq!(bench.lookups(), 3);
    bench.found(Ok(&[peer(2)]));
    bench.open(peer(2));
}

#[test]
fn a_lookup_that_took_too_long_serves_the_next_round() {
    let mut bench = named(name());
    bench.pass(LONGEST_LOOKUP + 6 * SECOND);
    assert_eq!(bench.lookups(), 1, "at most one at a time");
    bench.found(Ok(&[peer(1)]));
    bench.open(peer(1));
}

#[test]
fn a_node_that_stops_ends_its_search() {
    let mut bench = named(name());
    bench.node.context(bench.reactor.net()).stop();
    bench.found(Ok(&[peer(1)]));
    bench.pass(60 * SECOND);
    assert!(bench.sockets(peer(1)).is_empty());
    assert_eq!(bench.lookups(), 1);
}
