//! The simulated fleet: production code on a network that follows from a seed, checked against a
//! model of what it promises.

// The library with the feature `testing`: see library/Cargo.toml.
extern crate pilcrow_testing as pilcrow;

mod calls;
mod checks;
mod distributor;
mod finale;
pub mod fleet;
mod forger;
mod model;
mod nodes;
pub mod raw;
mod run;
mod shelf;
mod simulation;
mod state_file;
mod subscriptions;
mod troubles;
mod turns;
mod unclaimed;
mod views;
pub mod wire;

pub use simulation::{Outcome, simulate, simulate_from};
