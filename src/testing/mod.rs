//! What tests put in the place of the operating system.
//!
//! [`sim`] is a network and disks in virtual time, with faults that follow from a seed: for whole
//! fleets. `scripted` is a system whose every answer a unit test writes down: for one reactor.

#[cfg(any(test, feature = "fuzzing"))]
#[cfg_attr(
    feature = "fuzzing",
    allow(dead_code, reason = "some of it is for unit tests only")
)]
pub(crate) mod scripted;
pub mod sim;
