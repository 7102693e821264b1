//! A Distributor and its clients, in virtual time: whatever they do, everyone who watches ends up
//! with the list that there is, and nothing is left of those who are gone.

mod client;
mod world;

use super::script::Script;
use world::Bench;

/// The input says what each of some clients does, and how time passes.
pub fn distributor(input: &[u8]) {
    let mut script = Script::new(input);
    let mut bench = Bench::new();
    while !script.is_over() {
        bench.step(&mut script);
    }
    bench.converge();
    bench.leave();
}
