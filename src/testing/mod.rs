//! What tests put in the place of the operating system.
//!
//! [`sim`] is a network and disks in virtual time, with faults that follow from a seed: for whole
//! fleets. `scripted` is a system whose every answer a unit test writes down: for one reactor.

#[cfg(test)]
pub(crate) mod scripted;
pub mod sim;
