//! Replacements of the operating system for tests.
//!
//! [`sim`] simulates a network and disks in virtual time, with faults that a seed determines, for
//! many nodes. `scripted` returns the results that a unit test sets, for a single reactor; `client`
//! is its peers.

#[cfg(test)]
pub(crate) mod client;
#[cfg(test)]
pub(crate) mod scripted;
pub mod sim;
