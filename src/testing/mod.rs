//! Replacements of the operating system for tests.
//!
//! [`sim`] simulates a network and disks in virtual time, with faults that follow from a seed, for
//! whole fleets. `scripted` returns what a unit test has written down, for a single reactor,
//! and `client` is what its peers do.

#[cfg(test)]
pub(crate) mod client;
#[cfg(test)]
pub(crate) mod scripted;
pub mod sim;
